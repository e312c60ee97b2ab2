"""Focal loss of classes that are told apart by a sigmoid each."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from ...models.class_losses import focal_modulation
from ...models.mask_losses import reduce_loss
from ...registry import MODELS

SCALE = 50.0
"""Factor of the released loss, so that its mean over classes is as large as a sum over 50."""


def sigmoid_focal_class_loss(
    cls_score: Tensor, labels: Tensor, *, alpha: float = 5.0, gamma: float = 1.0
) -> Tensor:
    r"""Return the focal loss of each query, a mean over its classes and no-object.

    .. math::
        \ell = \frac{50}{K + 1} \sum_k \alpha (1 - p_k)^\gamma (-\log p_k)

    with :math:`p_k` the probability that column k says what it should, :math:`\sigma(z_k)` for the
    label and :math:`1 - \sigma(z_k)` for the others.

    Args:
        cls_score: Class logits, shape (N, K + 1), no-object last.
        labels: Shape (N,), int64, in [0, K].
        alpha: Factor; the released configurations use 5.
        gamma: Exponent; the released configurations use 1.

    Returns:
        Shape (N,).
    """
    is_label = functional.one_hot(labels, cls_score.shape[-1]).bool()
    log_prob = functional.logsigmoid(cls_score.where(is_label, -cls_score))
    return SCALE * focal_modulation(log_prob, alpha=alpha, gamma=gamma).mean(-1)


@MODELS.register_module()
class SigmoidFocalClassLoss(nn.Module):
    """Sigmoid focal loss over all queries, unmatched ones as no-object (ECLIPSE).

    The mean runs over columns too, so a query counts less as classes are added.

    Args:
        alpha: See :func:`sigmoid_focal_class_loss`.
        gamma: See :func:`sigmoid_focal_class_loss`.
        loss_weight: Factor of the loss.
    """

    expects_classes: ClassVar[str] = 'sigmoid'

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
        """Return the scalar loss; arguments as in :meth:`.FocalClassLoss.forward`."""
        loss = sigmoid_focal_class_loss(pred, target, alpha=self.alpha, gamma=self.gamma)
        return self.loss_weight * reduce_loss(loss, weight, avg_factor)
