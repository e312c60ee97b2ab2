"""The segments that an image is trained on: ground truth, and pseudo-labels after it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .point_sampling import corners, sample_each, sample_shared


def to_device(values: np.ndarray | Tensor, device: torch.device) -> Tensor:
    """Copy small arrays of the host to a device, without waiting for what is queued there."""
    return torch.as_tensor(values).to(device, non_blocking=True)


Targets = TypeVar('Targets', bound='ImageTargets')


@dataclass(frozen=True)
class ImageTargets:
    """The N target segments of one image.

    Masks may overlap. Segments that do not are held by one map, each in a slot that is used or
    not, so that their number need not be known on the host before matching: the pseudo-labels,
    with a slot for every query of the teacher, and ground truth that comes as a map. A mask is
    made of a slot for the targets that were matched, where these are sampled.

    Attributes:
        labels: Learning index of each target, shape (N,), int64: first those with a mask, then
            one for each slot.
        valid: Whether each target exists, shape (N,), bool; always True for ground truth.
        masks: Shape (G, H, W), float, values in [0, 1].
        owner: Slot that each pixel belongs to or -1, shape (H, W), int64; None without slots.
        num_ground_truth: How many of the targets, the first ones, are ground truth; the others are
            pseudo-labels. None where all are.
        from_memory: Whether the image was stored at an earlier step.
    """

    labels: Tensor
    valid: Tensor
    masks: Tensor
    owner: Tensor | None = None
    num_ground_truth: int | None = None
    from_memory: bool = False

    @classmethod
    def from_masks(cls, labels: Tensor, masks: Tensor, from_memory: bool = False) -> ImageTargets:
        """Build targets from masks (G, H, W) of any dtype."""
        valid = torch.ones_like(labels, dtype=torch.bool)
        return cls(labels, valid, masks.float(), from_memory=from_memory)

    @classmethod
    def from_map(cls, labels: Tensor, owner: Tensor, from_memory: bool = False) -> ImageTargets:
        """Build targets from a map (H, W), int64, of positions in ``labels``, or -1."""
        masks = owner.new_zeros(0, *owner.shape, dtype=torch.float32)
        valid = torch.ones_like(labels, dtype=torch.bool)
        return cls(labels, valid, masks, owner, from_memory=from_memory)

    @property
    def is_pseudo(self) -> Tensor:
        """Whether each target is a pseudo-label, shape (N,), bool."""
        count = self.labels.shape[0]
        first = count if self.num_ground_truth is None else self.num_ground_truth
        return torch.arange(count, device=self.labels.device) >= first

    def mask_of(self, index: int) -> Tensor:
        """Return the pixels of a target, shape (H, W), bool."""
        if index < self.num_masks or self.owner is None:
            return self.masks[index] > 0
        return self.owner == index - self.num_masks

    @property
    def boxes(self) -> Tensor:
        """Box of each target: x0, y0, x1, y1 in pixels, x1 and y1 after the last one.

        Shape (N, 4), float; zeros for a target without a pixel. Computed when asked for.
        """
        parts = [_boxes_of(self.masks > 0)]
        if self.owner is not None:
            slots = self.labels.shape[0] - self.num_masks
            parts.append(_boxes_of_slots(self.owner, slots))
        return torch.cat(parts)

    @property
    def num_masks(self) -> int:
        """Number G of targets with a mask of their own."""
        return int(self.masks.shape[0])

    @property
    def covered(self) -> Tensor:
        """Whether a target covers each pixel, shape (H, W), bool."""
        by_mask = (self.masks > 0).any(0)
        return by_mask if self.owner is None else by_mask | (self.owner >= 0)

    def covered_by_class(self, classes: Tensor) -> Tensor:
        """Return whether a target of the class of each pixel has a mask there, (H, W), bool.

        Args:
            classes: Learning index or -1 of each pixel, (H, W), int64.
        """
        alike = self.labels[: self.num_masks, None, None] == classes
        return ((self.masks > 0) & alike).any(0)

    def with_pseudo_labels(self: Targets, owner: Tensor, labels: Tensor, valid: Tensor) -> Targets:
        """Return new targets with the pseudo-labels appended.

        Args:
            owner: Query that each pixel belongs to, or -1; shape (H, W), int64. It is -1 where
                these targets have slots; masks may lie under it.
            labels: Class of each query, shape (Q,), int64.
            valid: Whether a query gives a pseudo-label, shape (Q,), bool.
        """
        if self.owner is not None:
            num_slots = self.labels.shape[0] - self.num_masks
            owner = torch.where(owner >= 0, owner + num_slots, self.owner)
        return replace(
            self,
            labels=torch.cat([self.labels, labels]),
            valid=torch.cat([self.valid, valid]),
            owner=owner,
            num_ground_truth=self.labels.shape[0],
        )

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
        num_targets = self.labels.shape[0]
        # one row more, for pixels without an owner
        samples = of_masks.new_zeros(num_targets + 1, points.shape[0])
        samples[: self.num_masks] = of_masks
        pixels, weights = corners(points, *self.owner.shape)
        # (4, P): each of the four pixels gives its weight to the row of its owner
        samples.scatter_add_(0, self._bordered_rows.take(pixels), weights)
        return samples[:num_targets]

    def sample_each(self, chosen: np.ndarray, points: Tensor) -> Tensor:
        """Sample chosen targets, each at its own points.

        Args:
            chosen: M indices of targets, int64, on the host (as an assignment gives them).
            points: Shape (M, P, 2), xy in [0, 1].

        Returns:
            Shape (M, P), float.
        """
        device = points.device
        if self.owner is None:
            return sample_each(self.masks[to_device(chosen, device)], points)
        # those with a mask of their own first
        order = np.argsort(chosen >= self.num_masks, kind='stable')
        own, slots = np.split(chosen[order], [np.count_nonzero(chosen < self.num_masks)])
        in_slot = self.owner == to_device(slots - self.num_masks, device)[:, None, None]
        masks = torch.cat([self.masks[to_device(own, device)], in_slot.to(self.masks.dtype)])
        samples = sample_each(masks, points[to_device(order, device)])
        return samples[to_device(np.argsort(order), device)]

    @cached_property
    def _bordered_rows(self) -> Tensor:
        """The target of each pixel, or N, with a border of N around the map; flat, int64."""
        assert self.owner is not None
        num_targets = self.labels.shape[0]
        rows = torch.where(self.owner < 0, num_targets, self.owner + self.num_masks)
        return functional.pad(rows, (1, 1, 1, 1), value=num_targets).flatten()


def _boxes_of(masks: Tensor) -> Tensor:
    """Return the boxes (N, 4), float, of masks (N, H, W), bool."""
    sides = []
    # x from columns with a pixel, y from rows
    for axis in (-2, -1):
        # (N, H, W) -> (N, W), then (N, H)
        hit = masks.any(axis)
        size = hit.shape[-1]
        position = torch.arange(size, device=hit.device)
        first = torch.where(hit, position, size).amin(-1)
        after = torch.where(hit, position + 1, 0).amax(-1)
        sides.append((first.minimum(after), after))
    (x0, x1), (y0, y1) = sides
    return torch.stack([x0, y0, x1, y1], -1).float()


def _boxes_of_slots(owner: Tensor, slots: int) -> Tensor:
    """Return the boxes (slots, 4), float, of a map (H, W) of slots, or -1."""
    height, width = owner.shape
    # (H * W,): row 0 is that of pixels without an owner
    index = owner.flatten() + 1
    sides = []
    for size, position in (
        (width, torch.arange(width, device=owner.device).repeat(height)),
        (height, torch.arange(height, device=owner.device).repeat_interleave(width)),
    ):
        first = index.new_full((slots + 1,), size).scatter_reduce(0, index, position, 'amin')
        after = index.new_zeros(slots + 1).scatter_reduce(0, index, position + 1, 'amax')
        sides.append((first.minimum(after)[1:], after[1:]))
    (x0, x1), (y0, y1) = sides
    return torch.stack([x0, y0, x1, y1], -1).float()
