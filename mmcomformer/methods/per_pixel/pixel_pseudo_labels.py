"""Pixel pseudo-labels: the teacher's class of a background pixel, where it is sure (PLOP)."""

from __future__ import annotations

import torch

from ...models.class_activation import SOFTMAX, ClassActivation
from ...models.mask_activation import MaskActivation
from ...models.query_output import QueryOutput
from ...registry import TASK_UTILS
from .pixel_scores import pixel_scores
from .pixel_targets import PixelTargets


@TASK_UTILS.register_module()
class PixelPseudoLabels:
    """Label background pixels by the teacher, and ignore those of which it is not sure.

    Args:
        mask_activation: The teacher's mask activation.
        class_activation: The teacher's class activation.
        score_thr: The teacher is sure where its largest probability is at least this, in [0, 1].

    Raises:
        ValueError: If the threshold is outside [0, 1].
    """

    def __init__(
        self,
        mask_activation: MaskActivation,
        class_activation: ClassActivation = SOFTMAX,
        *,
        score_thr: float = 0.8,
    ) -> None:
        if not 0 <= score_thr <= 1:
            raise ValueError(f'PixelPseudoLabels.score_thr: expected 0 to 1, got {score_thr}')
        self.mask_activation = mask_activation
        self.class_activation = class_activation
        self.score_thr = score_thr

    @torch.no_grad()
    def __call__(self, targets: list[PixelTargets], teacher: QueryOutput) -> list[PixelTargets]:
        """Return new targets.

        Args:
            targets: Ground truth of B images.
            teacher: The teacher's output for the batch.
        """
        masks = self.mask_activation.probability(teacher.mask_pred.float())
        scores = pixel_scores(teacher.cls_score.float(), masks)
        # (B, h, w)
        prob, labels = self.class_activation.probability(scores).max(-1)
        num_old = scores.shape[-1] - 1
        return [
            target.with_pixel_labels(label, sure, num_old)
            for target, label, sure in zip(targets, labels, prob >= self.score_thr, strict=True)
        ]
