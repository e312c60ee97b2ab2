"""Instance segmentation, with mmdet's detectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from .detector import DetectorTask

if TYPE_CHECKING:
    from torch import Tensor


class InstanceTask(DetectorTask):
    """Each object of a thing class has a mask and a score of its own; masks may overlap."""

    name: ClassVar[str] = 'instance'
    measures: ClassVar[tuple[str, ...]] = ('AP', 'AP50', 'AP75')
    metric: ClassVar[str] = 'IncrementalInstanceMetric'
    test_key: ClassVar[str | None] = 'instance_on'

    shown_score: ClassVar[float] = 0.5
    """Instances with a smaller score are not in a picture."""

    def segment_map(self, sample: Any) -> Tensor:
        """Return the instances that are shown, the better ones over the others."""
        import torch
        from mmdet.evaluation.functional import INSTANCE_OFFSET

        found = sample.pred_instances
        height, width = found.masks.shape[-2:]
        painted = torch.full((1, height, width), _NOTHING, dtype=torch.int64)
        order = found.scores.sort(stable=True).indices.tolist()
        for number, index in enumerate(order, start=1):
            if found.scores[index] >= self.shown_score:
                mask = found.masks[index].cpu()
                painted[0][mask] = int(found.labels[index]) + number * INSTANCE_OFFSET
        return painted


_NOTHING = 999
"""A label of no class: panoptic maps hold fewer."""
