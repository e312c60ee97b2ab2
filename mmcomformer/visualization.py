"""Drawing of panoptic results."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmdet.visualization import DetLocalVisualizer
from mmengine.structures import PixelData

from .registry import VISUALIZERS


@VISUALIZERS.register_module()
class PanopticVisualizer(DetLocalVisualizer):
    """mmdet's visualiser, which also draws an image without any segment."""

    def _draw_panoptic_seg(
        self, image: np.ndarray, panoptic_seg: PixelData, classes: list[str], palette: Any
    ) -> np.ndarray:
        if bool((panoptic_seg.sem_seg == len(classes)).all()):
            # common early in step 0; mmdet stacks an empty list there
            self.set_image(image)
            return self.get_image()
        return super()._draw_panoptic_seg(image, panoptic_seg, classes, palette)
