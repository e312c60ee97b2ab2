"""CoMFormer for OpenMMLab: continual learning in semantic and panoptic segmentation.

Importing the package checks the libraries it builds on and registers its components.
"""

from . import compat
from .version import __version__

compat.prepare()

__all__ = ['__version__']
