"""Losses of the class logits of pixels: cross-entropy and distillation, plain or unbiased (MiB)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ...models.hidden_classes import (
    restricted_log_prob,
    unbiased_cross_entropy,
    unbiased_log_prob,
)
from ...models.query_output import QueryOutput
from ...registry import MODELS
from ...scenario import Scenario
from .pixel_scores import PixelOutput
from .pixel_targets import IGNORED


@MODELS.register_module()
class PixelClassLoss(nn.Module):
    r"""Cross-entropy, averaged over the pixels that are not ignored.

    Unbiased, a background pixel is background or of an old class (MiB, "Revisiting cross-entropy
    loss"):

    .. math::
        p'(0) = p(0) + \sum_{k\ old} p(k)

    and a pixel that is labelled as an old class counts as background. At step 0 there are no old
    classes.

    Args:
        scenario: The scenario with its current step, as a config dict; it says which classes are
            old.
        unbiased: See above.
        loss_weight: Factor of the loss.
    """

    expects_classes: ClassVar[str] = 'softmax'

    def __init__(
        self,
        scenario: dict[str, Any] | Scenario,
        unbiased: bool = False,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        scenario = Scenario.from_config(scenario)
        self.num_old = scenario.num_old if unbiased else 0
        self.loss_weight = loss_weight

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the scalar loss, 0 where every pixel is ignored.

        Args:
            pred: Class logits in learning order, (N, K + 1), background last.
            target: Shape (N,), int64: K is background, and -1 ignored.
        """
        known = target != IGNORED
        target = torch.where(target < self.num_old, pred.shape[-1] - 1, target)
        loss = unbiased_cross_entropy(pred, target, num_old=self.num_old)
        return self.loss_weight * (loss * known).sum() / known.sum().clamp(min=1)


@MODELS.register_module()
class PixelDistillLoss(nn.Module):
    r"""Distil the teacher's class predictions, pixel by pixel, of the last level (MiB, eq. 8).

    .. math::
        L = \frac{1}{N} \sum_i - \sum_k p^o_i(k) \log u_i(k)

    with k over the old classes and background, and the sum over all N pixels, also those that the
    class loss ignores. For the student u, a pixel of a new class is background.

    Args:
        unbiased: Add the student's new classes to its background, rather than leave them out.
        temperature: Divides the teacher's scores.
        loss_weight: Factor of the loss.

    Raises:
        ValueError: If the temperature is not positive.
    """

    needs_teacher: ClassVar[bool] = True
    reads: ClassVar[frozenset[str]] = frozenset()
    expects_classes: ClassVar[str] = 'softmax'

    def __init__(
        self,
        unbiased: bool = True,
        temperature: float = 1.0,
        loss_weight: float = 200.0,
    ) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f'PixelDistillLoss.temperature: expected above 0, got {temperature}')
        self.log_prob = unbiased_log_prob if unbiased else restricted_log_prob
        self.temperature = temperature
        self.loss_weight = loss_weight

    def forward(self, student: QueryOutput, teacher: QueryOutput, *_: Any) -> dict[str, Tensor]:
        """Return ``loss_distill``, a scalar; see :class:`.ContinualLoss`.

        Raises:
            TypeError: If the head makes no predictions of pixels.
        """
        if not (isinstance(student, PixelOutput) and isinstance(teacher, PixelOutput)):
            raise TypeError(
                'PixelDistillLoss: expected the head to be a PerPixelHead; use '
                'AdaptiveDistillLoss with one that predicts segments'
            )
        ours, theirs = student.scores(), teacher.scores()
        loss = pixel_distill_loss(
            self.log_prob(ours, theirs.shape[-1] - 1), theirs / self.temperature
        )
        return {'loss_distill': self.loss_weight * loss}


def pixel_distill_loss(student_log_prob: Tensor, teacher_score: Tensor) -> Tensor:
    """Return the mean over pixels of the cross-entropy of the student to the teacher.

    Args:
        student_log_prob: Shape (..., K_old + 1), see :func:`.unbiased_log_prob`.
        teacher_score: Class logits of the teacher, (..., K_old + 1), background last.
    """
    return -(teacher_score.softmax(-1) * student_log_prob).sum(-1).mean()
