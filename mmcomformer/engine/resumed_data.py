"""Where a training stands in its stream of images, and how it goes on from there."""

from __future__ import annotations

from typing import Any

from mmengine.runner import BaseLoop
from torch.utils.data import DataLoader

from ..datasets.continual_sampler import ContinualSampler


def data_position(dataloader: DataLoader[Any], iterations: int) -> dict[str, int] | None:
    """Return what a checkpoint has to keep of the stream of images.

    Args:
        dataloader: Of the training.
        iterations: Trained so far. What worker processes have loaded in advance does not count.

    Returns:
        See :meth:`ContinualSampler.state_after`; None for another sampler, or if the loader has a
        batch sampler of its own, whose batches may take any number of images.
    """
    sampler, batch_size = dataloader.sampler, dataloader.batch_size
    if not isinstance(sampler, ContinualSampler) or batch_size is None:
        return None
    return sampler.state_after(iterations, batch_size)


def resume_data(loop: BaseLoop, state: dict[str, int]) -> None:
    """Let a resumed loop go on in the stream where its checkpoint was written.

    Args:
        loop: An ``IterBasedTrainLoop`` before its first iteration.
        state: From :func:`data_position`.
    """
    sampler = loop.dataloader.sampler
    if isinstance(sampler, ContinualSampler):
        sampler.load_state(state, loop.iter)
        loop.dataloader_iterator = _RemainingBatches(loop.dataloader, loop.iter)


class _RemainingBatches:
    """Iterator of a resumed loop, over what is left to be trained.

    OneDL's loop asks its iterator to skip what was trained; the stock one draws and drops it, so
    the first items are None there, which costs nothing.
    """

    def __init__(self, dataloader: DataLoader[Any], trained: int) -> None:
        self._dataloader = dataloader
        self._to_drop = trained
        self._iterator: Any = None

    def skip_iter(self, num_iters: int) -> None:
        """Skip what was trained, in one go."""
        self._to_drop = 0

    def __next__(self) -> Any:
        if self._to_drop:
            self._to_drop -= 1
            return None
        if self._iterator is None:
            self._iterator = iter(self._dataloader)
        return next(self._iterator)
