"""The registries in which the package puts its components.

They are mmengine's root registries: a lookup in mmdet's or mmseg's registry falls back to them, so
a config finds the components under either ``default_scope``.
"""

from mmengine.registry import (
    DATA_SAMPLERS,
    DATASETS,
    HOOKS,
    METRICS,
    MODELS,
    OPTIM_WRAPPER_CONSTRUCTORS,
    TASK_UTILS,
    TRANSFORMS,
    VISUALIZERS,
)

from .compat import libraries  # noqa: F401  (whoever registers something works with them)

__all__ = [
    'DATASETS',
    'DATA_SAMPLERS',
    'HOOKS',
    'METRICS',
    'MODELS',
    'OPTIM_WRAPPER_CONSTRUCTORS',
    'TASK_UTILS',
    'TRANSFORMS',
    'VISUALIZERS',
]
