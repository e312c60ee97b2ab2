"""The weights of a step, fused with those of the step before."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from mmengine.hooks import EMAHook, Hook
from mmengine.runner import Runner
from torch import Tensor

from ...registry import HOOKS
from ..scenario_config import scenario_of
from .previous_step_hook import unwrap_model


@HOOKS.register_module()
class WeightFusionHook(Hook):
    """Move the weights that a step has trained a little back to those of its teacher.

    After the last iteration of step t >= 1, before the checkpoint is written and the step is
    evaluated, every weight and running statistic that the teacher has, too, becomes

        ``(1 - share) * student + share * teacher``

    What the step added keeps its values, and a moving average of the weights is fused alike. Both
    ends lie in one basin, as the step began at the teacher, and what the high learning rate of a
    short step has shaken evens out (weight fusion: Xiao et al., *Endpoints Weight Fusion for Class
    Incremental Semantic Segmentation*, CVPR 2023, whose factor depends on the numbers of classes).

    Args:
        share: From 0, which changes nothing, to below 1.

    Raises:
        TypeError: If it is not a number.
        ValueError: If it is outside of that.
    """

    # before what writes the checkpoint
    priority = 'BELOW_NORMAL'
    later_steps_only: ClassVar[bool] = True
    """It does nothing at step 0, where methods that differ in it alone train the same."""

    def __init__(self, share: float) -> None:
        if isinstance(share, bool) or not isinstance(share, (int, float)):
            raise TypeError(f'WeightFusionHook.share: expected a number, got {share!r}')
        if not 0 <= share < 1:
            raise ValueError(f'WeightFusionHook.share: expected 0 to below 1, got {share}')
        self.share = share

    def before_train(self, runner: Runner) -> None:
        """Check that there is a teacher.

        Raises:
            RuntimeError: If a later step has none.
        """
        if scenario_of(runner.cfg).step > 0 and unwrap_model(runner.model).teacher is None:
            raise RuntimeError(
                'WeightFusionHook: there is no teacher whose weights it could fuse; add '
                "dict(type='TeacherHook') or dict(type='PseudoLabelHook') to custom_hooks"
            )

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Fuse the weights after the last iteration."""
        if scenario_of(runner.cfg).step == 0 or runner.iter + 1 < runner.max_iters:
            return
        student = unwrap_model(runner.model)
        teacher = student.teacher.model.state_dict()
        fuse(student.state_dict(), teacher, self.share)
        for hook in runner.hooks:
            if isinstance(hook, EMAHook):
                # it is what the step is evaluated with
                fuse(hook.ema_model.module.state_dict(), teacher, self.share)


@torch.no_grad()
def fuse(student: dict[str, Tensor], teacher: dict[str, Tensor], share: float) -> None:
    """Replace weights by ``(1 - share) * student + share * teacher``, in place.

    Args:
        student: Weights by name; those that the teacher lacks, or has in another shape, and those
            that are whole numbers are left as they are.
        teacher: Weights by name.
        share: From 0 to 1.
    """
    for name, weight in student.items():
        other = teacher.get(name)
        if other is not None and other.shape == weight.shape and weight.is_floating_point():
            weight.lerp_(other.to(weight), share)
