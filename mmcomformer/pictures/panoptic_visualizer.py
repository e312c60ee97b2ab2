"""Drawing of panoptic results."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmdet.evaluation.functional import INSTANCE_OFFSET
from mmdet.structures import DetDataSample
from mmdet.visualization import DetLocalVisualizer
from mmengine.structures import PixelData

from ..registry import VISUALIZERS


@VISUALIZERS.register_module()
class PanopticVisualizer(DetLocalVisualizer):
    """mmdet's visualiser, for images without a segment and for our ground truth too."""

    def add_datasample(
        self, name: str, image: np.ndarray, data_sample: DetDataSample | None = None, **kwargs: Any
    ) -> None:
        """Draw ground truth and prediction; arguments are those of mmdet's visualiser.

        Args:
            name: Name of the picture.
            image: The image, (H, W, 3), uint8, RGB.
            data_sample: Its ``gt_panoptic_seg`` may be a map of the numbers of ``segments``, or of
                ``gt_instances``, as ``PackContinualInputs`` makes it.
            **kwargs: Passed on.
        """
        if data_sample is not None and _has_numbered_truth(data_sample):
            data_sample = _with_encoded_truth(data_sample, len(self.dataset_meta['classes']))
        super().add_datasample(name, image, data_sample, **kwargs)

    def _draw_panoptic_seg(
        self, image: np.ndarray, panoptic_seg: PixelData, classes: list[str], palette: Any
    ) -> np.ndarray:
        # mmdet converts predictions before, but not ground truth
        panoptic_seg = panoptic_seg.numpy()
        if bool((panoptic_seg.sem_seg == len(classes)).all()):
            # common early in step 0; mmdet stacks an empty list there
            self.set_image(image)
            return self.get_image()
        return super()._draw_panoptic_seg(image, panoptic_seg, classes, palette)


def _has_numbered_truth(data_sample: DetDataSample) -> bool:
    """Tell whether the ground truth is a map of numbers: for evaluation, or for training."""
    return 'gt_panoptic_seg' in data_sample and (
        'segments' in data_sample or 'gt_instances' in data_sample
    )


def _with_encoded_truth(data_sample: DetDataSample, num_classes: int) -> DetDataSample:
    """Return a copy whose ground truth is encoded as mmdet encodes predictions."""
    if 'segments' in data_sample:
        labels = [segment['label'] for segment in data_sample.segments]
    else:
        labels = data_sample.gt_instances.labels.tolist()
    # segment k gets instance k, so that two things of a class stay apart; 0 is VOID
    codes = torch.tensor(
        [num_classes, *(label + k * INSTANCE_OFFSET for k, label in enumerate(labels, 1))]
    )
    encoded = data_sample.clone()
    ids = data_sample.gt_panoptic_seg.sem_seg.long().cpu()
    encoded.gt_panoptic_seg = PixelData(sem_seg=codes[ids].int())
    return encoded
