"""From query predictions to panoptic segments."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from mmdet.evaluation.functional import INSTANCE_OFFSET
from mmengine.structures import PixelData
from torch import Tensor

from ..registry import MODELS
from ..scenario import Scenario
from .class_activation import SOFTMAX, ClassActivation
from .inference_settings import InferenceSetting, check_optional_threshold, check_threshold
from .parts import split_parts
from .query_fusion_head import QueryFusionHead
from .segments import MaskLogits, Masks, assign_pixels


def fuse_panoptic(
    cls_score: Tensor,
    masks: Masks,
    *,
    num_things: int,
    class_activation: ClassActivation = SOFTMAX,
    score_thr: float = 0.0,
    iou_thr: float = 0.0,
    split_share: float | None = None,
) -> Tensor:
    """Turn the queries of an image into a panoptic map; see :func:`fuse_with_scores`."""
    fused = fuse_with_scores(
        cls_score,
        masks,
        num_things=num_things,
        class_activation=class_activation,
        score_thr=score_thr,
        iou_thr=iou_thr,
        split_share=split_share,
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
    split_share: float | None = None,
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
        split_share: Things are split into their connected parts, see :func:`.split_parts`, of
            which E become segments of their own; None splits nothing.

    Returns:
        The map, (H, W), int32: label + 1000 * instance for things (instances count from 1), label
        for stuff, K where there is no segment; and for each query, then for each part that was
        split off, its value in the map, (Q + E,) int64, and its class probability, (Q + E,) in
        [0, 1], which is 0 where it has no segment.
    """
    num_classes = cls_score.shape[-1] - 1
    scores, classes, kept = class_activation.decide(cls_score, score_thr, num_classes)
    owners = assign_pixels(scores, kept, masks)
    valid = owners.segments(kept, iou_thr)
    owner = owners.restrict(valid)
    if split_share is not None:
        owner, parents = split_parts(owner, valid & (classes < num_things), split_share)
        scores, classes, valid = (torch.cat([x, x[parents]]) for x in (scores, classes, valid))
    is_thing = valid & (classes < num_things)
    instance = is_thing.cumsum(0) * is_thing
    codes = classes + instance * INSTANCE_OFFSET
    # owner -1 reads the last value: no segment
    values = torch.cat([codes, classes.new_full((1,), num_classes)])
    return values[owner].int(), codes, scores * valid


_THRESHOLDS = ('object_mask_thr', 'iou_thr', 'split_share')


@MODELS.register_module()
class ContinualFusionHead(QueryFusionHead):
    """Panoptic inference of CoMFormer: masks reach 0.5, thresholds are 0 unless configured.

    Settings are read from the model's ``test_cfg``: ``object_mask_thr`` (default 0), ``iou_thr``
    (default 0) and ``split_share`` (default None), see :func:`fuse_with_scores`.

    Arguments are those of :class:`.QueryFusionHead`.

    Raises:
        TypeError: If a threshold is no number, or ``test_cfg`` has a key that nothing reads.
        ValueError: If a threshold is not in [0, 1], ``test_cfg`` asks for instance or semantic
            results, or the dataset has more classes than mmdet's encoding of a panoptic map can
            tell apart.
    """

    results = 'pan_results'
    kind = 'panoptic results'
    own_keys = ('panoptic_on', *_THRESHOLDS)
    other_keys = ('instance_on', 'semantic_on')

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in _THRESHOLDS:
            if name in self.test_cfg:
                self._assign(name, self.test_cfg[name])

    def check_scenario(self, scenario: Scenario) -> None:
        """Check that a panoptic map can hold all classes."""
        if scenario.num_classes >= INSTANCE_OFFSET:
            raise ValueError(
                f'scenario: expected fewer than {INSTANCE_OFFSET} classes, which a panoptic map '
                f'can hold, got {scenario.num_classes}'
            )

    def inference_settings(self) -> dict[str, InferenceSetting]:
        """Return thresholds and the share of parts, by name."""
        return {
            name: InferenceSetting(f'model.test_cfg.{name}', partial(self._assign, name))
            for name in _THRESHOLDS
        }

    def _assign(self, name: str, value: Any) -> None:
        check = check_optional_threshold if name == 'split_share' else check_threshold
        self.test_cfg[name] = check(f'model.test_cfg.{name}', value)

    def predict(self, *args: Any, **kwargs: Any) -> list[dict[str, Any]]:
        """Return the panoptic maps of a batch, or nothing for each image if they are off."""
        results = super().predict(*args, **kwargs)
        return results if self.test_cfg.get('panoptic_on', True) else [{} for _ in results]

    def of_image(
        self, mask_cls: Tensor, mask_pred: Tensor, size: tuple[int, int] | None = None
    ) -> PixelData:
        """Return the result of an image, as :meth:`panoptic_postprocess`."""
        return self.panoptic_postprocess(mask_cls, mask_pred, size)

    def panoptic_postprocess(
        self, mask_cls: Tensor, mask_pred: Tensor, size: tuple[int, int] | None = None
    ) -> PixelData:
        """Return the panoptic map of an image as ``PixelData(sem_seg=(1, H, W) int32)``.

        Its metadata ``segment_scores`` are the value in the map of the segment that each query, or
        part of one that was split off, belongs to, and the query's score, 0 if it belongs to none;
        both (Q + E,).

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
            split_share=self.test_cfg.get('split_share'),
        )
        # on the device: reading them would wait for it
        return PixelData(sem_seg=panoptic[None], metainfo=dict(segment_scores=(codes, scores)))
