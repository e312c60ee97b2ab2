"""Checkpoints and resumed trainings, which the two families of mmengine treat differently."""

from __future__ import annotations

import importlib
import itertools
from pathlib import Path
from typing import Any


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
