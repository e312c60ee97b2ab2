"""Adaptive distillation of class predictions."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ...models.hidden_classes import restricted_log_prob, unbiased_log_prob
from ...models.query_output import QueryOutput
from ...registry import MODELS


def adaptive_distill_loss(
    student_log_prob: Tensor,
    teacher_score: Tensor,
    *,
    gamma: float | None = 2.0,
    temperature: float = 1.0,
) -> Tensor:
    r"""Return the distillation loss, weighted by how sure the teacher is of an object.

    .. math::
        L = \frac{\sum_{b,i} w_{bi} KL_{bi}}{\sum_{b,i} w_{bi}}, \quad
        KL_{bi} = \sum_k p^o_{bi}(k) (\log p^o_{bi}(k) - \log u_{bi}(k)), \quad
        w_{bi} = (1 - p^o_{bi}(0))^\gamma

    with k over the old classes and no-object (0); CoMFormer, section 3.3. The sums run over the
    local batch.

    Note:
        Where every weight is 0 the released program divides 0 by 0; here the loss is 0 then. Nor
        do weights round to 0 here where the teacher is almost sure of no-object. Its "temperature"
        multiplies the teacher's logits; this one divides them.

    Args:
        student_log_prob: Shape (..., K_old + 1), from :func:`.unbiased_log_prob` or
            :func:`.restricted_log_prob`.
        teacher_score: Class logits of the teacher, (..., K_old + 1), no-object last.
        gamma: Exponent of the weights; None weighs all queries alike (a plain mean).
        temperature: Divides the teacher's logits.

    Returns:
        A scalar.
    """
    teacher_log_prob = (teacher_score / temperature).log_softmax(-1)
    divergence = (teacher_log_prob.exp() * (teacher_log_prob - student_log_prob)).sum(-1)
    if gamma is None:
        return divergence.mean()
    # 1 - p(0) as a sum: a difference loses all digits where the teacher is sure of no-object
    weight = teacher_log_prob[..., :-1].exp().sum(-1).pow(gamma)
    total = weight.sum()
    return (weight * divergence).sum() / torch.where(total > 0, total, torch.ones_like(total))


@MODELS.register_module()
class AdaptiveDistillLoss(nn.Module):
    """Distil the teacher's class predictions, query by query (CoMFormer, section 3.3).

    It compares the last levels. The classes have to be a distribution, as a softmax makes them.

    Args:
        unbiased: Add the student's new classes to its no-object, rather than leave them out.
        adaptive: Weigh queries by how sure the teacher is of an object, rather than alike.
        gamma: Exponent of the weights; used when ``adaptive``.
        temperature: Divides the teacher's logits.
        loss_weight: Factor of the loss.

    Raises:
        ValueError: If the temperature is not positive or gamma is negative.
    """

    needs_teacher: ClassVar[bool] = True
    reads: ClassVar[frozenset[str]] = frozenset()
    expects_classes: ClassVar[str] = 'softmax'

    def __init__(
        self,
        unbiased: bool = True,
        adaptive: bool = True,
        gamma: float = 2.0,
        temperature: float = 1.0,
        loss_weight: float = 10.0,
    ) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(
                f'AdaptiveDistillLoss.temperature: expected above 0, got {temperature}'
            )
        if gamma < 0:
            raise ValueError(f'AdaptiveDistillLoss.gamma: expected at least 0, got {gamma}')
        self.log_prob = unbiased_log_prob if unbiased else restricted_log_prob
        self.gamma = gamma if adaptive else None
        self.temperature = temperature
        self.loss_weight = loss_weight

    def forward(self, student: QueryOutput, teacher: QueryOutput, *_: Any) -> dict[str, Tensor]:
        """Return ``loss_distill``, a scalar; see :class:`.ContinualLoss`.

        Raises:
            ValueError: If the shapes do not fit, as with the teacher of another step.
        """
        pred, target = student.cls_score, teacher.cls_score
        if pred.shape[:-1] != target.shape[:-1] or target.shape[-1] > pred.shape[-1]:
            raise ValueError(
                f'expected a teacher with the queries of the student and no more classes, got '
                f'logits of shape {tuple(target.shape)} for a student with {tuple(pred.shape)}'
            )
        log_prob = self.log_prob(pred.float(), target.shape[-1] - 1)
        loss = adaptive_distill_loss(
            log_prob, target.float(), gamma=self.gamma, temperature=self.temperature
        )
        return {'loss_distill': self.loss_weight * loss}
