"""Instance segmentation, with mmdet's detectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from .detector import DetectorTask

if TYPE_CHECKING:
    import numpy as np
    from mmengine.structures import InstanceData
    from torch import Tensor


class InstanceTask(DetectorTask):
    """Each object of a thing class has a mask and a score of its own; masks may overlap."""

    name: ClassVar[str] = 'instance'
    measures: ClassVar[tuple[str, ...]] = ('AP', 'AP50', 'AP75')
    metric: ClassVar[str] = 'IncrementalInstanceMetric'
    test_key: ClassVar[str | None] = 'instance_on'

    score_thr: ClassVar[float] = 0.5

    def instances(self, sample: Any, score_thr: float) -> InstanceData:
        """Return the instances whose score is higher."""
        found = sample.pred_instances
        return found[found.scores > score_thr]

    def truth_map(self, sample: Any, num_classes: int) -> Tensor:
        """Return the instances, the smaller ones over the others; crowds are left out."""
        import torch

        height, width = sample.ori_shape[:2]
        painted = torch.full((1, height, width), _NOTHING, dtype=torch.int64)
        masks = [
            (_decoded(segment['segmentation'], height, width), segment['label'])
            for segment in sample.segments
            if not segment['iscrowd']
        ]
        for number, (mask, label) in enumerate(sorted(masks, key=lambda m: -m[0].sum()), start=1):
            painted[0][torch.from_numpy(mask)] = label + 1000 * number
        return painted

    def segment_map(self, sample: Any) -> Tensor:
        """Return the instances that are shown, the better ones over the others."""
        import torch
        from mmdet.evaluation.functional import INSTANCE_OFFSET

        found = sample.pred_instances
        height, width = found.masks.shape[-2:]
        painted = torch.full((1, height, width), _NOTHING, dtype=torch.int64)
        shown = (found.scores > self.score_thr).tolist()
        order = found.scores.sort(stable=True).indices.tolist()
        for number, index in enumerate(order, start=1):
            if shown[index]:
                mask = found.masks[index].cpu()
                painted[0][mask] = int(found.labels[index]) + number * INSTANCE_OFFSET
        return painted


_NOTHING = 999
"""A label of no class: panoptic maps hold fewer."""


def _decoded(shape: Any, height: int, width: int) -> np.ndarray:
    """Return a mask, (H, W), bool, of polygons or of run lengths that the dataset has checked.

    Said here once more for those who read summaries without a dataset: this room imports no other.
    """
    import numpy as np
    from pycocotools import mask as coco

    if isinstance(shape, list):
        # fewer than three points have no area; pycocotools would take four numbers for a box
        polygons = [polygon for polygon in shape if len(polygon) >= 6]
        if not polygons:
            return np.zeros((height, width), dtype=bool)
        return coco.decode(coco.merge(coco.frPyObjects(polygons, height, width))) > 0
    plain = isinstance(shape['counts'], list)
    return coco.decode(coco.frPyObjects(shape, height, width) if plain else shape) > 0
