"""The segments that an image is trained on: ground truth, and pseudo-labels after it."""

from __future__ import annotations

from dataclasses import dataclass
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
    """

    labels: Tensor
    valid: Tensor
    masks: Tensor
    owner: Tensor | None = None
    every_mask: Tensor | None = None

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
        return ImageTargets(labels, torch.ones_like(labels).bool(), self.masks, owner, every_mask)

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
