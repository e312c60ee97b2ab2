"""Whether a checkpoint fits the model of a config: nothing that does not is ever evaluated."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import nn

from ..models.weights import weight_faults
from ..registry import MODELS
from ..tasks import TASKS, task_of
from .arguments import arguments_of
from .checkpoint import check_seen_classes, continual_meta
from .scenario_config import default_scope_of, model_at_step, scenario_of

_SHOWN = 4
"""Differences that a message lists."""
# what decides how a model is trained or first set, not what it predicts
_TRAINING = frozenset(
    (
        *('train_cfg', 'test_cfg', 'init_cfg', 'pretrained', 'extra_losses', 'freeze', 'scenario'),
        *('auxiliary_head', 'frozen_stages', 'norm_eval', 'with_cp', 'requires_grad', '_scope_'),
        *('batch_augments', 'pad_size_divisor', 'size', 'size_divisor', 'inplace', 'momentum'),
        *('class_weight', 'sampler', 'non_blocking'),
        *('class_weights', 'match_probability', 'supervised_levels', 'new_from_no_object'),
        *('label_resize', 'num_virtual', 'sampling_power'),
        # chosen after the training, for the same weights
        'deltas',
    )
)
_FUSION = frozenset(('panoptic_fusion_head', 'semantic_fusion'))
"""What makes segments of the predictions of a model."""
_DROPPING = ('drop', 'attn_drop', 'ffn_drop', 'proj_drop', 'loss', 'pseudo')


def check_fit(cfg: Config, checkpoint: Mapping[str, Any], path: str | Path) -> None:
    """Check that a checkpoint is one of the model that a config describes.

    Compared are the task, the classes seen so far, their order and increments, the method, what
    decides the prediction in the config that the checkpoint was trained with, and the names and
    shapes of all weights.

    Args:
        cfg: The config, at the step of the checkpoint.
        checkpoint: As :func:`.read_checkpoint` returns it.
        path: Its file, for the message.

    Raises:
        RuntimeError: If it does not fit; two lines, what differs and what to pass.
    """
    trained = trained_config(checkpoint)
    _check_task(cfg, checkpoint, path)
    continual = continual_meta(dict(checkpoint), path)
    check_seen_classes(continual, scenario_of(cfg), path)
    found = [*_methods_differ(trained, cfg), *_settings_differ(trained, cfg)]
    # another config explains the weights, and says it better
    if found:
        raise RuntimeError(_message(path, found))
    check_weights_fit(_built(cfg), checkpoint, path)


def check_teacher(cfg: Config, checkpoint: Mapping[str, Any], path: str | Path) -> None:
    """Check that a checkpoint of the step before is of a model that this config goes on with.

    What a model predicts from its weights has to be the same, such as how masks are activated; how
    segments are made of that may differ. Step 0 may be of another method with the same model, since
    methods differ after it.

    Args:
        cfg: The config of the run.
        checkpoint: As :func:`.read_checkpoint` returns it.
        path: Its file, for the message.

    Raises:
        RuntimeError: If it is of another model, or method after step 0.
    """
    trained = trained_config(checkpoint)
    found = [*_settings_differ(trained, cfg, but=_FUSION)]
    if continual_meta(dict(checkpoint), path)['step'] > 0:
        found[:0] = _methods_differ(trained, cfg)
    if found:
        method = _method(cfg.get('custom_hooks'))
        raise RuntimeError(
            f'checkpoint {path}: it is not of a model that this config goes on with: '
            f'{_listed(found)}; pass a checkpoint of {method or "the same method"}, or train the '
            f'steps before with this config'
        )


def _message(path: str | Path, found: list[str]) -> str:
    fault = f'checkpoint {path} does not fit the model of this config: {_listed(found)}'
    return f'{fault}\n{_advice(path)}'


def _listed(found: list[str]) -> str:
    more = f'; and {len(found) - _SHOWN} more' if len(found) > _SHOWN else ''
    return f'{"; ".join(found[:_SHOWN])}{more}'


def _advice(path: str | Path) -> str:
    copies = sorted(Path(path).parent.glob('*.py'))
    copy = f' (a copy is {copies[0]})' if len(copies) == 1 else ''
    return f'pass the config that it was trained with{copy}, or a checkpoint of this config'


def _check_task(cfg: Config, checkpoint: Mapping[str, Any], path: str | Path) -> None:
    task = task_of(cfg.model)
    heads = {name.split('.')[0] for name in checkpoint['state_dict']}
    if task.head in heads:
        return
    others = sorted({other.name for other in TASKS.values() if other.head in heads})
    what = f'a {" or ".join(others)} model' if others else 'a model without that head'
    found = f'the config is {task.name} (model.{task.head}), and the checkpoint is of {what}'
    raise RuntimeError(_message(path, [found]))


def _built(cfg: Config) -> nn.Module:
    """Return the model of a config, which has the weights that it is constructed with."""
    # what runs later draws the random numbers that it would have drawn without the check
    with (
        torch.random.fork_rng(devices=[]),
        DefaultScope.overwrite_default_scope(default_scope_of(cfg)),
    ):
        return MODELS.build(model_at_step(cfg.model, scenario_of(cfg).step))


def check_weights_fit(model: nn.Module, checkpoint: Mapping[str, Any], path: str | Path) -> None:
    """Check that a checkpoint has the weights of a model, all of them and no others.

    Raises:
        RuntimeError: If it does not; two lines, what differs and what to pass.
    """
    found = weight_faults(model.state_dict(), checkpoint['state_dict'])
    if found:
        raise RuntimeError(_message(path, found))


def trained_config(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config that a checkpoint was trained with, without executing it.

    Returns:
        The top-level settings that are plain values; empty if the checkpoint has no config.
    """
    text = (checkpoint.get('meta') or {}).get('cfg')
    try:
        body = ast.parse(text).body if isinstance(text, str) else []
    except (SyntaxError, ValueError, RecursionError):
        return {}
    settings = {}
    for statement in body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            try:
                settings[statement.targets[0].id] = _literal(statement.value)
            except ValueError:
                continue
    return settings


def _literal(node: ast.expr) -> Any:
    """Return the value of an expression of literals and ``dict(key=value)``.

    Raises:
        ValueError: If it is anything else.
    """
    if isinstance(node, ast.Call):
        if not isinstance(node.func, ast.Name) or node.func.id != 'dict':
            raise ValueError('not a literal')
        value = _literal(node.args[0]) if node.args else {}
        return {**value, **{str(key.arg): _literal(key.value) for key in node.keywords}}
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return {_literal(key): _literal(value) for key, value in pairs if key is not None}
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_literal(item) for item in node.elts]
    return ast.literal_eval(node)


def _methods_differ(trained: Mapping[str, Any], cfg: Config) -> Iterator[str]:
    old, new = _method(trained.get('custom_hooks')), _method(cfg.get('custom_hooks'))
    if old is not None and new is not None and old != new:
        yield f'it was trained by the method {old}, and the config is of {new}'


def _method(hooks: Any) -> str | None:
    """Return the name of the method among the hooks of a config."""
    for hook in hooks or ():
        kind = hook.get('type') if isinstance(hook, Mapping) else None
        if isinstance(kind, str) and kind.split('.')[-1] == 'SummaryHook':
            return hook.get('method')
    return None


def _settings_differ(
    trained: Mapping[str, Any], cfg: Config, but: Collection[str] = ()
) -> Iterator[str]:
    """Say what differs in two models; settings below a key of ``but`` are not looked at."""
    old = trained.get('model')
    if not isinstance(old, Mapping):
        return
    for key, before, now in _differences(old, cfg.model.to_dict(), 'model'):
        if not set(but) & set(key.split('.')):
            yield f'{key} is {_short(before)} there and {_short(now)} here'


def _differences(old: Any, new: Any, key: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield what differs in two settings, with its dotted key, but for what is for training."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        if _name(old.get('type')) != _name(new.get('type')):
            yield f'{key}.type', old.get('type'), new.get('type')
            return
        defaults = _defaults(new.get('type'))
        for name in dict.fromkeys((*old, *new)):
            if name == 'type' or name in _TRAINING or str(name).startswith(_DROPPING):
                continue
            default = defaults.get(name)
            yield from _differences(old.get(name, default), new.get(name, default), f'{key}.{name}')
    elif _of_components(old) and _of_components(new) and len(old) == len(new):
        for index, pair in enumerate(zip(old, new, strict=True)):
            yield from _differences(*pair, f'{key}[{index}]')
    # nothing, and an empty dict or list, are the same
    elif _plain(old) != _plain(new):
        yield key, old, new


def _of_components(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and any(isinstance(item, Mapping) for item in value)


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple, Mapping)):
        return list(value) or None
    return _name(value)


def _name(kind: Any) -> Any:
    """Return the name of a class without its library, whether it is a class or a name."""
    if isinstance(kind, type):
        return kind.__name__
    return kind.split('.')[-1] if isinstance(kind, str) else kind


def _defaults(kind: Any) -> dict[str, Any]:
    known = arguments_of(kind, MODELS)
    return {} if known is None else known.defaults


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f'{text[:60]}...'
