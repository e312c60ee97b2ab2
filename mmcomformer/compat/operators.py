"""The operators of an mmcv that was installed without compiling them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, NoReturn

_COMPILED = 'mmcv._ext'
_OPS_HINT = (
    'mmcv was installed without compiled operators and this one has no PyTorch form. Build mmcv '
    'with MMCV_WITH_OPS=1 pip install --no-build-isolation onedl-mmcv (or mmcv), with torch '
    'installed first.'
)


class _MissingOps(ModuleType):
    """Stand-in for ``mmcv._ext``: importing works, calling a compiled operator explains itself."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__'):
            raise AttributeError(name)

        def missing(*args: Any, **kwargs: Any) -> NoReturn:
            raise RuntimeError(f'mmcv operator {name!r}: {_OPS_HINT}')

        return missing


class _StandInLoader(Loader):
    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the stand-in."""
        return _MissingOps(spec.name, 'Stand-in for operators that were not compiled.')

    def exec_module(self, module: ModuleType) -> None:
        """Make deformable attention take the PyTorch path on every device."""
        attention = importlib.import_module('mmcv.ops.multi_scale_deform_attn')
        for flag in ('IS_CUDA_AVAILABLE', 'IS_MLU_AVAILABLE', 'IS_NPU_AVAILABLE'):
            if hasattr(attention, flag):
                setattr(attention, flag, False)


class _StandInFinder(MetaPathFinder):
    """Finder of the stand-in; as the last one it is asked where there is no compiled module."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the stand-in's spec for the compiled module, None for any other."""
        return ModuleSpec(fullname, _StandInLoader()) if fullname == _COMPILED else None


def enable_uncompiled_ops() -> None:
    """Make ``mmcv.ops`` importable where mmcv has no compiled operators; imports nothing itself.

    Mask2Former needs only operators that mmcv also has in PyTorch.
    """
    if not any(isinstance(finder, _StandInFinder) for finder in sys.meta_path):
        sys.meta_path.append(_StandInFinder())


def load_operators() -> None:
    """Import the operators, and give them to the modules of mmdet that were imported before.

    Raises:
        ImportError: mmcv has compiled operators, but not for this torch.
    """
    try:
        compiled = importlib.import_module(_COMPILED)
    except ImportError as error:
        raise ImportError(
            f'the compiled operators of mmcv do not load with the installed torch ({error}); '
            'reinstall mmcv for this torch, or without operators'
        ) from error
    if isinstance(compiled, _MissingOps):
        _replace_placeholders(importlib.import_module('mmcv.ops'))


def _replace_placeholders(ops: ModuleType) -> None:
    """Give mmdet modules that were imported before us the real operators.

    OneDL's mmdet defines a raising placeholder for each operator that it could not import.
    """
    for name, module in list(sys.modules.items()):
        if name.startswith('mmdet.') and module is not None:
            for attribute, value in list(vars(module).items()):
                if getattr(value, '__module__', None) == name and attribute in ops.__all__:
                    setattr(module, attribute, getattr(ops, attribute))
