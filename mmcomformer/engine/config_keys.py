"""Top-level keys of a config: which are read, and which is meant by one that is not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..recipe import SETTINGS
from ..spelling import closest

# fmt: off
READ = frozenset({
    # mmengine's Runner
    'model', 'work_dir', 'train_dataloader', 'val_dataloader', 'test_dataloader', 'train_cfg',
    'val_cfg', 'test_cfg', 'auto_scale_lr', 'optim_wrapper', 'param_scheduler', 'val_evaluator',
    'test_evaluator', 'default_hooks', 'custom_hooks', 'data_preprocessor', 'load_from', 'resume',
    'launcher', 'env_cfg', 'log_processor', 'log_level', 'visualizer', 'default_scope',
    'randomness', 'experiment_name', 'custom_imports', 'model_wrapper_cfg', 'sync_bn',
    'find_unused_parameters', 'activation_checkpointing', 'efficient_conv_bn_eval', 'compile',
    # the tools, ours and those of mmdet and mmseg
    'tta_model', 'tta_pipeline', *SETTINGS,
})
"""The top-level keys that something reads."""
VARIABLES = frozenset({
    'train_pipeline', 'test_pipeline', 'val_pipeline', 'train_dataset', 'val_dataset',
    'test_dataset', 'dataset_type', 'backend_args', 'vis_backends',
})
"""Names of variables that configs of OpenMMLab use to share a value; nothing else reads them."""
# fmt: on


def check_option_keys(options: Iterable[str], config: Mapping[str, Any]) -> None:
    """Check that ``--cfg-options`` set nothing that is not read.

    Args:
        options: Dotted keys of the options.
        config: The config that they change.

    Raises:
        ValueError: If one is not below a key of :data:`READ`.
    """
    for option in options:
        key = option.split('.')[0]
        if key in READ:
            continue
        meant = closest(key, READ)
        places = [meant] if meant else sorted(set(_places(config, key)))[:4]
        hint = f'; did you mean {" or ".join(places)}?' if places else ''
        variable = (
            ' (a variable of the config, whose value is used already)' if key in config else ''
        )
        raise ValueError(f'--cfg-options {option}: nothing reads {key!r}{variable}{hint}')


def check_config_keys(config: Mapping[str, Any], path: str) -> None:
    """Check that no top-level key of a config is a misspelling of one that is read.

    Other unknown keys are variables, which a config may have: to be safe begin them with an
    underscore, as in ``_classes``.

    Args:
        config: The config.
        path: Its file, for the message.

    Raises:
        ValueError: If one is close to a key of :data:`READ`.
    """
    for key in config:
        if key in READ or key in VARIABLES or key.startswith('_'):
            continue
        meant = closest(key, READ)
        if meant:
            raise ValueError(
                f'config {path}: nothing reads {key!r}; did you mean {meant!r}? A variable of your '
                f'own that is called so begins with an underscore'
            )


def _places(node: Any, key: str, prefix: str = '') -> Iterator[str]:
    """Yield the dotted keys of a config that end in a key, but those in lists."""
    if isinstance(node, Mapping):
        for name, value in node.items():
            path = f'{prefix}.{name}' if prefix else str(name)
            if name == key and prefix:
                yield path
            if prefix or name in READ:
                yield from _places(value, key, path)
