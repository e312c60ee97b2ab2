"""Mask and dice losses on sampled points: pure functions, and a registered class for each."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from ..registry import MODELS


def softmax_mask_loss(log_prob: Tensor, target: Tensor) -> Tensor:
    """Return -g log m, averaged over points: the positive term only (CoMFormer, section 3.2).

    Args:
        log_prob: Log-probabilities of matched queries, shape (M, P).
        target: Shape (M, P), in [0, 1].

    Returns:
        Shape (M,).
    """
    return -(target * log_prob).mean(-1)


def sigmoid_mask_loss(logit: Tensor, target: Tensor) -> Tensor:
    """Return the binary cross-entropy, averaged over points.

    Args:
        logit: Shape (M, P).
        target: Shape (M, P), in [0, 1].

    Returns:
        Shape (M,).
    """
    loss = functional.binary_cross_entropy_with_logits(logit, target, reduction='none')
    return loss.mean(-1)


def dice_loss(prob: Tensor, target: Tensor) -> Tensor:
    """Return 1 - (2 sum(m g) + 1) / (sum m + sum g + 1).

    Args:
        prob: Probabilities of matched queries, shape (M, P).
        target: Shape (M, P), in [0, 1].

    Returns:
        Shape (M,).
    """
    overlap = (prob * target).sum(-1)
    return 1 - (2 * overlap + 1) / (prob.sum(-1) + target.sum(-1) + 1)


def reduce_loss(loss: Tensor, weight: Tensor | None, avg_factor: Tensor | float | None) -> Tensor:
    """Return the weighted sum of a loss over ``avg_factor``, or its mean where that is None.

    Unlike mmdet's, it adds no epsilon to ``avg_factor``: the caller guards against zero.
    """
    if weight is not None:
        loss = loss * weight
    return loss.mean() if avg_factor is None else loss.sum() / avg_factor


class _MaskLoss(nn.Module):
    """Base of the losses below.

    Args:
        loss_weight: Factor of the loss.
    """

    #: which map of the mask activation it samples: log_probability, probability or logit
    expects: str

    def __init__(self, loss_weight: float = 5.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def per_mask(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each mask, shape (M,)."""
        raise TypeError(f'{type(self).__name__} is a base class; build one of its subclasses')

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: Tensor | float | None = None,
    ) -> Tensor:
        """Return the scalar loss.

        Args:
            pred: What :attr:`expects` says, at P points of M masks, shape (M, P).
            target: Shape (M, P), in [0, 1].
            weight: Weight of each mask, shape (M,).
            avg_factor: What to divide the sum over masks by; their number if None.
        """
        loss = self.per_mask(pred, target)
        return self.loss_weight * reduce_loss(loss, weight, avg_factor)


@MODELS.register_module()
class SoftmaxMaskLoss(_MaskLoss):
    """See :func:`softmax_mask_loss`."""

    expects = 'log_probability'

    def per_mask(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each mask, shape (M,)."""
        return softmax_mask_loss(pred, target)


@MODELS.register_module()
class SoftmaxDiceLoss(_MaskLoss):
    """See :func:`dice_loss`; the prediction is a probability already."""

    expects = 'probability'

    def per_mask(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each mask, shape (M,)."""
        return dice_loss(pred, target)


@MODELS.register_module()
class SigmoidMaskLoss(_MaskLoss):
    """See :func:`sigmoid_mask_loss`."""

    expects = 'logit'

    def per_mask(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each mask, shape (M,)."""
        return sigmoid_mask_loss(pred, target)


@MODELS.register_module()
class SigmoidDiceLoss(_MaskLoss):
    """See :func:`dice_loss`, on the sigmoid of the prediction."""

    expects = 'logit'

    def per_mask(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each mask, shape (M,)."""
        return dice_loss(pred.sigmoid(), target)
