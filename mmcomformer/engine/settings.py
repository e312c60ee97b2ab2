"""The settings of a config that a step's result depends on, and how two sets of them differ."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config
from mmengine.dist import get_world_size
from mmengine.hooks import CheckpointHook, EMAHook

from ..registry import HOOKS

Settings = dict[str, Any]

TOTAL_BATCH = 'train_dataloader.batch_size x processes'
"""Name of the setting that one process with 4 images and two with 2 have in common."""

_PARTS = (
    'model',
    'train_dataloader',
    'val_dataloader',
    'val_evaluator',
    'optim_wrapper',
    'param_scheduler',
    'train_cfg',
    'auto_scale_lr',
)
# where data lie, how fast they are read, how weights that a checkpoint replaces are first set, how
# often is looked; a scenario is compared by itself
_HARMLESS = frozenset(
    (
        'scenario',
        'data_root',
        'data_prefix',
        'backend_args',
        'file_client_args',
        'index_cache',
        'lazy_init',
        'serialize_data',
        'num_workers',
        'persistent_workers',
        'prefetch_factor',
        'pin_memory',
        'batch_size',
        'init_cfg',
        'pretrained',
        'teacher_ckpt',
        'val_interval',
        'val_begin',
        'dynamic_intervals',
        'fast_forward_on_resume',
        '_scope_',
    )
)
_FILES = frozenset(('ann_file', 'images'))
_LONG = 200

PRECISION = frozenset(f'optim_wrapper.{key}' for key in ('type', 'dtype', 'loss_scale', 'use_fsdp'))
"""Settings that follow from the machine (AMP needs a GPU), and no longer matter after training."""


class Difference(NamedTuple):
    """A setting that is not what it was; None stands for one that is not there."""

    key: str
    old: Any
    new: Any

    def __str__(self) -> str:
        """Return it as a part of a message."""
        return f'{self.key} was {_shorten(self.old)} and is {_shorten(self.new)}'


def settings_of(cfg: Config) -> Settings:
    """Return what the result of a step depends on, but for its scenario, as plain values.

    Paths are left out, as is what only decides how fast it goes, and hooks of other packages (but
    for the moving average of the weights), of which it is not known what they do.

    Args:
        cfg: The config of a step, after :func:`~mmcomformer.engine.launch.prepare_device`.
    """
    settings = {key: _plain(cfg[key]) for key in _PARTS if cfg.get(key)}
    settings['custom_hooks'] = dict(_hooks(cfg))
    settings['randomness'] = {'seed': (cfg.get('randomness') or {}).get('seed')}
    if cfg.get('train_dataloader'):
        settings[TOTAL_BATCH] = cfg.train_dataloader.get('batch_size', 1) * get_world_size()
    return settings


def _hooks(cfg: Config) -> Iterator[tuple[str, Any]]:
    for hook in cfg.get('custom_hooks') or ():
        kind = HOOKS.get(hook['type']) if isinstance(hook.get('type'), str) else hook.get('type')
        if not isinstance(kind, type) or issubclass(kind, CheckpointHook):
            continue
        if issubclass(kind, EMAHook) or kind.__module__.startswith('mmcomformer.'):
            arguments = {key: value for key, value in hook.items() if key != 'type'}
            yield kind.__name__, _plain(arguments)


def _plain(value: Any) -> Any:
    """Return a setting as JSON holds it, without what is harmless; a long list as a hash."""
    if isinstance(value, Mapping):
        return {
            str(key): _file_name(item) if key in _FILES else _plain(item)
            for key, item in value.items()
            if key not in _HARMLESS
        }
    if isinstance(value, (list, tuple)):
        items = [_plain(item) for item in value]
        return items if len(items) <= _LONG else f'{len(items)} items, {_hash(items)}'
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    # a class in place of its name
    return getattr(value, '__name__', None) or str(value)


def _file_name(value: Any) -> Any:
    return Path(value).name if isinstance(value, str) else _plain(value)


def _hash(items: list[Any]) -> str:
    return hashlib.sha256(json.dumps(items).encode()).hexdigest()[:16]


def differences(old: Any, new: Any, prefix: str = '') -> Iterator[Difference]:
    """Yield each setting that is not what it was, by its dotted key.

    Example:
        >>> [str(item) for item in differences({'a': {'b': 1, 'c': 2}}, {'a': {'b': 1, 'c': 3}})]
        ['a.c was 2 and is 3']
    """
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys((*old, *new)):
            name = f'{prefix}.{key}' if prefix else str(key)
            yield from differences(old.get(key), new.get(key), name)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, pair in enumerate(zip(old, new, strict=True)):
            yield from differences(*pair, f'{prefix}[{index}]')
    elif old != new:
        yield Difference(prefix, old, new)


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f'{text[:80]}...'
