"""From query predictions to panoptic segments."""

from __future__ import annotations

from typing import Any

import torch
from mmdet.evaluation.functional import INSTANCE_OFFSET
from mmdet.models.seg_heads.panoptic_fusion_heads import MaskFormerFusionHead
from mmengine.structures import PixelData
from torch import Tensor

from ..registry import MODELS
from ..scenario import Scenario
from .segments import assign_pixels, score_queries


def fuse_panoptic(
    cls_score: Tensor,
    masks: Tensor,
    *,
    num_things: int,
    score_thr: float = 0.0,
    iou_thr: float = 0.0,
) -> Tensor:
    """Turn the queries of an image into a panoptic map, without a loop over queries.

    Args:
        cls_score: Class logits in dataset label order, (Q, K + 1), no-object last; classes not
            learned yet may be -inf.
        masks: Mask probabilities, (Q, H, W), in [0, 1].
        num_things: Labels below this are things; the segments of any other class are merged.
        score_thr: A query counts when its class probability is larger than this.
        iou_thr: A segment is dropped when the pixels it owns are a smaller share than this of the
            pixels where its mask reaches 0.5.

    Returns:
        Shape (H, W), int32: label + 1000 * instance for things (instances count from 1), label
        for stuff, K where there is no segment.
    """
    num_classes = cls_score.shape[-1] - 1
    scores, classes, kept = score_queries(cls_score, score_thr)
    owners = assign_pixels(scores, kept, masks)
    ratio = owners.area.double() / owners.original.clamp(min=1)
    valid = kept & (owners.original > 0) & (owners.covered > 0) & (ratio >= iou_thr)
    is_thing = valid & (classes < num_things)
    instance = is_thing.cumsum(0) * is_thing
    codes = torch.cat([classes + instance * INSTANCE_OFFSET, classes.new_full((1,), num_classes)])
    # owner -1 reads the last code: no segment
    return codes[owners.restrict(valid)].int()


@MODELS.register_module()
class ContinualFusionHead(MaskFormerFusionHead):
    """Panoptic inference of CoMFormer: masks reach 0.5, thresholds are 0 unless configured.

    Thresholds are read from the model's ``test_cfg``: ``object_mask_thr`` (default 0) and
    ``iou_thr`` (default 0).

    Args:
        scenario: The scenario, as a config dict.
        mask_activation: ``dict(type='QuerySoftmax')`` or ``dict(type='QuerySigmoid')``; the same
            as the head's.
        test_cfg: The model's test settings.

    Raises:
        ValueError: If ``test_cfg`` asks for instance or semantic results, or the dataset has more
            classes than mmdet's encoding of a panoptic map can tell apart.
    """

    def __init__(
        self,
        scenario: dict | Scenario,
        mask_activation: dict[str, Any],
        test_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        scenario = Scenario.from_config(scenario)
        super().__init__(scenario.num_things, scenario.num_stuff, test_cfg or {}, init_cfg=init_cfg)
        self.mask_activation = MODELS.build(mask_activation)
        for key in ('instance_on', 'semantic_on'):
            if self.test_cfg.get(key):
                raise ValueError(f'model.test_cfg.{key}: this head gives panoptic results only')
        if scenario.num_classes >= INSTANCE_OFFSET:
            raise ValueError(
                f'scenario: expected fewer than {INSTANCE_OFFSET} classes, which a panoptic map '
                f'can hold, got {scenario.num_classes}'
            )

    def panoptic_postprocess(self, mask_cls: Tensor, mask_pred: Tensor) -> PixelData:
        """Return the panoptic map of an image as ``PixelData(sem_seg=(1, H, W) int32)``.

        Args:
            mask_cls: Class logits, (Q, K + 1).
            mask_pred: Mask logits at the size of the result, (Q, H, W).
        """
        panoptic = fuse_panoptic(
            mask_cls,
            self.mask_activation.probability(mask_pred),
            num_things=self.num_things_classes,
            score_thr=self.test_cfg.get('object_mask_thr', 0.0),
            iou_thr=self.test_cfg.get('iou_thr', 0.0),
        )
        return PixelData(sem_seg=panoptic[None])
