"""Parameter groups of the released recipe."""

from __future__ import annotations

from typing import Any

from mmengine.model import is_model_wrapper
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS, OPTIMIZERS
from mmengine.utils.dl_utils.parrots_wrapper import _BatchNorm, _InstanceNorm
from torch import nn

from ..registry import OPTIM_WRAPPER_CONSTRUCTORS

_NORMS = (_BatchNorm, _InstanceNorm, nn.GroupNorm, nn.LayerNorm)
_POSITIONS = ('relative_position_bias_table', 'absolute_pos_embed')
"""Position embeddings of transformer backbones, which are plain parameters."""


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class ContinualOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Build the optimizer with Mask2Former's parameter groups.

    The backbone learns with a smaller rate. Norms and embeddings do not decay, those of the
    backbone and its position embeddings included, except the pixel decoder's level embedding.
    mmengine's own constructor cannot say this: it skips ``norm_decay_mult`` wherever a custom key
    matches.

    Args:
        optim_wrapper_cfg: Config of the wrapper with its optimizer.
        paramwise_cfg: ``backbone_lr_mult`` (default 0.1), ``norm_decay_mult`` (default 0) and
            ``embed_decay_mult`` (default 0).

    Raises:
        ValueError: If ``paramwise_cfg`` has another key.
    """

    def __init__(
        self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: dict[str, float] | None = None
    ) -> None:
        factors = dict(backbone_lr_mult=0.1, norm_decay_mult=0.0, embed_decay_mult=0.0)
        unknown = sorted(set(paramwise_cfg or {}) - set(factors))
        if unknown:
            raise ValueError(
                f'optim_wrapper.paramwise_cfg: unknown keys {unknown}; expected {sorted(factors)}'
            )
        super().__init__(optim_wrapper_cfg)
        self.factors = {**factors, **(paramwise_cfg or {})}

    def __call__(self, model: Any) -> OptimWrapper:
        """Return the optimizer wrapper of a model, which may be wrapped for data parallelism."""
        model = model.module if is_model_wrapper(model) else model
        wrapper_cfg = self.optim_wrapper_cfg.copy()
        wrapper_cfg.setdefault('type', 'OptimWrapper')
        optimizer_cfg = self.optimizer_cfg.copy()
        optimizer_cfg['params'] = self._groups(model, optimizer_cfg)
        optimizer = OPTIMIZERS.build(optimizer_cfg)
        return OPTIM_WRAPPERS.build(wrapper_cfg, default_args=dict(optimizer=optimizer))

    def _groups(self, model: nn.Module, optimizer_cfg: dict[str, Any]) -> list[dict[str, Any]]:
        lr, decay = optimizer_cfg['lr'], optimizer_cfg.get('weight_decay', 0.0)
        groups: dict[tuple[float, float], dict[str, Any]] = {}
        for module_name, module in model.named_modules():
            lr_mult = self.factors['backbone_lr_mult'] if 'backbone' in module_name else 1.0
            for name, parameter in module.named_parameters(recurse=False):
                if parameter.requires_grad:
                    decay_mult = self._decay_mult(module_name, module, name)
                    group = groups.setdefault(
                        (lr_mult, decay_mult),
                        dict(params=[], lr=lr * lr_mult, weight_decay=decay * decay_mult),
                    )
                    group['params'].append(parameter)
        return list(groups.values())

    def _decay_mult(self, module_name: str, module: nn.Module, name: str) -> float:
        if isinstance(module, _NORMS):
            return self.factors['norm_decay_mult']
        # a plain parameter in the released program, which decays
        decays = module_name.endswith('pixel_decoder.level_encoding')
        if name in _POSITIONS or (isinstance(module, nn.Embedding) and not decays):
            return self.factors['embed_decay_mult']
        return 1.0
