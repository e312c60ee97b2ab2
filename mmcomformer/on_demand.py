"""Registering the components of the package when one of them is needed, not when it is imported."""

from __future__ import annotations

import functools
import importlib
import sys
from typing import Any

COMPONENTS = f'{__package__}.components'


def register_on_demand() -> None:
    """Import all components when a name is looked up that no registry has, and look again.

    mmengine's registries do so themselves with their ``locations``, but only in the registry that
    is asked, never in the parents of mmdet's and mmseg's, which is where the components are. As
    there, what a registry lists before the first such lookup is not all.

    An error of that import comes out of the lookup. Lookups while it runs, such as those of the
    libraries that it imports, and in other threads meet Python's own lock of the module.

    Where mmdet or mmseg is there already, little is saved, and what they lack without compiled
    operators is mended at once: so the components are imported here.
    """
    from mmengine.registry import Registry

    find = Registry.get

    @functools.wraps(find)
    def get(registry: Any, key: str) -> Any:
        found = find(registry, key)
        if found is None:
            importlib.import_module(COMPONENTS)
            found = find(registry, key)
        return found

    Registry.get = get
    if 'mmdet' in sys.modules or 'mmseg' in sys.modules:
        importlib.import_module(COMPONENTS)
