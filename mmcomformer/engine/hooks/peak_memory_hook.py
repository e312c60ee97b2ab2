"""Hook that remembers how much memory a training took at most."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ...registry import HOOKS


@HOOKS.register_module()
class PeakMemoryHook(Hook):
    """Remember the peak of the memory allocated on the CUDA device, or of the process without one.

    mmengine's logger resets the device's own counter each time it logs.
    """

    # before the logger
    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self._cuda_bytes = 0

    def before_train(self, runner: Runner) -> None:
        """Begin anew for a step."""
        self._cuda_bytes = 0

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Look at the device's counter."""
        if torch.cuda.is_available():
            self._cuda_bytes = max(self._cuda_bytes, torch.cuda.max_memory_allocated())

    def peak(self) -> tuple[int | None, str]:
        """Return the peak in MB (2**20 bytes), and whether it is of ``cuda`` or of the ``process``.

        The memory of a process counts from its start, its data workers left out; None where the
        system does not tell.
        """
        if self._cuda_bytes:
            return self._cuda_bytes >> 20, 'cuda'
        return _process_mb(), 'process'


def _process_mb() -> int | None:
    import sys

    if sys.platform == 'win32':
        return None
    import resource

    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # in bytes on macOS only
    return size >> 20 if sys.platform == 'darwin' else size >> 10
