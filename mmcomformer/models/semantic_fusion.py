"""From query predictions to scores of classes per pixel: the two rules of semantic inference."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from ..registry import MODELS
from .class_activation import SOFTMAX, ClassActivation
from .segments import assign_pixels, share_above


class SemanticFusion(Protocol):
    """Rule that turns the queries of an image into scores of classes."""

    #: whether it gives every pixel a class where the dataset has no background
    fills: bool

    def __call__(
        self, cls_score: Tensor, masks: Tensor, class_activation: ClassActivation = SOFTMAX
    ) -> Tensor:
        """Return the scores.

        Args:
            cls_score: Class logits, (Q, K + 1), no-object last; classes not learned may be -inf.
            masks: Mask probabilities, (Q, H, W), in [0, 1].
            class_activation: Turns class logits into scores.

        Returns:
            Shape (K + 1, H, W), at least 0; the last one is that of nothing.
        """


@MODELS.register_module()
class MaskBasedFusion:
    """Semantic inference of CoMFormer: each segment writes its class, the rest is nothing.

    The segments are those of panoptic inference, see :func:`.panoptic_fusion.fuse_panoptic`.

    Args:
        object_mask_thr: A query counts when its class probability is larger than this, in [0, 1].
        iou_thr: A segment is dropped when the pixels it owns are a smaller share than this of the
            pixels where its mask reaches 0.5, in [0, 1].
        area_thr: A segment is also dropped when the pixels where its mask reaches 0.5 are a smaller
            share than this of those it owns, in [0, 1] (SimCIS: 0.8).

    Raises:
        ValueError: If a threshold is outside [0, 1].
    """

    fills = False

    def __init__(
        self, object_mask_thr: float = 0.0, iou_thr: float = 0.0, area_thr: float = 0.0
    ) -> None:
        shares = dict(object_mask_thr=object_mask_thr, iou_thr=iou_thr, area_thr=area_thr)
        for name, value in shares.items():
            if not 0 <= value <= 1:
                raise ValueError(f'MaskBasedFusion.{name}: expected 0 to 1, got {value}')
        self.object_mask_thr = object_mask_thr
        self.iou_thr = iou_thr
        self.area_thr = area_thr

    def __call__(
        self, cls_score: Tensor, masks: Tensor, class_activation: ClassActivation = SOFTMAX
    ) -> Tensor:
        """Return one-hot scores; see :class:`SemanticFusion`."""
        scores, classes, kept = class_activation.decide(
            cls_score, self.object_mask_thr, cls_score.shape[-1] - 1
        )
        owners = assign_pixels(scores, kept, masks)
        valid = owners.segments(kept, self.iou_thr)
        valid = valid & (share_above(owners.original, owners.area, self.area_thr) >= 0)
        owner = owners.restrict(valid)
        # owner -1 reads the last one: nothing
        labels = torch.cat([classes, classes.new_full((1,), cls_score.shape[-1] - 1)])
        one_hot = masks.new_zeros(cls_score.shape[-1], *masks.shape[1:])
        return one_hot.scatter_(0, labels[owner].unsqueeze(0), 1.0)


@MODELS.register_module()
class ScoreSumFusion:
    """Semantic inference of Mask2Former: sum over queries of class probability x mask.

    Where the dataset has a background class, the sum for no-object is its score.
    """

    fills = True

    def __call__(
        self, cls_score: Tensor, masks: Tensor, class_activation: ClassActivation = SOFTMAX
    ) -> Tensor:
        """Return the sums, which masks that add up to 1 distribute; see :class:`SemanticFusion`."""
        prob = class_activation.probability(cls_score).to(masks.dtype)
        return torch.einsum('qk,qhw->khw', prob, masks)
