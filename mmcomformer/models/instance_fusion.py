"""From query predictions to instances, whose masks may overlap."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from mmdet.models.seg_heads.panoptic_fusion_heads import MaskFormerFusionHead
from mmdet.structures import SampleList
from mmdet.structures.mask import mask2bbox
from mmengine.structures import InstanceData
from torch import Tensor

from ..registry import MODELS
from ..scenario import Scenario
from .class_activation import SOFTMAX, ClassActivation
from .segments import MaskLogits, Masks, blocks_of


class Instances(NamedTuple):
    """The instances of an image, the best one first.

    Scores, (N,) float32 in [0, 1]; dataset labels, (N,) int64; masks, (N, H, W) bool.
    """

    scores: Tensor
    labels: Tensor
    masks: Tensor


def fuse_instances(
    cls_score: Tensor,
    masks: Masks,
    *,
    class_activation: ClassActivation = SOFTMAX,
    max_per_image: int = 100,
) -> Instances:
    """Turn the queries of an image into instances (Mask2Former's rule).

    The pairs of a query and a class with the largest probabilities are the instances; a query may
    be in several of them. The score is that probability times the mean mask probability over the
    pixels where the mask reaches 0.5. Pairs of classes that are not learned yet, and masks that
    reach 0.5 nowhere, are left out.

    Args:
        cls_score: Class logits in dataset label order, (Q, K + 1), no-object last; classes not
            learned yet may be -inf.
        masks: Mask probabilities of size (Q, H, W).
        class_activation: Turns class logits into probabilities.
        max_per_image: How many instances there are at most.
    """
    num_queries, height, width = masks.shape
    prob = class_activation.probability(cls_score)[:, :-1]
    prob = prob.masked_fill(cls_score[:, :-1] == -torch.inf, -1.0)
    found, pairs = prob.flatten().topk(min(max_per_image, prob.numel()))
    chosen = found >= 0
    found, pairs = found[chosen], pairs[chosen]
    queries, labels = pairs // prob.shape[1], pairs % prob.shape[1]
    reached = masks_reaching(masks)
    quality = reached.mean[queries]
    scores = found * quality
    order = scores.argsort(descending=True, stable=True)
    order = order[reached.area[queries[order]] > 0]
    binary = reached.binary.view(num_queries, height, width)[queries[order]]
    return Instances(scores[order], labels[order], binary)


class _Reached(NamedTuple):
    """Where masks reach 0.5: (Q, H * W) bool; the pixels, (Q,) int64; their mean, (Q,) float."""

    binary: Tensor
    area: Tensor
    mean: Tensor


def masks_reaching(masks: Masks) -> _Reached:
    """Return where masks of size (Q, H, W) reach 0.5, block by block."""
    parts, areas, sums = [], [], []
    for block in blocks_of(masks):
        binary = block >= 0.5
        parts.append(binary)
        areas.append(binary.sum(1))
        sums.append((block * binary).sum(1))
    area, total = torch.stack(areas).sum(0), torch.stack(sums).sum(0)
    return _Reached(torch.cat(parts, 1), area, total / area.clamp(min=1))


@MODELS.register_module()
class ContinualInstanceFusionHead(MaskFormerFusionHead):
    """Instance inference of Mask2Former, over the classes seen so far.

    ``max_per_image`` (default 100) is read from the model's ``test_cfg``.

    Args:
        scenario: The scenario, as a config dict; all its classes are things.
        mask_activation: ``dict(type='QuerySoftmax')`` or ``dict(type='QuerySigmoid')``; the same
            as the head's.
        class_activation: The same as the head's; ``dict(type='ClassSoftmax')`` by default.
        test_cfg: The model's test settings.

    Raises:
        ValueError: If ``test_cfg`` asks for panoptic or semantic results, or the scenario has
            stuff.
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
        for key in ('panoptic_on', 'semantic_on'):
            if self.test_cfg.get(key):
                raise ValueError(f'model.test_cfg.{key}: this head gives instances only')
        if scenario.stuff_classes:
            raise ValueError(
                f'scenario.stuff_classes: instances are of things, got '
                f'{list(scenario.stuff_classes)[:5]}; leave stuff out of the scenario'
            )

    def predict(
        self,
        mask_cls_results: Tensor,
        mask_pred_results: Tensor,
        batch_data_samples: SampleList,
        rescale: bool = False,
        **kwargs: Any,
    ) -> list[dict[str, InstanceData]]:
        """Return the instances of a batch, each as ``{'ins_results': ...}``.

        Args:
            mask_cls_results: Class logits, (B, Q, K + 1).
            mask_pred_results: Mask logits at padded input size, (B, Q, H, W).
            batch_data_samples: Samples with ``img_shape`` and ``ori_shape``.
            rescale: Whether the masks get the size of ``ori_shape`` instead of ``img_shape``.
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
            results.append({'ins_results': self.instance_postprocess(mask_cls, mask_pred, size)})
        return results

    def instance_postprocess(
        self, mask_cls: Tensor, mask_pred: Tensor, size: tuple[int, int] | None = None
    ) -> InstanceData:
        """Return the instances of an image: ``scores``, ``labels``, ``masks`` and ``bboxes``.

        Args:
            mask_cls: Class logits, (Q, K + 1).
            mask_pred: Mask logits, (Q, h, w).
            size: Height and width (H, W) of the masks, pixels; that of the logits if None.
        """
        height, width = size or mask_pred.shape[1:]
        scores, labels, masks = fuse_instances(
            mask_cls,
            MaskLogits(mask_pred, self.mask_activation, (height, width)),
            class_activation=self.class_activation,
            max_per_image=self.test_cfg.get('max_per_image', 100),
        )
        return InstanceData(scores=scores, labels=labels, masks=masks, bboxes=mask2bbox(masks))
