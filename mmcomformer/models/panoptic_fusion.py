"""From query predictions to panoptic segments."""

from __future__ import annotations

from typing import Any

import torch
from mmdet.evaluation.functional import INSTANCE_OFFSET
from mmdet.models.seg_heads.panoptic_fusion_heads import MaskFormerFusionHead
from mmdet.structures import SampleList
from mmengine.structures import PixelData
from torch import Tensor

from ..registry import MODELS
from ..scenario import Scenario
from .class_activation import SOFTMAX, ClassActivation
from .inference_settings import InferenceSetting, check_threshold
from .segments import MaskLogits, Masks, assign_pixels


def fuse_panoptic(
    cls_score: Tensor,
    masks: Masks,
    *,
    num_things: int,
    class_activation: ClassActivation = SOFTMAX,
    score_thr: float = 0.0,
    iou_thr: float = 0.0,
) -> Tensor:
    """Turn the queries of an image into a panoptic map; see :func:`fuse_with_scores`."""
    fused = fuse_with_scores(
        cls_score,
        masks,
        num_things=num_things,
        class_activation=class_activation,
        score_thr=score_thr,
        iou_thr=iou_thr,
    )
    return fused[0]


def fuse_with_scores(
    cls_score: Tensor,
    masks: Masks,
    *,
    num_things: int,
    class_activation: ClassActivation = SOFTMAX,
    score_thr: float = 0.0,
    iou_thr: float = 0.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Turn the queries of an image into a panoptic map, without a loop over queries.

    Args:
        cls_score: Class logits in dataset label order, (Q, K + 1), no-object last; classes not
            learned yet may be -inf.
        masks: Mask probabilities of size (Q, H, W).
        num_things: Labels below this are things; the segments of any other class are merged.
        class_activation: Turns class logits into scores.
        score_thr: A query counts when its class probability is larger than this.
        iou_thr: A segment is dropped when the pixels it owns are a smaller share than this of the
            pixels where its mask reaches 0.5.

    Returns:
        The map, (H, W), int32: label + 1000 * instance for things (instances count from 1), label
        for stuff, K where there is no segment; and for each query its value in the map, (Q,)
        int64, and its class probability, (Q,) in [0, 1], which is 0 where it has no segment.
    """
    num_classes = cls_score.shape[-1] - 1
    scores, classes, kept = class_activation.decide(cls_score, score_thr, num_classes)
    owners = assign_pixels(scores, kept, masks)
    valid = owners.segments(kept, iou_thr)
    is_thing = valid & (classes < num_things)
    instance = is_thing.cumsum(0) * is_thing
    codes = classes + instance * INSTANCE_OFFSET
    # owner -1 reads the last value: no segment
    values = torch.cat([codes, classes.new_full((1,), num_classes)])
    return values[owners.restrict(valid)].int(), codes, scores * valid


@MODELS.register_module()
class ContinualFusionHead(MaskFormerFusionHead):
    """Panoptic inference of CoMFormer: masks reach 0.5, thresholds are 0 unless configured.

    Thresholds are read from the model's ``test_cfg``: ``object_mask_thr`` (default 0) and
    ``iou_thr`` (default 0).

    Args:
        scenario: The scenario, as a config dict.
        mask_activation: ``dict(type='QuerySoftmax')`` or ``dict(type='QuerySigmoid')``; the same
            as the head's.
        class_activation: The same as the head's; ``dict(type='ClassSoftmax')`` by default.
        test_cfg: The model's test settings.

    Raises:
        ValueError: If ``test_cfg`` asks for instance or semantic results, or the dataset has more
            classes than mmdet's encoding of a panoptic map can tell apart.
    """

    def __init__(
        self,
        scenario: dict | Scenario,
        mask_activation: dict[str, Any],
        class_activation: dict[str, Any] | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        scenario = Scenario.from_config(scenario)
        super().__init__(scenario.num_things, scenario.num_stuff, test_cfg or {}, init_cfg=init_cfg)
        self.mask_activation = MODELS.build(mask_activation)
        self.class_activation = MODELS.build(class_activation or dict(type='ClassSoftmax'))
        for key in ('instance_on', 'semantic_on'):
            if self.test_cfg.get(key):
                raise ValueError(f'model.test_cfg.{key}: this head gives panoptic results only')
        if scenario.num_classes >= INSTANCE_OFFSET:
            raise ValueError(
                f'scenario: expected fewer than {INSTANCE_OFFSET} classes, which a panoptic map '
                f'can hold, got {scenario.num_classes}'
            )

    def inference_settings(self) -> dict[str, InferenceSetting]:
        """Return the two thresholds, by name."""
        return {name: self._threshold(name) for name in ('object_mask_thr', 'iou_thr')}

    def _threshold(self, name: str) -> InferenceSetting:
        key = f'model.test_cfg.{name}'

        def assign(value: Any) -> None:
            self.test_cfg[name] = check_threshold(key, value)

        return InferenceSetting(key, assign)

    def predict(
        self,
        mask_cls_results: Tensor,
        mask_pred_results: Tensor,
        batch_data_samples: SampleList,
        rescale: bool = False,
        **kwargs: Any,
    ) -> list[dict[str, PixelData]]:
        """Return the panoptic maps of a batch, each as ``{'pan_results': ...}``.

        Args:
            mask_cls_results: Class logits, (B, Q, K + 1).
            mask_pred_results: Mask logits at padded input size, (B, Q, H, W).
            batch_data_samples: Samples with ``img_shape`` and ``ori_shape``.
            rescale: Whether the maps get the size of ``ori_shape`` instead of ``img_shape``.
            **kwargs: Not read, as in mmdet.
        """
        results = []
        for mask_cls, mask_pred, sample in zip(
            mask_cls_results, mask_pred_results, batch_data_samples, strict=True
        ):
            height, width = sample.img_shape[:2]
            # padding is cut off before resizing
            mask_pred = mask_pred[:, :height, :width]
            size = tuple(sample.ori_shape[:2]) if rescale else (height, width)
            results.append({'pan_results': self.panoptic_postprocess(mask_cls, mask_pred, size)})
        return results if self.test_cfg.get('panoptic_on', True) else [{} for _ in results]

    def panoptic_postprocess(
        self, mask_cls: Tensor, mask_pred: Tensor, size: tuple[int, int] | None = None
    ) -> PixelData:
        """Return the panoptic map of an image as ``PixelData(sem_seg=(1, H, W) int32)``.

        Its metadata ``segment_scores`` are the value in the map of the segment that each query
        belongs to, and the query's score, 0 if it belongs to none; both (Q,).

        Args:
            mask_cls: Class logits, (Q, K + 1).
            mask_pred: Mask logits, (Q, h, w).
            size: Height and width (H, W) of the result, pixels; that of the logits if None.
        """
        height, width = size or mask_pred.shape[1:]
        panoptic, codes, scores = fuse_with_scores(
            mask_cls,
            MaskLogits(mask_pred, self.mask_activation, (height, width)),
            num_things=self.num_things_classes,
            class_activation=self.class_activation,
            score_thr=self.test_cfg.get('object_mask_thr', 0.0),
            iou_thr=self.test_cfg.get('iou_thr', 0.0),
        )
        # on the device: reading them would wait for it
        return PixelData(sem_seg=panoptic[None], metainfo=dict(segment_scores=(codes, scores)))
