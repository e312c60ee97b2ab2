"""Classification in which "no object" may be an old class, whose label the step does not show."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ...models.class_losses import FocalClassLoss, WeightedClassLoss, focal_modulation
from ...models.mask_losses import reduce_loss
from ...registry import MODELS
from ...scenario import Scenario


def unbiased_class_log_prob(cls_score: Tensor, num_old: int) -> Tensor:
    """Return log-probabilities in which no-object also has the probability of the old classes.

    A query without a target is one of either: the step hides the labels of old classes (MiB,
    "Revisiting cross-entropy loss"). The other classes keep their softmax probability, so that
    those of a query add up to more than 1.

    Args:
        cls_score: Class logits, (..., K + 1): old, new, no-object.
        num_old: Number of old classes.

    Returns:
        Shape (..., K + 1).

    Example:
        >>> prob = torch.tensor([0.1, 0.2, 0.3, 0.4])
        >>> unbiased_class_log_prob(prob.log(), num_old=2).exp()
        tensor([0.1000, 0.2000, 0.3000, 0.7000])
    """
    log_prob = cls_score.log_softmax(-1)
    old_or_none = torch.cat([log_prob[..., :num_old], log_prob[..., -1:]], -1)
    return torch.cat([log_prob[..., :-1], old_or_none.logsumexp(-1, keepdim=True)], -1)


def unbiased_cross_entropy(cls_score: Tensor, labels: Tensor, *, num_old: int) -> Tensor:
    """Return the cross-entropy of :func:`unbiased_class_log_prob`.

    Args:
        cls_score: Class logits, (N, K + 1): old, new, no-object.
        labels: Shape (N,), int64, in [0, K].
        num_old: Number of old classes.

    Returns:
        Shape (N,), at least 0.
    """
    log_prob = unbiased_class_log_prob(cls_score, num_old)
    # a sum of probabilities may exceed 1 by rounding
    return -log_prob.gather(-1, labels.unsqueeze(-1)).squeeze(-1).clamp(max=0)


@MODELS.register_module()
class UnbiasedClassLoss(nn.Module):
    r"""Focal or plain loss of the unbiased class probabilities, over all queries.

    .. math::
        L = \frac{\sum_i w_i\, \alpha (1 - p_i)^\gamma (-\log p_i)}{\sum_i w_i}

    with p_i from :func:`unbiased_class_log_prob` and w_i the no-object weight for queries whose
    target is no-object, 1 for the others. The defaults are the released program's MiB;
    ``alpha=1, gamma=0, no_object_weight=0.1`` is its form with Mask2Former's cross-entropy. At
    step 0 there are no old classes, and the loss is ``FocalClassLoss`` or ``WeightedClassLoss``.

    Args:
        scenario: The scenario with its current step, as a config dict; it says which classes are
            old.
        alpha: Factor.
        gamma: Focal exponent; 0 for the plain cross-entropy.
        no_object_weight: See above.
        loss_weight: Factor of the loss.
    """

    expects_classes: ClassVar[str] = 'softmax'

    def __init__(
        self,
        scenario: dict[str, Any] | Scenario,
        alpha: float = 5.0,
        gamma: float = 1.0,
        no_object_weight: float = 1.0,
        loss_weight: float = 2.0,
    ) -> None:
        super().__init__()
        scenario = Scenario.from_config(scenario)
        self.num_old, self.num_seen = scenario.num_old, scenario.num_seen
        self.alpha = alpha
        self.gamma = gamma
        self.no_object_weight = no_object_weight
        self.loss_weight = loss_weight

    def at_first_step(self) -> nn.Module:
        """Return the loss that this one is as long as there are no old classes."""
        if self.gamma == 0 and self.alpha == 1:
            return WeightedClassLoss(self.no_object_weight, self.loss_weight)
        if self.no_object_weight == 1:
            return FocalClassLoss(self.alpha, self.gamma, self.loss_weight)
        return self

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: Tensor | float | None = None,
    ) -> Tensor:
        """Return the scalar loss.

        Args:
            pred: Class logits in learning order, shape (N, K + 1), float32.
            target: Shape (N,), int64; K is no-object.
            weight: Weight of each query, shape (N,).
            avg_factor: What to divide the sum by; the sum of all weights if None.

        Raises:
            ValueError: If there are not the scenario's classes, as at another step.
        """
        if pred.shape[-1] != self.num_seen + 1:
            raise ValueError(
                f'UnbiasedClassLoss: expected logits of {self.num_seen} classes and no-object, as '
                f'its scenario says, got {pred.shape[-1]} values; give the loss and the head the '
                f'same scenario'
            )
        log_prob = -unbiased_cross_entropy(pred, target, num_old=self.num_old)
        loss = focal_modulation(log_prob, alpha=self.alpha, gamma=self.gamma)
        balance = torch.ones_like(loss).masked_fill(target == self.num_seen, self.no_object_weight)
        weight = balance if weight is None else balance * weight
        total = weight.sum() if avg_factor is None else avg_factor
        return self.loss_weight * reduce_loss(loss, weight, total)
