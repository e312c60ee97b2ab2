"""Mask-based pseudo-labels: what the teacher still sees where nothing is labelled."""

from __future__ import annotations

import torch
from torch import Tensor

from .mask_activation import MaskActivation
from .segments import MaskLogits, Masks, assign_pixels, score_queries
from .targets import ImageTargets
from .teacher import TeacherOutput


def mask_pseudo_labels(
    cls_score: Tensor,
    masks: Masks,
    covered: Tensor,
    *,
    score_thr: float = 0.0,
    overlap_thr: float = 0.5,
) -> tuple[Tensor, Tensor, Tensor]:
    """Turn the teacher's queries for one image into pseudo-labels (CoMFormer, section 3.4).

    A pixel goes to the kept query with the largest score x mask, unless ground truth covers it. A
    query gives a pseudo-label if it owns more than ``overlap_thr`` of the pixels where its mask
    reaches 0.5, pixels under ground truth counted among the latter. No loop, and no value is read
    back to the host.

    Args:
        cls_score: Class logits of the teacher, (Q, K_old + 1), no-object last.
        masks: Mask probabilities of the teacher at input size, (Q, H, W).
        covered: Pixels that ground truth covers, (H, W), bool.
        score_thr: A query is kept when its class probability is larger than this.
        overlap_thr: See above, in [0, 1].

    Returns:
        Owner of each pixel: a query or -1, (H, W), int64; class of each query, (Q,), int64;
        whether each query gives a pseudo-label, (Q,), bool.
    """
    scores, classes, kept = score_queries(cls_score, score_thr)
    owners = assign_pixels(scores, kept, masks, excluded=covered)
    ratio = owners.area.double() / owners.original.clamp(min=1)
    valid = kept & (owners.covered > 0) & (owners.original > 0) & (ratio > overlap_thr)
    return owners.restrict(valid), classes, valid


class MaskPseudoLabels:
    """Append pseudo-labels to the targets of a batch.

    Args:
        mask_activation: The teacher's mask activation.
        score_thr: See :func:`mask_pseudo_labels`.
        overlap_thr: See :func:`mask_pseudo_labels`.
    """

    def __init__(
        self, mask_activation: MaskActivation, *, score_thr: float = 0.0, overlap_thr: float = 0.5
    ) -> None:
        self.mask_activation = mask_activation
        self.score_thr = score_thr
        self.overlap_thr = overlap_thr

    @torch.no_grad()
    def __call__(
        self, targets: list[ImageTargets], teacher: TeacherOutput, size: tuple[int, int]
    ) -> list[ImageTargets]:
        """Return new targets, ground truth first.

        Args:
            targets: Ground truth of B images, masks (G, H, W).
            teacher: The teacher's output for the batch.
            size: Height and width (H, W) of the padded input, pixels.
        """
        completed = []
        # one image at a time: the maps of a whole batch at input size would not fit on a GPU
        for target, cls_score, mask_pred in zip(
            targets, teacher.cls_score, teacher.mask_pred, strict=True
        ):
            owner, classes, valid = mask_pseudo_labels(
                cls_score,
                MaskLogits(mask_pred, self.mask_activation, size),
                target.covered,
                score_thr=self.score_thr,
                overlap_thr=self.overlap_thr,
            )
            completed.append(target.with_pseudo_labels(owner, classes, valid))
        return completed
