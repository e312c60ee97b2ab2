"""Mask-based pseudo-labels: what the teacher still sees where nothing is labelled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from ..registry import MODELS, TASK_UTILS
from .class_activation import SOFTMAX, ClassActivation
from .mask_activation import MaskActivation
from .query_output import QueryOutput
from .segments import MaskLogits, Masks, assign_pixels, share_above
from .targets import ImageTargets

Share = Literal['owned', 'strong']


def mask_pseudo_labels(
    cls_score: Tensor,
    masks: Masks,
    covered: Tensor | ImageTargets,
    *,
    class_activation: ClassActivation = SOFTMAX,
    score_thr: float = 0.0,
    overlap_thr: float = 0.5,
    share: Share = 'owned',
    merge_classes: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Turn the teacher's queries for one image into pseudo-labels (CoMFormer, section 3.4).

    A pixel goes to the kept query with the largest score x mask, unless ground truth covers it. A
    query gives a pseudo-label if its share is more than ``overlap_thr`` of the pixels where its
    mask reaches 0.5, pixels under ground truth counted among the latter. No loop, and no value is
    read back to the host.

    Args:
        cls_score: Class logits of the teacher, (Q, K_old + 1), no-object last.
        masks: Mask probabilities of the teacher at input size, (Q, H, W).
        covered: Pixels that ground truth covers, (H, W), bool; or the ground truth, as masks, of
            which only those of the same class count: other objects may lie over a pseudo-label.
        class_activation: The teacher's.
        score_thr: A query is kept when its class probability is larger than this.
        overlap_thr: See above, in [0, 1].
        share: ``owned``: all pixels that the query owns (CoMFormer); ``strong``: those of them
            where its mask reaches 0.5 (BalConpas, SimCIS).
        merge_classes: Whether pseudo-labels of one class become one (SimCIS, semantic).

    Returns:
        Owner of each pixel: a query or -1, (H, W), int64; class of each query, (Q,), int64;
        whether each query gives a pseudo-label, (Q,), bool.
    """
    num_classes = cls_score.shape[-1] - class_activation.has_no_object
    scores, classes, kept = class_activation.decide(cls_score, score_thr, num_classes)
    if isinstance(covered, ImageTargets):
        truth = covered
        owners = assign_pixels(
            scores, kept, masks, lambda owner: truth.covered_by_class(_class_of(owner, classes))
        )
    else:
        owners = assign_pixels(scores, kept, masks, covered)
    # what ground truth covers counts in the mask but is owned by nobody: a query most of which is
    # labelled already is the object that the label means
    counted = owners.area if share == 'owned' else owners.covered
    enough = share_above(counted, owners.original, overlap_thr) > 0
    valid = kept & (owners.covered > 0) & (owners.original > 0) & enough
    owner = owners.restrict(valid)
    return _merged(owner, classes, valid) if merge_classes else (owner, classes, valid)


def _class_of(owner: Tensor, classes: Tensor) -> Tensor:
    """Return the class of the owner of each pixel, (H, W), or -1."""
    return torch.where(owner >= 0, classes[owner.clamp(min=0)], owner)


def _merged(owner: Tensor, classes: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Give all pixels of a class to the first of the queries that label it."""
    # (Q, Q): which valid queries have a query's class
    alike = (classes[:, None] == classes) & valid
    first = alike.int().argmax(-1)
    merged = torch.where(owner >= 0, first[owner.clamp(min=0)], owner)
    return merged, classes, valid & (first == torch.arange(len(first), device=first.device))


@TASK_UTILS.register_module()
class MaskPseudoLabels:
    """Append pseudo-labels to the targets of a batch.

    Args:
        mask_activation: The teacher's mask activation.
        class_activation: The teacher's class activation, or the config of another one.
        score_thr: See :func:`mask_pseudo_labels`.
        overlap_thr: See :func:`mask_pseudo_labels`.
        share: See :func:`mask_pseudo_labels`.
        merge_classes: See :func:`mask_pseudo_labels`.
        over_truth: Whether a pixel of ground truth may belong to a pseudo-label of another class
            too, as where masks of instances overlap; the ground truth has to be masks then, not one
            map.
        memory: Whether images from memory are completed too, or keep the labels that they were
            stored with (BalConpas).

    Raises:
        ValueError: If a threshold is outside [0, 1], or there is no such share.
    """

    def __init__(
        self,
        mask_activation: MaskActivation,
        class_activation: ClassActivation | dict[str, Any] = SOFTMAX,
        *,
        score_thr: float = 0.0,
        overlap_thr: float = 0.5,
        share: Share = 'owned',
        merge_classes: bool = False,
        over_truth: bool = False,
        memory: bool = True,
    ) -> None:
        for name, value in (('score_thr', score_thr), ('overlap_thr', overlap_thr)):
            if not 0 <= value <= 1:
                raise ValueError(f'MaskPseudoLabels.{name}: expected 0 to 1, got {value}')
        if share not in get_args(Share):
            raise ValueError(
                f'MaskPseudoLabels.share: expected one of {list(get_args(Share))}, got {share!r}'
            )
        self.mask_activation = mask_activation
        if isinstance(class_activation, Mapping):
            class_activation = MODELS.build(class_activation)
        self.class_activation: Any = class_activation
        self.score_thr = score_thr
        self.overlap_thr = overlap_thr
        self.share: Share = share
        self.merge_classes = merge_classes
        self.over_truth = over_truth
        self.memory = memory

    def of_image(
        self, cls_score: Tensor, mask_pred: Tensor, target: ImageTargets
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the pseudo-labels of an image, as :func:`mask_pseudo_labels` does.

        Args:
            cls_score: Class logits of the teacher, (Q, K_old + 1).
            mask_pred: Its mask logits, (Q, h, w).
            target: The ground truth, (H, W) in size.
        """
        height, width = target.masks.shape[-2:]
        return mask_pseudo_labels(
            cls_score,
            MaskLogits(mask_pred, self.mask_activation, (height, width)),
            target if self.over_truth else target.covered,
            class_activation=self.class_activation,
            score_thr=self.score_thr,
            overlap_thr=self.overlap_thr,
            share=self.share,
            merge_classes=self.merge_classes,
        )

    @torch.no_grad()
    def __call__(self, targets: list[ImageTargets], teacher: QueryOutput) -> list[ImageTargets]:
        """Return new targets, ground truth first.

        Args:
            targets: Ground truth of B images, of size (H, W).
            teacher: The teacher's output for the batch.

        Raises:
            ValueError: If ``over_truth`` is set and the ground truth is one map, in which a pixel
                cannot belong to two targets.
        """
        if self.over_truth and any(target.owner is not None for target in targets):
            raise ValueError(
                'MaskPseudoLabels.over_truth: the ground truth is one map, in which a pixel '
                'belongs to one target only; leave over_truth out, or train on instance masks'
            )
        # one image at a time: the maps of a whole batch at input size would not fit on a GPU
        return [
            target.with_pseudo_labels(*self.of_image(cls_score, mask_pred, target))
            if self.memory or not target.from_memory
            else target
            for target, cls_score, mask_pred in zip(
                targets, teacher.cls_score, teacher.mask_pred, strict=True
            )
        ]
