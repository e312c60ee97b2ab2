"""Losses that hold the student to what the teacher says of the cells which it selects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, get_args

from torch import Tensor, nn
from torch.nn import functional

from ...models.matching import Assignment
from ...models.query_output import QueryOutput
from ...models.targets import ImageTargets
from ...registry import MODELS
from .output import SimCISOutput

Reference = Literal['teacher', 'own']


def selection_loss(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    r"""Return the divergence of the student's classes from the teacher's, summed over queries.

    .. math::
        L = \frac{1}{B} \sum_{b, q} KL(softmax(\tilde a_{bq} / T) || softmax(a_{bq} / T))

    Args:
        student: Class logits, (B, Q, K), of which those of the teacher's classes come first.
        teacher: Class logits, (B, Q, K_t-1).
        temperature: T, by which logits are divided; there is no factor T^2.

    Returns:
        A scalar.
    """
    shared = teacher.shape[-1]
    expected, found = (
        (logits / temperature).log_softmax(-1) for logits in (teacher, student[..., :shared])
    )
    loss = functional.kl_div(found, expected, reduction='sum', log_target=True)
    return loss / student.shape[0]


class _TeacherLoss(nn.Module):
    """Base of the losses below.

    Raises:
        ValueError: If the temperature is not positive.
    """

    needs_teacher: ClassVar[bool] = True
    reads: ClassVar[frozenset[str]] = frozenset()
    expects_classes: ClassVar[str] = 'sigmoid'

    def __init__(self, temperature: float = 1.0, loss_weight: float = 2.0) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(
                f'{type(self).__name__}.temperature: expected above 0, got {temperature}'
            )
        self.temperature = temperature
        self.loss_weight = loss_weight

    def _loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        return self.loss_weight * selection_loss(student.float(), teacher.float(), self.temperature)


def _checked(output: QueryOutput | None, name: str) -> SimCISOutput:
    if not isinstance(output, SimCISOutput):
        raise TypeError(
            f'{name}: expected what a SimCISHead returns, got a {type(output).__name__}; remove '
            f'the loss from model.extra_losses, or use that head'
        )
    return output


@MODELS.register_module()
class ConsistentSelectionLoss(_TeacherLoss):
    """Hold the student's classes at the cells that the teacher selects (SimCIS).

    Args:
        temperature: See :func:`selection_loss`.
        loss_weight: Factor of the loss.
    """

    def forward(
        self,
        student: QueryOutput,
        teacher: QueryOutput | None,
        targets: Sequence[ImageTargets],
        assignments: Sequence[Sequence[Assignment]],
    ) -> dict[str, Tensor]:
        """Return ``loss_select``; see :class:`.ContinualLoss`."""
        name = type(self).__name__
        ours, theirs = _checked(student, name), _checked(teacher, name)
        assert ours.scores_at_teacher is not None
        assert theirs.selected_scores is not None
        return {'loss_select': self._loss(ours.scores_at_teacher, theirs.selected_scores)}


@MODELS.register_module()
class DecoderDistillLoss(_TeacherLoss):
    """Hold the last level of a second run, whose queries come from the teacher's cells (SimCIS).

    Args:
        temperature: See :func:`selection_loss`.
        loss_weight: Factor of the loss.
        boxes: Where the boxes come from that the run starts from: ``teacher``, the student's boxes
            at the teacher's cells, or ``own``, those at its own cells, as released.

    Raises:
        ValueError: If the temperature is not positive, or there are no such boxes.
    """

    def __init__(
        self, temperature: float = 1.0, loss_weight: float = 2.0, boxes: Reference = 'teacher'
    ) -> None:
        super().__init__(temperature, loss_weight)
        if boxes not in get_args(Reference):
            raise ValueError(
                f'DecoderDistillLoss.boxes: expected one of {list(get_args(Reference))}, got '
                f'{boxes!r}'
            )
        self.boxes = boxes

    def forward(
        self,
        student: QueryOutput,
        teacher: QueryOutput | None,
        targets: Sequence[ImageTargets],
        assignments: Sequence[Sequence[Assignment]],
    ) -> dict[str, Tensor]:
        """Return ``loss_distill``; see :class:`.ContinualLoss`."""
        name = type(self).__name__
        ours, theirs = _checked(student, name), _checked(teacher, name)
        assert ours.decode_at_teacher is not None
        return {'loss_distill': self._loss(ours.decode_at_teacher(self.boxes), theirs.cls_score)}
