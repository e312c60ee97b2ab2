"""The segments that an image is trained on: ground truth, and pseudo-labels after it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .point_sampling import corners, sample_each, sample_shared


def to_device(values: np.ndarray | Tensor, device: torch.device) -> Tensor:
    """Copy small arrays of the host to a device, without waiting for what is queued there."""
    return torch.as_tensor(values).to(device, non_blocking=True)


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
        every_mask: Masks of all targets, those of slots expanded, shape (N, H, W), float; None
            unless :meth:`expanded`.
        num_ground_truth: How many of the targets, the first ones, are ground truth; the others are
            pseudo-labels. None where all are.
        from_memory: Whether the image was stored at an earlier step.
    """

    labels: Tensor
    valid: Tensor
    masks: Tensor
    owner: Tensor | None = None
    every_mask: Tensor | None = None
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
            torch.cat([self.labels, labels]),
            torch.cat([self.valid, valid]),
            self.masks,
            owner,
            num_ground_truth=self.labels.shape[0],
            from_memory=self.from_memory,
        )

    def expanded(self) -> ImageTargets:
        """Return the targets that exist, with a mask for each of them beside the map.

        For a CPU, which samples each mask at its own points faster than the map, and where nothing
        waits for a number of targets to be read.
        """
        if self.owner is None:
            return self
        used = self.valid[self.num_masks :].nonzero().squeeze(1)
        # owner -1 reads the last one
        number = torch.full((self.labels.shape[0] - self.num_masks + 1,), -1)
        number[used] = torch.arange(len(used))
        owner = number[self.owner]
        slots = torch.arange(len(used))[:, None, None]
        every_mask = torch.cat([self.masks, (owner == slots).to(self.masks.dtype)])
        labels = self.labels[self.valid]
        return replace(
            self,
            labels=labels,
            valid=torch.ones_like(labels).bool(),
            owner=owner,
            every_mask=every_mask,
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
        slots = self.labels.shape[0] - self.num_masks
        # owner -1 falls into a row of its own, which is cut off
        of_map = of_masks.new_zeros(slots + 1, points.shape[0])
        for pixels, weights in corners(points, *self.owner.shape):
            owners = self._bordered_owner.take(pixels).long()
            of_map.scatter_add_(0, owners.add_(1)[None], weights[None])
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
            return sample_each(self.masks[to_device(chosen, points.device)], points)
        if self.every_mask is not None:
            return sample_each(self.every_mask[index], points)
        # both parts are sampled without looking at the points of the other
        order = has_mask.logical_not().long().argsort(stable=True)
        first = int(has_mask.sum())
        back = to_device(order.argsort(), points.device)
        index, order = (to_device(part, points.device) for part in (index[order], order))
        points = points[order]
        of_masks = sample_each(self.masks[index[:first]], points[:first])
        slots = (index[first:] - self.num_masks).unsqueeze(-1)
        of_map = points.new_zeros(slots.shape[0], points.shape[1])
        for pixels, weights in corners(points[first:], *self.owner.shape):
            of_map += (self._bordered_owner.take(pixels) == slots) * weights
        return torch.cat([of_masks, of_map])[back]

    @cached_property
    def _bordered_owner(self) -> Tensor:
        """The map with a border of -1, flat, and of a type that spares cache."""
        assert self.owner is not None
        dtype = torch.int16 if self.labels.shape[0] < 2**15 else torch.int32
        return functional.pad(self.owner.to(dtype), (1, 1, 1, 1), value=-1).flatten()


def _boxes_of(masks: Tensor) -> Tensor:
    """Return the boxes (N, 4), float, of masks (N, H, W), bool."""
    sides = []
    # x from columns with a pixel, y from rows
    for axis in (-2, -1):
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
