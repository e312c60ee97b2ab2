"""Focal loss of classes that have a sigmoid each and no no-object."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from ...models.mask_losses import reduce_loss
from ...registry import MODELS


def class_focal_loss(
    cls_score: Tensor, labels: Tensor, *, alpha: float = 0.25, gamma: float = 2.0
) -> Tensor:
    """Return the focal loss of each query, summed over its classes.

    A class that is the query's has alpha (1 - p)^gamma (-log p), any other one
    (1 - alpha) p^gamma (-log(1 - p)).

    Args:
        cls_score: Class logits, shape (N, K).
        labels: Shape (N,), int64; a label that is no column, such as -1, is that of nothing.
        alpha: See above.
        gamma: See above.

    Returns:
        Shape (N,).
    """
    columns = labels.new_tensor(range(cls_score.shape[-1]))
    is_label = labels[:, None] == columns
    # the logit of what is right
    right = cls_score.where(is_label, -cls_score)
    weight = cls_score.new_full((), 1 - alpha).where(~is_label, alpha)
    return (weight * (-right).sigmoid() ** gamma * functional.softplus(-right)).sum(-1)


@MODELS.register_module()
class ClassFocalLoss(nn.Module):
    """Sigmoid focal loss over all queries and classes (SimCIS; RetinaNet's).

    Args:
        alpha: See :func:`class_focal_loss`.
        gamma: See :func:`class_focal_loss`.
        loss_weight: Factor of the loss; released: 4 for panoptic, 2 for semantic segmentation.
    """

    expects_classes: ClassVar[str] = 'sigmoid'

    def __init__(self, alpha: float = 0.25, gamma: float = 2.0, loss_weight: float = 4.0) -> None:
        super().__init__()
        self.alpha = alpha
        self.gamma = gamma
        self.loss_weight = loss_weight

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: Tensor | float | None = None,
    ) -> Tensor:
        """Return the scalar loss.

        Args:
            pred: Class logits, shape (N, K), float32.
            target: Shape (N,), int64; see :func:`class_focal_loss`.
            weight: Weight of each query, shape (N,).
            avg_factor: What to divide the sum by, the number of targets in SimCIS; N if None.
        """
        loss = class_focal_loss(pred, target, alpha=self.alpha, gamma=self.gamma)
        return self.loss_weight * reduce_loss(loss, weight, avg_factor)
