"""What each pixel of an image is trained on: a class, background, or nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from ...models.targets import ImageTargets

IGNORED = -1
"""Label of pixels on which nothing is trained."""
Resize = Literal['nearest-exact', 'nearest']


@dataclass(frozen=True)
class PixelTargets(ImageTargets):
    """The segments of one image as a map, :attr:`owner`, and the pixels that are ignored.

    A pixel that no segment owns is background: a class that the step hides, or none.

    Attributes:
        ignored: Pixels on which nothing is trained, (H, W), bool.
    """

    ignored: Tensor | None = None

    def label_map(
        self, background: int, size: tuple[int, int] | None = None, resize: Resize = 'nearest-exact'
    ) -> Tensor:
        """Return the learning index of each pixel.

        Args:
            background: What stands for the background.
            size: Height and width to which the map is reduced.
            resize: Which pixel of a cell gives its label: the one at its centre, or, ``nearest``,
                the first one.

        Returns:
            Shape (h, w), int64, :data:`IGNORED` where nothing is trained.
        """
        owner, ignored = self._maps
        # owner -1 reads the last one
        labels = torch.cat([self.labels, self.labels.new_full((1,), background)])
        found = labels[owner].masked_fill(ignored, IGNORED)
        return found if size is None else nearest(found, size, resize)

    def with_pixel_labels(self, labels: Tensor, is_sure: Tensor, num_old: int) -> PixelTargets:
        """Return new targets in which the teacher has labelled the background (PLOP).

        Args:
            labels: The teacher's class of each pixel, (h, w), int64; ``num_old`` is background.
            is_sure: Whether the teacher is sure of it, (h, w), bool. Background pixels of which it
                is not are ignored.
            num_old: Number of the teacher's classes.
        """
        owner, ignored = self._maps
        height, width = owner.shape
        labels, is_sure = (nearest(part, (height, width)) for part in (labels, is_sure))
        background = (owner < 0) & ~ignored
        found = labels.masked_fill(~(background & is_sure & (labels < num_old)), -1)
        classes = torch.arange(num_old, device=labels.device)
        completed = self.with_pseudo_labels(found, classes, torch.isin(classes, found))
        return replace(completed, ignored=ignored | (background & ~is_sure))

    @property
    def _maps(self) -> tuple[Tensor, Tensor]:
        """The maps of owners and of what is ignored, which targets of pixels always have."""
        assert self.owner is not None
        assert self.ignored is not None
        return self.owner, self.ignored


def nearest(values: Tensor, size: tuple[int, int], resize: Resize = 'nearest') -> Tensor:
    """Resize a map (H, W) of integers or truth values by the nearest pixel, as (h, w)."""
    resized = functional.interpolate(values[None, None].float(), size, mode=resize)
    return resized[0, 0].to(values.dtype)
