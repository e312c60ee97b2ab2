"""CoMFormer for OpenMMLab: continual learning in semantic and panoptic segmentation.

Importing the package checks the libraries it builds on and registers its components.
"""

from . import compat
from .version import __version__

compat.prepare()

# after compat.prepare(), which makes mmcv.ops importable
from . import datasets, engine, evaluation, methods, models, pictures  # noqa: E402
from .datasets.panoptic_png import ids_to_rgb  # noqa: E402

compat.enable_panoptic_inferencer(ids_to_rgb)

__all__ = [
    '__version__',
    'datasets',
    'engine',
    'evaluation',
    'methods',
    'models',
    'pictures',
]
