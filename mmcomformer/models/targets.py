"""The segments that an image is trained on: ground truth, and pseudo-labels after it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .point_sampling import sample_each, sample_shared


@dataclass(frozen=True)
class ImageTargets:
    """The N target segments of one image, sampled without expanding a map of them to masks.

    Masks may overlap. Segments that do not are held by one map, each in a slot that is used or
    not, so that their number need not be known on the host before matching: the pseudo-labels,
    with a slot for every query of the teacher, and ground truth that comes as a map.

    Attributes:
        labels: Learning index of each target, shape (N,), int64: first those with a mask, then
            one for each slot.
        valid: Whether each target exists, shape (N,), bool; always True for ground truth.
        masks: Shape (G, H, W), float, values in [0, 1].
        owner: Slot that each pixel belongs to or -1, shape (H, W), int64; None without slots.
    """

    labels: Tensor
    valid: Tensor
    masks: Tensor
    owner: Tensor | None = None

    @classmethod
    def from_masks(cls, labels: Tensor, masks: Tensor) -> ImageTargets:
        """Build targets from masks (G, H, W) of any dtype."""
        return cls(labels, torch.ones_like(labels, dtype=torch.bool), masks.float())

    @classmethod
    def from_map(cls, labels: Tensor, owner: Tensor) -> ImageTargets:
        """Build targets from a map (H, W), int64, of positions in ``labels``, or -1."""
        masks = owner.new_zeros(0, *owner.shape, dtype=torch.float32)
        return cls(labels, torch.ones_like(labels, dtype=torch.bool), masks, owner)

    @property
    def num_masks(self) -> int:
        """Number G of targets with a mask of their own."""
        return int(self.masks.shape[0])

    @property
    def covered(self) -> Tensor:
        """Whether a target covers each pixel, shape (H, W), bool."""
        by_mask = (self.masks > 0).any(0)
        return by_mask if self.owner is None else by_mask | (self.owner >= 0)

    def with_pseudo_labels(self, owner: Tensor, labels: Tensor, valid: Tensor) -> ImageTargets:
        """Return new targets with the pseudo-labels appended.

        Args:
            owner: Query that each pixel belongs to, or -1; shape (H, W), int64. It is -1 where
                these targets cover.
            labels: Class of each query, shape (Q,), int64.
            valid: Whether a query gives a pseudo-label, shape (Q,), bool.
        """
        if self.owner is not None:
            num_slots = self.labels.shape[0] - self.num_masks
            owner = torch.where(owner >= 0, owner + num_slots, self.owner)
        return ImageTargets(
            torch.cat([self.labels, labels]), torch.cat([self.valid, valid]), self.masks, owner
        )

    def expanded(self) -> ImageTargets:
        """Return the targets that exist, each with a mask of its own.

        For a CPU, which samples masks faster than a map, and where nothing waits for a number of
        targets to be read.
        """
        if self.owner is None:
            return self
        slots = self.valid[self.num_masks :].nonzero()
        masks = torch.cat([self.masks, (self.owner == slots[..., None]).to(self.masks.dtype)])
        return ImageTargets.from_masks(self.labels[self.valid], masks)

    def sample_shared(self, points: Tensor) -> Tensor:
        """Sample all targets at the same points.

        Args:
            points: Shape (P, 2), xy in [0, 1].

        Returns:
            Shape (N, P), float, values in [0, 1].
        """
        of_masks = sample_shared(self.masks.unsqueeze(0), points.unsqueeze(0)).squeeze(0)
        if self.owner is None:
            return of_masks
        slots = self.labels.shape[0] - self.num_masks
        # owner -1 falls into a row of its own, which is cut off
        of_map = of_masks.new_zeros(slots + 1, points.shape[0])
        for owners, weights in _corners(self.owner, points):
            of_map.scatter_add_(0, owners.long().add_(1)[None], weights[None])
        return torch.cat([of_masks, of_map[1:]])

    def sample_each(self, chosen: np.ndarray, points: Tensor) -> Tensor:
        """Sample chosen targets, each at its own points.

        Args:
            chosen: M indices of targets, int64, on the host (as an assignment gives them).
            points: Shape (M, P, 2), xy in [0, 1].

        Returns:
            Shape (M, P), float.
        """
        index = torch.from_numpy(chosen)
        has_mask = index < self.num_masks
        if self.owner is None or bool(has_mask.all()):
            return sample_each(self.masks[index.to(points.device)], points)
        # both parts are sampled without looking at the points of the other
        order = has_mask.logical_not().long().argsort(stable=True)
        first = int(has_mask.sum())
        index, points = index[order].to(points.device), points[order.to(points.device)]
        of_masks = sample_each(self.masks[index[:first]], points[:first])
        slots = (index[first:] - self.num_masks).unsqueeze(-1)
        of_map = points.new_zeros(slots.shape[0], points.shape[1])
        for owners, weights in _corners(self.owner, points[first:]):
            of_map += (owners == slots) * weights
        return torch.cat([of_masks, of_map])[order.argsort().to(points.device)]


def _corners(owner: Tensor, points: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield, for each of the four pixels around each point, its owner and its bilinear weight.

    Args:
        owner: Shape (H, W), int64.
        points: Shape (..., P, 2), xy in [0, 1].

    Yields:
        Owners, of a smaller type, -1 outside the map, and weights, both of shape (..., P).
    """
    height, width = owner.shape
    # a border spares asking which corners are outside; a smaller type spares cache
    bordered = functional.pad(owner.to(torch.int16), (1, 1, 1, 1), value=-1).flatten()
    stride = width + 2
    x, y = points[..., 0] * width + 0.5, points[..., 1] * height + 0.5
    left, top = x.floor(), y.floor()
    right_share, lower_share = x - left, y - top
    first = top.long() * stride + left.long()
    for down, vertical in ((0, 1 - lower_share), (1, lower_share)):
        for across, horizontal in ((0, 1 - right_share), (1, right_share)):
            yield bordered.take(first + (down * stride + across)), vertical * horizontal
