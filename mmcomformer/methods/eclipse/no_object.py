"""Inference: what a group of queries says of no-object follows from what it says of classes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

DELTA_RANGE = (0.001, 0.999)
"""What the new probability of no-object is clipped to."""
OTHER_CLASS = -10.0
"""Logit of a class that is not one of the group's."""

Deltas = float | Sequence[float] | None


def parse_deltas(deltas: Deltas, num_steps: int, key: str) -> tuple[float, ...]:
    """Return a delta for each step of a scenario.

    Args:
        deltas: A number for all steps; a list, whose last number also holds for the steps after it;
            None for 0.
        num_steps: Steps of the scenario.
        key: Its key in the config.

    Raises:
        TypeError: If it is no number or list of numbers.
        ValueError: If a number is not finite, or the list is empty or longer than the steps.

    Example:
        >>> parse_deltas([0.4, 0.6], 4, 'deltas')
        (0.4, 0.6, 0.6, 0.6)
    """
    if deltas is None:
        return (0.0,) * num_steps
    values: list[Any] = list(deltas) if isinstance(deltas, (list, tuple)) else [deltas]
    if any(isinstance(value, bool) or not isinstance(value, (int, float)) for value in values):
        raise TypeError(f'{key}: expected a number, a list of numbers or None, got {deltas!r}')
    if not values or not all(map(math.isfinite, values)):
        raise ValueError(f'{key}: expected finite numbers, at least one, got {deltas!r}')
    if len(values) > num_steps:
        raise ValueError(
            f'{key}: expected at most one number for each of the {num_steps} steps, got '
            f'{len(values)}: {deltas!r}'
        )
    return (*map(float, values), *[float(values[-1])] * (num_steps - len(values)))


def manipulate_no_object(
    cls_score: Tensor,
    num_queries: Sequence[int],
    increments: Sequence[int],
    deltas: Sequence[float],
) -> Tensor:
    r"""Replace the logit of no-object of each group of queries (ECLIPSE).

    Group n keeps the logits of the classes of step n; those of other steps become -10. Its
    no-object becomes, with :math:`\sigma` of all logits as they were,

    - :math:`\delta_n > 0`: the logit of :math:`\delta_n \min(1, \sum_{c \notin C_n} \sigma(z_c))`:
      there is no object of mine where another class is seen; what was trained is not used;
    - :math:`\delta_n < 0`: the logit of :math:`|\delta_n| \sigma(z_\varnothing)`;
    - :math:`\delta_n = 0`: what it was.

    Args:
        cls_score: Class logits in learning order, (..., Q, K + 1), no-object last.
        num_queries: Queries of each group, in order.
        increments: Classes of each group, in order.
        deltas: Of each group.

    Returns:
        Shape of the logits.
    """
    result, prob = torch.full_like(cls_score, OTHER_CLASS), cls_score.sigmoid()
    first_query = first_class = 0
    for queries, classes, delta in zip(num_queries, increments, deltas, strict=True):
        group = (..., slice(first_query, first_query + queries))
        own = slice(first_class, first_class + classes)
        result[(*group, own)] = cls_score[(*group, own)]
        result[(*group, -1)] = cls_score[(*group, -1)]
        if delta > 0:
            # summed as they are: subtracting from the sum of all would lose digits
            others = prob[(*group, slice(own.start))].sum(-1)
            others = others + prob[(*group, slice(own.stop, -1))].sum(-1)
            result[(*group, -1)] = (delta * others.clamp(max=1)).clamp(*DELTA_RANGE).logit()
        elif delta < 0:
            result[(*group, -1)] = (-delta * prob[(*group, -1)]).clamp(*DELTA_RANGE).logit()
        first_query, first_class = first_query + queries, own.stop
    return result
