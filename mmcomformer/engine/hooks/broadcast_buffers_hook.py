"""Evaluate the same model on every process."""

from __future__ import annotations

from mmengine.dist import broadcast, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ...registry import HOOKS


@HOOKS.register_module()
class BroadcastBuffersHook(Hook):
    """Give all processes the buffers of the first one before each validation.

    Data parallelism keeps the parameters equal, but each process updates the statistics of its own
    batch norms. A checkpoint holds those of the first process; so an evaluation by several
    processes is that of the checkpoint only if they all use these. (mmengine's ``SyncBuffersHook``
    averages after an epoch, which is after the last checkpoint and the last validation.)
    """

    priority = 'ABOVE_NORMAL'

    def before_val_epoch(self, runner: Runner) -> None:
        """Replace the buffers of the other processes."""
        if get_world_size() > 1:
            for buffer in runner.model.buffers():
                broadcast(buffer)
