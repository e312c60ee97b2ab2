"""Distillation of the decoder's tokens, for the queries that are trained on past classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from mmdet.utils import reduce_mean
from torch import Tensor, nn

from ...models.matching import Assignment
from ...models.query_output import QueryOutput
from ...models.targets import ImageTargets, to_device
from ...registry import MODELS


def past_queries(
    targets: Sequence[ImageTargets], assigned: Sequence[Assignment]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the queries that are matched with a pseudo-label of a current image.

    Args:
        targets: The targets of each image.
        assigned: For each image the matched queries and targets.

    Returns:
        Image and query of each of the N found, int64, shape (N,), on the host.
    """
    images: list[np.ndarray] = [np.zeros(0, np.int64)]
    found: list[np.ndarray] = [np.zeros(0, np.int64)]
    for image, (target, (queries, chosen)) in enumerate(zip(targets, assigned, strict=True)):
        if target.num_ground_truth is None or target.from_memory:
            continue
        past = queries[chosen >= target.num_ground_truth]
        images.append(np.full(len(past), image))
        found.append(past)
    return np.concatenate(images), np.concatenate(found)


def backtrace_distill_loss(
    student: Tensor, teacher: Tensor, image: Tensor, query: Tensor, num_queries: Tensor | float
) -> Tensor:
    r"""Return the squared difference of the tokens of chosen queries, averaged over them.

    .. math::
        L = \frac{1}{C\, |A|} \sum_{(b, q) \in A} \lVert x_{bq} - \tilde x_{bq} \rVert^2

    (BalConpas, "past-class backtrace distillation").

    Args:
        student: Tokens of the student at one level, (B, Q, C).
        teacher: Those of the teacher, (B, Q, C).
        image: Image of each chosen query, (N,), int64.
        query: Index of each chosen query, (N,), int64.
        num_queries: The ``|A|`` to divide by; not 0.

    Returns:
        A scalar, 0 where N is 0.
    """
    difference = student[image, query] - teacher[image, query]
    return difference.square().sum() / (student.shape[-1] * num_queries)


@MODELS.register_module()
class BacktraceDistillLoss(nn.Module):
    """Hold the tokens of queries that see past classes where the teacher has them (BalConpas).

    The queries are those that the last level matches with a pseudo-label of an image of the step;
    their tokens of every level are compared with those of the teacher's query of the same index.
    ``|A|`` of :func:`backtrace_distill_loss` is averaged over processes: two of them train as
    one does with the images of both.

    Args:
        loss_weight: Factor of the loss of each level.

    Raises:
        ValueError: If the factor is negative.
    """

    needs_teacher: ClassVar[bool] = True
    needs_pseudo_labels: ClassVar[bool] = True
    reads: ClassVar[frozenset[str]] = frozenset({'tokens'})

    def __init__(self, loss_weight: float = 5.0) -> None:
        super().__init__()
        if loss_weight < 0:
            raise ValueError(
                f'BacktraceDistillLoss.loss_weight: expected at least 0, got {loss_weight}'
            )
        self.loss_weight = loss_weight

    def forward(
        self,
        student: QueryOutput,
        teacher: QueryOutput,
        targets: Sequence[ImageTargets],
        assignments: Sequence[Sequence[Assignment]],
    ) -> dict[str, Tensor]:
        """Return ``loss_token`` of the last level, and of the others with prefix ``d0.`` and so on.

        Scalars, computed in float32 at least; see :class:`.ContinualLoss`.

        Raises:
            ValueError: If the tokens do not fit, as with a teacher of another model.
        """
        ours, theirs = student.tokens or (), teacher.tokens or ()
        shapes = [[tuple(token.shape) for token in tokens] for tokens in (ours, theirs)]
        if shapes[0] != shapes[1] or not ours:
            raise ValueError(
                f'expected a teacher with the levels, queries and width of the student, got tokens '
                f'of shapes {shapes[1]} for a student with {shapes[0]}'
            )
        index = past_queries(targets, assignments[-1])
        image, query = (to_device(part, ours[0].device) for part in index)
        # the same collective on every process, also where there is no query
        count = reduce_mean(ours[0].new_tensor(float(len(index[0])), dtype=torch.float32))
        divisor = torch.where(count > 0, count, 1)
        losses = [
            self.loss_weight * backtrace_distill_loss(*pair, image, query, divisor)
            for pair in zip(map(_wide, ours), map(_wide, theirs), strict=True)
        ]
        # last level first, as its name comes first in the log
        named = {'loss_token': losses[-1]}
        return named | {f'd{level}.loss_token': loss for level, loss in enumerate(losses[:-1])}


def _wide(token: Tensor) -> Tensor:
    """Return tokens in float32, or as they are where they have more digits."""
    return token if token.dtype == torch.float64 else token.float()
