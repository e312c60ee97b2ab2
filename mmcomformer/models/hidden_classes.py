"""Probabilities of classes where labels of old ones are hidden, or a teacher knows no new ones.

In each, "no-object" is the last column: what no target says, or the background of a pixel.
"""

from __future__ import annotations

import torch
from torch import Tensor


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


def unbiased_log_prob(cls_score: Tensor, num_old: int) -> Tensor:
    """Return the student's log-distribution over old classes and "not an old class".

    The probability of new classes is added to that of no-object: to the teacher, which does not
    know them, they are no-object (CoMFormer, section 3.3; MiB, eq. 8).

    Args:
        cls_score: Class logits of the student, (..., K + 1): old, new, no-object.
        num_old: Number of old classes.

    Returns:
        Shape (..., num_old + 1).
    """
    log_prob = cls_score.log_softmax(-1)
    other = log_prob[..., num_old:].logsumexp(-1, keepdim=True)
    return torch.cat([log_prob[..., :num_old], other], -1)


def restricted_log_prob(cls_score: Tensor, num_old: int) -> Tensor:
    """Return the student's log-distribution with the new classes left out.

    Args:
        cls_score: Class logits of the student, (..., K + 1): old, new, no-object.
        num_old: Number of old classes.

    Returns:
        Shape (..., num_old + 1), renormalised over old classes and no-object.
    """
    return torch.cat([cls_score[..., :num_old], cls_score[..., -1:]], -1).log_softmax(-1)
