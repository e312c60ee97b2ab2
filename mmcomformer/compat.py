"""Everything that depends on which OpenMMLab family and version is installed.

Two families have the same import names: stock OpenMMLab and its continuation OneDL. Nothing else
in the package asks which one is there.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import itertools
import re
import sys
import warnings
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

INSTALL_HINT = (
    "install them with: pip install 'mmcomformer[onedl]' "
    "(or 'mmcomformer[openmmlab]' for the stock OpenMMLab releases)"
)
_OPS_HINT = (
    'mmcv was installed without compiled operators and this one has no PyTorch form. Build mmcv '
    'with MMCV_WITH_OPS=1 pip install --no-build-isolation onedl-mmcv (or mmcv), with torch '
    'installed first.'
)

# lowest supported version (inclusive), first unsupported version
SUPPORTED = {
    'torch': ((2, 4), (3,)),  # the first with an allow-list for weights_only
    'mmengine': ((0, 10, 7), (0, 11)),
    'mmcv': ((2, 1), (2, 4)),
    'mmdet': ((3, 3), (3, 6)),
    'mmseg': ((1, 2, 2), (1, 5)),
}


class _MissingOps(ModuleType):
    """Stand-in for ``mmcv._ext``: importing works, calling a compiled operator explains itself."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__'):
            raise AttributeError(name)

        def missing(*args: Any, **kwargs: Any) -> NoReturn:
            raise RuntimeError(f'mmcv operator {name!r}: {_OPS_HINT}')

        return missing


def check_versions() -> None:
    """Check that every library is there in a supported version.

    Raises:
        ImportError: It names the library, the version found and the line that installs it.
    """
    for name, (lowest, end) in SUPPORTED.items():
        expected = f'>={_dotted(lowest)},<{_dotted(end)}'
        try:
            # mmcv, mmdet and mmseg check each other's versions when imported
            version = importlib.import_module(name).__version__
        except (ImportError, AssertionError, AttributeError) as error:
            raise ImportError(
                f'mmcomformer needs {name} {expected}, which cannot be imported ({error}); '
                f'{INSTALL_HINT}'
            ) from error
        numbers = _numbers(version)
        if not lowest <= numbers < end:
            raise ImportError(
                f'mmcomformer needs {name} {expected}, but {version} is installed; {INSTALL_HINT}'
            )


def _dotted(version: tuple[int, ...]) -> str:
    return '.'.join(map(str, version))


def _numbers(version: str) -> tuple[int, ...]:
    """Return the release numbers of a version, without suffixes such as ``rc1`` or ``+cpu``."""
    release = re.match(r'\d+(\.\d+)*', version)
    return tuple(map(int, release[0].split('.'))) if release else ()


def enable_uncompiled_ops() -> None:
    """Make ``mmcv.ops`` importable where mmcv has no compiled operators; else do nothing.

    Mask2Former needs only operators that mmcv also has in PyTorch. Deformable attention takes the
    PyTorch path on every device then.

    Raises:
        ImportError: mmcv has compiled operators, but not for this torch.
    """
    try:
        importlib.import_module('mmcv._ext')
        return
    except ModuleNotFoundError:
        pass
    except ImportError as error:
        raise ImportError(
            f'the compiled operators of mmcv do not load with the installed torch ({error}); '
            'reinstall mmcv for this torch, or without operators'
        ) from error
    stand_in = _MissingOps('mmcv._ext', 'Stand-in for operators that were not compiled.')
    stand_in.__spec__ = ModuleSpec('mmcv._ext', loader=None)
    sys.modules['mmcv._ext'] = stand_in
    ops = importlib.import_module('mmcv.ops')
    attention = importlib.import_module('mmcv.ops.multi_scale_deform_attn')
    for flag in ('IS_CUDA_AVAILABLE', 'IS_MLU_AVAILABLE', 'IS_NPU_AVAILABLE'):
        if hasattr(attention, flag):
            setattr(attention, flag, False)
    _replace_placeholders(ops)


def _replace_placeholders(ops: ModuleType) -> None:
    """Give mmdet modules that were imported before us the real operators.

    OneDL's mmdet defines a raising placeholder for each operator that it could not import.
    """
    for name, module in list(sys.modules.items()):
        if name.startswith('mmdet.') and module is not None:
            for attribute, value in list(vars(module).items()):
                if getattr(value, '__module__', None) == name and attribute in ops.__all__:
                    setattr(module, attribute, getattr(ops, attribute))


def allow_resume() -> None:
    """Let checkpoints that mmengine writes be read without unpickling code.

    Stock mmengine 0.10.7 calls ``torch.load`` with torch's default ``weights_only=True``, and its
    checkpoints hold its own ``HistoryBuffer`` and NumPy arrays. A buffer also pickles references
    to its methods, which only ``getattr`` can restore; that one cannot be allowed, and a buffer
    sets its methods up by itself, so they are left out from now on.
    """
    import numpy as np
    import torch
    from mmengine.logging import HistoryBuffer

    HistoryBuffer.__getstate__ = _state_without_methods
    multiarray = importlib.import_module(
        'numpy._core.multiarray' if hasattr(np, '_core') else 'numpy.core.multiarray'
    )
    dtypes = {type(np.dtype(kind)) for kind in ('f8', 'f4', 'i8', 'i4', 'b1', 'u1')}
    torch.serialization.add_safe_globals(
        [HistoryBuffer, multiarray._reconstruct, multiarray.scalar, np.ndarray, np.dtype, *dtypes]
    )


def _state_without_methods(buffer: Any) -> dict[str, Any]:
    return {key: value for key, value in vars(buffer).items() if key != 'statistics_methods'}


def load_weights_only(path: str | Path, *, mmap: bool | None = None) -> Any:
    """Load a checkpoint that mmengine wrote onto the CPU, without unpickling code.

    The allow-list of :func:`allow_resume` does not last: OneDL's mmengine shortens it by what it
    needs itself whenever it has loaded a checkpoint.

    Args:
        path: The file.
        mmap: Read tensors only when they are used.

    Returns:
        What the file holds.
    """
    import torch

    allow_resume()
    return torch.load(path, map_location='cpu', weights_only=True, mmap=mmap)


def enable_panoptic_inferencer(ids_to_rgb: Callable[[Any], Any]) -> None:
    """Let mmdet's ``DetInferencer`` return panoptic maps without panopticapi.

    It needs two names of that package: the id of VOID and the function that packs an id into a
    colour.

    Args:
        ids_to_rgb: That function.
    """
    module: Any = importlib.import_module('mmdet.apis.det_inferencer')
    if module.VOID is None:
        module.VOID = 0
        module.id2rgb = ids_to_rgb


def skip_trained_batches(loop: Any) -> None:
    """Make a resumed training loop skip the batches it has trained on without loading them.

    OneDL's mmengine does so itself. Stock mmengine draws and discards them, which for a late step
    of a long training means hours of image loading. A data loader with a batch sampler of its own
    is left alone: how many indices its batches take is not known.

    Args:
        loop: The loop of a runner that has resumed, before its first iteration. One that counts
            epochs goes on at the start of an epoch and has nothing to skip.
    """
    if not hasattr(loop, 'dataloader_iterator'):
        return
    skips_itself = hasattr(loop.dataloader_iterator, 'skip_iter')
    restartable = hasattr(loop.dataloader.sampler, '_indices_of_rank')
    if loop.iter > 0 and not skips_itself and restartable and loop.dataloader.batch_size:
        loop.dataloader_iterator = _SkippingIterator(loop.dataloader, loop.iter)


class _SkippingIterator:
    """Data iterator whose first ``skip`` items are None and cost nothing."""

    def __init__(self, dataloader: Any, skip: int) -> None:
        sampler = dataloader.sampler
        # the loop's own iterator may have drawn indices already: start the stream again
        sampler.indices = itertools.islice(
            sampler._indices_of_rank(), skip * dataloader.batch_size, None
        )
        self._dataloader = dataloader
        self._to_skip = skip
        self._iterator: Any = None

    def __next__(self) -> Any:
        if self._to_skip:
            self._to_skip -= 1
            return None
        if self._iterator is None:
            self._iterator = iter(self._dataloader)
        return next(self._iterator)


def import_quietly(*names: str) -> None:
    """Import modules without the notes on optional packages that this package does not use.

    OneDL's mmdet and mmseg print that the package ``onedl`` is missing, and mmdet warns that
    ``faster_coco_eval`` is. All other output and every error pass.

    Args:
        names: Full names of the modules.
    """
    output = io.StringIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(output):
            warnings.filterwarnings('ignore', message='faster_coco_eval is not installed')
            for name in names:
                importlib.import_module(name)
    finally:
        lines = output.getvalue().splitlines(keepends=True)
        sys.stdout.writelines(x for x in lines if not x.startswith('Could not import OneDL'))


def prepare() -> None:
    """Check the libraries and adapt to them; called once, when the package is imported."""
    check_versions()
    enable_uncompiled_ops()
    import_quietly('mmdet.datasets', 'mmdet.evaluation', 'mmseg.datasets', 'mmseg.models')
    allow_resume()
