"""Panoptic segmentation, with mmdet's detectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from .detector import DetectorTask

if TYPE_CHECKING:
    from torch import Tensor


class PanopticTask(DetectorTask):
    """Every pixel belongs to one segment: an instance of a thing, or all of a stuff class."""

    name: ClassVar[str] = 'panoptic'
    measures: ClassVar[tuple[str, ...]] = ('PQ', 'SQ', 'RQ')
    metric: ClassVar[str] = 'IncrementalPanopticMetric'
    test_key: ClassVar[str | None] = 'panoptic_on'

    def segment_map(self, sample: Any) -> Tensor:
        """Return mmdet's panoptic map."""
        return sample.pred_panoptic_seg.sem_seg

    def segment_scores(self, sample: Any) -> dict[int, float] | None:
        """Return the class probabilities of the segments, of stuff the highest of its queries."""
        found = sample.pred_panoptic_seg.get('segment_scores')
        if found is None:
            return None
        best: dict[int, float] = {}
        for code, score in zip(*(values.tolist() for values in found), strict=True):
            if score > 0:
                best[code] = max(score, best.get(code, 0.0))
        return best
