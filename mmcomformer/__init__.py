"""CoMFormer for OpenMMLab: continual learning in semantic and panoptic segmentation.

Importing the package takes a fraction of a second. It makes the registries find the components,
which are imported, with torch, mmdet and mmseg, when a config first names one.
"""

import lazy_loader

from .compat.operators import enable_uncompiled_ops
from .compat.quiet import silence_imports
from .compat.versions import check_installed, check_versions
from .config_files import resolve_own_configs
from .on_demand import register_on_demand
from .version import __version__

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ['__version__']

check_installed()
check_versions('mmengine')  # the only one that is imported here
silence_imports()
enable_uncompiled_ops()
register_on_demand()
resolve_own_configs()
