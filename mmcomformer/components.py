"""All that a config can name: importing this module registers it.

It is imported by the first lookup that needs it (see ``on_demand``). Import it yourself to list
what the registries hold, or before you replace a component with ``register_module(force=True)``.
"""

from . import methods, models  # noqa: F401
from .compat import libraries  # noqa: F401  (before whatever imports mmdet or mmseg)
from .compat.inferencer import enable_panoptic_inferencer
from .datasets import (  # noqa: F401
    continual_sampler,
    incremental_dataset,
    shapes_instance_dataset,
    shapes_panoptic_dataset,
    shapes_semantic_dataset,
    transforms,
)
from .datasets.panoptic_png import ids_to_rgb
from .engine import hooks, optim_wrapper_constructor, sweep  # noqa: F401
from .evaluation import (  # noqa: F401
    incremental_instance_metric,
    incremental_iou_metric,
    incremental_panoptic_metric,
)
from .pictures import panoptic_visualizer  # noqa: F401

enable_panoptic_inferencer(ids_to_rgb)
