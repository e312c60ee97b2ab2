"""From query predictions to instances, whose masks may overlap."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from mmdet.evaluation.functional import INSTANCE_OFFSET
from mmdet.structures.mask import mask2bbox
from mmengine.structures import InstanceData
from torch import Tensor

from ..registry import MODELS
from ..scenario import Scenario
from .class_activation import SOFTMAX, ClassActivation
from .inference_settings import InferenceSetting
from .query_fusion_head import QueryFusionHead
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

    The pairs of a query and a class with the largest probabilities of an object are the instances;
    a query may be in several of them. The score is that probability times the mean mask probability
    over the pixels where the mask reaches 0.5. Pairs of classes that are not learned yet, and masks
    that reach 0.5 nowhere, are left out.

    Args:
        cls_score: Class logits in dataset label order, (Q, K + 1), no-object last; classes not
            learned yet may be -inf.
        masks: Mask probabilities of size (Q, H, W).
        class_activation: Turns class logits into probabilities.
        max_per_image: How many instances there are at most.
    """
    num_queries, height, width = masks.shape
    prob = class_activation.object_probability(cls_score)
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
class ContinualInstanceFusionHead(QueryFusionHead):
    """Instance inference of Mask2Former, over the classes seen so far.

    ``max_per_image`` (default 100) is read from the model's ``test_cfg``.

    Arguments are those of :class:`.QueryFusionHead`; all classes of the scenario are things.

    Raises:
        TypeError: If ``test_cfg`` has a key that nothing reads, or ``max_per_image`` is no number.
        ValueError: If ``test_cfg`` asks for panoptic or semantic results, ``max_per_image`` is
            below 1, or the scenario has stuff.
    """

    results = 'ins_results'
    kind = 'instances'
    own_keys = ('instance_on', 'max_per_image')
    other_keys = ('panoptic_on', 'semantic_on')

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._assign(self.test_cfg.get('max_per_image', 100))

    def inference_settings(self) -> dict[str, InferenceSetting]:
        """Return the largest number of instances, by name."""
        return {'max_per_image': InferenceSetting('model.test_cfg.max_per_image', self._assign)}

    def _assign(self, limit: Any) -> None:
        if isinstance(limit, bool) or not isinstance(limit, int):
            raise TypeError(f'model.test_cfg.max_per_image: expected a number, got {limit!r}')
        if limit < 1:
            raise ValueError(f'model.test_cfg.max_per_image: expected at least 1, got {limit}')
        self.max_per_image = limit

    def check_scenario(self, scenario: Scenario) -> None:
        """Check that there is no stuff, and that pictures can hold all classes."""
        if scenario.num_classes >= INSTANCE_OFFSET:
            raise ValueError(
                f'scenario: expected fewer than {INSTANCE_OFFSET} classes, because pictures and '
                f'predictions hold label + {INSTANCE_OFFSET} * instance, got '
                f'{scenario.num_classes}; leave classes out of the dataset'
            )
        if scenario.stuff_classes:
            raise ValueError(
                f'scenario.stuff_classes: instances are of things, got '
                f'{list(scenario.stuff_classes)[:5]}; leave stuff out of the scenario'
            )

    def of_image(
        self, mask_cls: Tensor, mask_pred: Tensor, size: tuple[int, int] | None = None
    ) -> InstanceData:
        """Return the result of an image, as :meth:`instance_postprocess`."""
        return self.instance_postprocess(mask_cls, mask_pred, size)

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
            max_per_image=self.max_per_image,
        )
        return InstanceData(scores=scores, labels=labels, masks=masks, bboxes=mask2bbox(masks))
