"""Classification losses of queries: pure functions, and a registered class for each."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from ..registry import MODELS
from .mask_losses import reduce_loss


def focal_modulation(log_prob: Tensor, *, alpha: float, gamma: float) -> Tensor:
    """Return alpha (1 - p)^gamma (-log p) elementwise.

    Args:
        log_prob: Log-probability of the right class, at most 0.
        alpha: Factor.
        gamma: Exponent.
    """
    # 1 - p as -expm1(log p): a difference would lose all digits where p is near 1
    return -alpha * (-log_prob.expm1()).pow(gamma) * log_prob


def focal_class_loss(
    cls_score: Tensor, labels: Tensor, *, alpha: float = 5.0, gamma: float = 1.0
) -> Tensor:
    """Return alpha (1 - p)^gamma (-log p), p the softmax probability of the label.

    Args:
        cls_score: Class logits, shape (N, K + 1), no-object last.
        labels: Shape (N,), int64, in [0, K].
        alpha: Factor; the released configurations use 5.
        gamma: Exponent; the released configurations use 1.

    Returns:
        Shape (N,).
    """
    log_prob = cls_score.log_softmax(-1).gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    return focal_modulation(log_prob, alpha=alpha, gamma=gamma)


@MODELS.register_module()
class FocalClassLoss(nn.Module):
    """Softmax focal loss over all queries, unmatched ones as no-object (CoMFormer, section 3.2).

    Args:
        alpha: See :func:`focal_class_loss`.
        gamma: See :func:`focal_class_loss`.
        loss_weight: Factor of the loss.
    """

    expects_classes: ClassVar[str] = 'softmax'

    def __init__(self, alpha: float = 5.0, gamma: float = 1.0, loss_weight: float = 2.0) -> None:
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
            pred: Class logits, shape (N, K + 1), float32.
            target: Shape (N,), int64; K is no-object.
            weight: Weight of each query, shape (N,).
            avg_factor: What to divide the sum by; N if None.
        """
        loss = focal_class_loss(pred, target, alpha=self.alpha, gamma=self.gamma)
        return self.loss_weight * reduce_loss(loss, weight, avg_factor)


@MODELS.register_module()
class WeightedClassLoss(nn.Module):
    """Cross-entropy in which no-object counts less (Mask2Former's classification loss).

    The weighted mean is divided by the sum of the weights.

    Args:
        no_object_weight: Weight of queries whose target is no-object; the others have weight 1.
        loss_weight: Factor of the loss.
    """

    expects_classes: ClassVar[str] = 'softmax'

    def __init__(self, no_object_weight: float = 0.1, loss_weight: float = 2.0) -> None:
        super().__init__()
        self.no_object_weight = no_object_weight
        self.loss_weight = loss_weight

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: Tensor | float | None = None,
    ) -> Tensor:
        """Return the scalar loss; arguments as in :meth:`FocalClassLoss.forward`."""
        no_object = pred.shape[-1] - 1
        balance = pred.new_ones(target.shape).masked_fill(
            target == no_object, self.no_object_weight
        )
        weight = balance if weight is None else balance * weight
        loss = -pred.log_softmax(-1).gather(-1, target.unsqueeze(-1)).squeeze(-1)
        return self.loss_weight * reduce_loss(
            loss, weight, weight.sum() if avg_factor is None else avg_factor
        )
