"""Which query is trained on which target: matching costs and the Hungarian assignment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional

from ..registry import TASK_UTILS
from .class_activation import SOFTMAX, ClassActivation
from .point_sampling import random_points, sample_shared
from .targets import ImageTargets

Assignment = tuple[np.ndarray, np.ndarray]
Boxes = tuple[Sequence[Tensor], Sequence[Tensor]]
"""Boxes of the queries, level by level, and of the targets, image by image."""


class MatchCost(Protocol):
    """Cost of giving each target to each query."""

    #: which dice map of the mask activation it samples: probability or logit
    expects: str

    def __call__(self, class_prob: Tensor, mask_samples: Tensor, target_samples: Tensor) -> Tensor:
        """Return the cost matrix.

        One with a true ``reads_boxes`` also gets the queries' and the targets' boxes, (..., Q, 4)
        and (..., N, 4): centre x, centre y, width and height in [0, 1].

        Args:
            class_prob: Probability of each target's class, shape (..., Q, N).
            mask_samples: The queries' dice maps (see ``MaskActivation.loss_maps``) at P points,
                shape (..., Q, P).
            target_samples: The targets at the same points, in [0, 1], shape (..., N, P).

        Returns:
            Shape (..., Q, N); smaller is better.
        """


@TASK_UTILS.register_module()
class HarmonicMatchCost:
    """Negative harmonic mean of class probability and dice coefficient (released CoMFormer)."""

    expects = 'probability'

    def __call__(self, class_prob: Tensor, mask_samples: Tensor, target_samples: Tensor) -> Tensor:
        """Return the cost; ``mask_samples`` are probabilities. See :class:`MatchCost`."""
        dice = dice_coefficients(mask_samples, target_samples)
        return -2 * class_prob * dice / (class_prob + dice)


@TASK_UTILS.register_module()
class WeightedMatchCost:
    """Weighted sum of class, cross-entropy and dice costs (Mask2Former, section 3.1).

    Args:
        cls_weight: Weight of minus the class probability.
        mask_weight: Weight of the binary cross-entropy, averaged over points.
        dice_weight: Weight of one minus the dice coefficient.
    """

    expects = 'logit'

    def __init__(
        self, cls_weight: float = 2.0, mask_weight: float = 5.0, dice_weight: float = 5.0
    ) -> None:
        self.cls_weight = cls_weight
        self.mask_weight = mask_weight
        self.dice_weight = dice_weight

    def __call__(self, class_prob: Tensor, mask_samples: Tensor, target_samples: Tensor) -> Tensor:
        """Return the cost; ``mask_samples`` are logits. See :class:`MatchCost`."""
        targets = target_samples.transpose(-1, -2)
        cross_entropy = functional.softplus(-mask_samples) @ targets
        cross_entropy = cross_entropy + functional.softplus(mask_samples) @ (1 - targets)
        dice = dice_coefficients(mask_samples.sigmoid(), target_samples)
        return (
            -self.cls_weight * class_prob
            + self.mask_weight * cross_entropy / mask_samples.shape[-1]
            + self.dice_weight * (1 - dice)
        )


def dice_coefficients(prob: Tensor, target: Tensor) -> Tensor:
    """Return (2 sum(m g) + 1) / (sum m + sum g + 1) for every pair.

    Args:
        prob: Mask probabilities, shape (..., Q, P).
        target: Shape (..., N, P), in [0, 1].

    Returns:
        Shape (..., Q, N).
    """
    overlap = prob @ target.transpose(-1, -2)
    return (2 * overlap + 1) / (prob.sum(-1).unsqueeze(-1) + target.sum(-1).unsqueeze(-2) + 1)


@torch.no_grad()
def match(
    cls_scores: Sequence[Tensor],
    dice_maps: Sequence[Tensor],
    targets: Sequence[ImageTargets],
    *,
    cost: MatchCost,
    num_points: int,
    class_activation: ClassActivation = SOFTMAX,
    boxes: Boxes | None = None,
) -> tuple[list[list[Assignment]], int]:
    """Assign targets to queries at every level and for every image.

    All costs are computed before the one transfer to the host; the assignments are solved there.

    Args:
        cls_scores: Class logits of each of L levels, shape (B, Q, K + 1), float32.
        dice_maps: Maps to sample, of each level, shape (B, Q, h, w), float32.
        targets: The targets of each image.
        cost: See :class:`MatchCost`.
        num_points: Points P for each level and image, the same for all masks there.
        class_activation: Turns class logits into the probabilities that the cost gets.
        boxes: The queries' boxes of each level, (B, Q, 4), and the targets' of each image, (N, 4),
            for a cost that reads them.

    Returns:
        For each level and image the matched queries and targets (two int64 arrays of equal
        length, queries ascending), and the number of targets of the batch.

    Raises:
        ValueError: If a target's class has not been learned by the current step.
    """
    num_levels, num_images = len(cls_scores), len(targets)
    probs = [class_activation.probability(score) for score in cls_scores]
    points = random_points(num_levels * num_images, num_points, like=cls_scores[0])
    points = points.view(num_levels, num_images, num_points, 2)
    # autocast would take the products of the costs in float16, where sums over points overflow
    with torch.autocast(points.device.type, enabled=False):
        costs = _costs(probs, dice_maps, targets, points, cost, boxes)
    known = [part.float() for target in targets for part in (target.valid, target.labels)]
    on_device = [part.flatten() for part in (*costs, *known)]
    lengths = [part.numel() for part in on_device]
    parts = np.split(torch.cat(on_device).cpu().numpy(), np.cumsum(lengths)[:-1])
    # for each image its matrices, and what is known of its targets
    matrices = [parts[image : len(costs) : num_images] for image in range(num_images)]
    shape = (num_levels, cls_scores[0].shape[1])
    return _assign(matrices, parts[len(costs) :: 2], parts[len(costs) + 1 :: 2], shape)


def _costs(
    probs: Sequence[Tensor],
    dice_maps: Sequence[Tensor],
    targets: Sequence[ImageTargets],
    points: Tensor,
    cost: MatchCost,
    boxes: Boxes | None = None,
) -> list[Tensor]:
    """Return the costs of each level and, within it, of each image, (Q, N); points (L, B, P, 2)."""
    num_levels, _, num_points = points.shape[:3]
    # (N, L * P) -> (N, L, P) of each image: few large calls, where the maps do not change by level
    of_targets = [
        target.sample_shared(points[:, image].flatten(0, 1)).unflatten(1, (num_levels, num_points))
        for image, target in enumerate(targets)
    ]
    costs = []
    for level, (prob, maps) in enumerate(zip(probs, dice_maps, strict=True)):
        # (B, Q, h, w) -> (B, Q, P)
        samples = sample_shared(maps, points[level])
        for image, target in enumerate(targets):
            class_prob = prob[image][:, target.labels.clamp(min=0)]
            known = [class_prob, samples[image], of_targets[image][:, level]]
            if boxes is not None and getattr(cost, 'reads_boxes', False):
                known += [boxes[0][level][image], boxes[1][image]]
            costs.append(cost(*known))
    return costs


def _assign(
    matrices: Sequence[Sequence[np.ndarray]],
    valid_targets: Sequence[np.ndarray],
    target_labels: Sequence[np.ndarray],
    shape: tuple[int, int],
) -> tuple[list[list[Assignment]], int]:
    """Solve the assignments of each image, whose costs come in groups of levels, flat.

    ``shape`` is the number of levels and that of queries.
    """
    assignments: list[list[Assignment]] = [[] for _ in range(shape[0])]
    num_targets = 0
    for groups, valid, labels in zip(matrices, valid_targets, target_labels, strict=True):
        if (labels < 0).any():
            raise ValueError(
                'a training segment has a class that the current step has not learned; train on '
                'an IncrementalDataset with the scenario of the model'
            )
        columns = np.flatnonzero(valid)
        num_targets += len(columns)
        # a diverged network must end in the report of its losses, not in the solver's error
        costs = np.nan_to_num(np.concatenate(groups), nan=1e4)
        for of_level, matrix in zip(assignments, costs.reshape(*shape, len(valid)), strict=True):
            rows, picked = linear_sum_assignment(matrix[:, columns])
            of_level.append((rows, columns[picked]))
    return assignments, num_targets
