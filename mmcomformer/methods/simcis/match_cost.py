"""Matching by class, mask and box."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from ...models.matching import WeightedMatchCost
from ...registry import TASK_UTILS
from .boxes import generalized_iou

_EPSILON = 1e-8


def focal_cost(class_prob: Tensor) -> Tensor:
    """Return what a class being right costs more than its being wrong, of the shape given.

    With alpha 0.25 and gamma 2, and 1e-8 inside both logarithms as released.

    Args:
        class_prob: Probabilities in [0, 1].
    """
    right = 0.25 * (1 - class_prob) ** 2 * -(class_prob + _EPSILON).log()
    wrong = 0.75 * class_prob**2 * -(1 - class_prob + _EPSILON).log()
    return right - wrong


@TASK_UTILS.register_module()
class BoxMatchCost(WeightedMatchCost):
    """Weighted sum of class, mask and box costs (SimCIS).

    Args:
        cls_weight: Weight of :func:`focal_cost`; that of the class loss.
        mask_weight: Weight of the binary cross-entropy, averaged over points.
        dice_weight: Weight of one minus the dice coefficient.
        box_weight: Weight of the sum of the differences of centre, width and height.
        giou_weight: Weight of minus :func:`.generalized_iou`.
    """

    reads_boxes: ClassVar[bool] = True

    def __init__(
        self,
        cls_weight: float = 4.0,
        mask_weight: float = 5.0,
        dice_weight: float = 5.0,
        box_weight: float = 5.0,
        giou_weight: float = 2.0,
    ) -> None:
        super().__init__(cls_weight, mask_weight, dice_weight)
        self.box_weight = box_weight
        self.giou_weight = giou_weight

    def __call__(
        self,
        class_prob: Tensor,
        mask_samples: Tensor,
        target_samples: Tensor,
        boxes: Tensor | None = None,
        target_boxes: Tensor | None = None,
    ) -> Tensor:
        """Return the cost; see :class:`.MatchCost`.

        Raises:
            TypeError: If there are no boxes.
        """
        if boxes is None or target_boxes is None:
            raise TypeError('BoxMatchCost: this head predicts no boxes; use WeightedMatchCost')
        # what the weighted cost takes for a probability counts as minus the cost
        cost = super().__call__(-focal_cost(class_prob), mask_samples, target_samples)
        pairs = boxes.unsqueeze(-2), target_boxes.unsqueeze(-3)
        distance = (pairs[0] - pairs[1]).abs().sum(-1)
        return cost + self.box_weight * distance - self.giou_weight * generalized_iou(*pairs)
