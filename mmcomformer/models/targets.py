"""The segments that an image is trained on: ground truth, and pseudo-labels after it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .point_sampling import sample_each, sample_shared


@dataclass(frozen=True)
class ImageTargets:
    """The N target segments of one image, sampled without expanding pseudo-labels to masks.

    Ground truth comes as masks, which may overlap. Pseudo-labels never overlap: one map holds
    them. Every query of the teacher has a slot there, used or not, so that their number need not
    be known on the host before matching.

    Attributes:
        labels: Learning index of each target, shape (N,), int64: first G ground-truth segments,
            then one slot per query of the teacher.
        valid: Whether each target exists, shape (N,), bool; always True for ground truth.
        masks: Ground truth, shape (G, H, W), float, values in [0, 1].
        owner: Pseudo-label of each pixel: query of the teacher or -1, shape (H, W), int64; None
            without pseudo-labels.
    """

    labels: Tensor
    valid: Tensor
    masks: Tensor
    owner: Tensor | None = None

    @classmethod
    def from_masks(cls, labels: Tensor, masks: Tensor) -> ImageTargets:
        """Build targets from ground truth alone; masks (G, H, W) of any dtype."""
        return cls(labels, torch.ones_like(labels, dtype=torch.bool), masks.float())

    @property
    def num_truth(self) -> int:
        """Number G of ground-truth segments."""
        return int(self.masks.shape[0])

    def with_pseudo_labels(self, owner: Tensor, labels: Tensor, valid: Tensor) -> ImageTargets:
        """Return new targets with the pseudo-labels appended.

        Args:
            owner: Query that each pixel belongs to, or -1; shape (H, W), int64.
            labels: Class of each query, shape (Q,), int64.
            valid: Whether a query gives a pseudo-label, shape (Q,), bool.
        """
        return ImageTargets(
            torch.cat([self.labels, labels]), torch.cat([self.valid, valid]), self.masks, owner
        )

    def sample_shared(self, points: Tensor) -> Tensor:
        """Sample all targets at the same points.

        Args:
            points: Shape (P, 2), xy in [0, 1].

        Returns:
            Shape (N, P), float, values in [0, 1].
        """
        truth = sample_shared(self.masks.unsqueeze(0), points.unsqueeze(0)).squeeze(0)
        if self.owner is None:
            return truth
        owners, weights = _corners(self.owner, points)
        slots = self.labels.shape[0] - self.num_truth
        # owner -1 falls into a row of its own, which is cut off
        pseudo = truth.new_zeros(slots + 1, points.shape[0])
        pseudo.scatter_add_(0, owners.add(1).T, weights.T.to(pseudo.dtype))
        return torch.cat([truth, pseudo[1:]])

    def sample_each(self, chosen: np.ndarray, points: Tensor) -> Tensor:
        """Sample chosen targets, each at its own points.

        Args:
            chosen: M indices of targets, int64, on the host (as an assignment gives them).
            points: Shape (M, P, 2), xy in [0, 1].

        Returns:
            Shape (M, P), float.
        """
        index = torch.from_numpy(chosen)
        is_truth = index < self.num_truth
        if self.owner is None or bool(is_truth.all()):
            return sample_each(self.masks[index.to(points.device)], points)
        # both parts are sampled without looking at the points of the other
        order = is_truth.logical_not().long().argsort(stable=True)
        num_truth = int(is_truth.sum())
        index, points = index[order].to(points.device), points[order.to(points.device)]
        truth = sample_each(self.masks[index[:num_truth]], points[:num_truth])
        owners, weights = _corners(self.owner, points[num_truth:])
        slots = (index[num_truth:] - self.num_truth).view(-1, 1, 1)
        pseudo = ((owners == slots) * weights.to(truth.dtype)).sum(-1)
        return torch.cat([truth, pseudo])[order.argsort().to(points.device)]


def _corners(owner: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Return the owners of the four pixels around each point, and their bilinear weights.

    Args:
        owner: Shape (H, W), int64.
        points: Shape (..., P, 2), xy in [0, 1].

    Returns:
        Owners, int64, -1 outside the map, and weights, each of shape (..., P, 4).
    """
    height, width = owner.shape
    size = points.new_tensor([width, height])
    position = points * size - 0.5
    low = position.floor()
    fraction = position - low
    offset = points.new_tensor([[0, 0], [1, 0], [0, 1], [1, 1]])
    corner = low.unsqueeze(-2) + offset
    weight = (1 - (fraction.unsqueeze(-2) - offset).abs()).prod(-1)
    inside = ((corner >= 0) & (corner < size)).all(-1)
    corner = corner.long()
    index = corner[..., 1].clamp(0, height - 1) * width + corner[..., 0].clamp(0, width - 1)
    return owner.flatten()[index].masked_fill(~inside, -1), weight
