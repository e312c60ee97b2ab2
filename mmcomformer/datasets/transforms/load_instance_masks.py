"""Loading the masks of the instances that a step shows."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks

from ...registry import TRANSFORMS
from ..coco_masks import decode_mask


@TRANSFORMS.register_module()
class LoadInstanceMasks(BaseTransform):
    """Draw the masks of the visible instances of an image, each on its own: they may overlap.

    Required keys: ``segments``, as ``IncrementalDataset`` gives them for an instance dataset,
    ``height`` and ``width``. Added keys are those of mmdet's ``LoadAnnotations``, so that its
    transforms and ``PackDetInputs`` follow: ``gt_masks``, ``gt_bboxes`` (around the masks),
    ``gt_bboxes_labels`` (int64, dataset labels) and ``gt_ignore_flags`` (False). Masks without a
    pixel are left out.

    Raises:
        ValueError: If a mask is malformed, or the image has another size than the annotations say;
            the message names the image.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add masks, boxes and labels to the results."""
        size = (results['height'], results['width'])
        found = tuple(results.get('ori_shape', size))
        if found != size:
            raise ValueError(
                f'image {results["img_path"]}: it has {found[0]} x {found[1]} pixels, and its '
                f'annotations say {size[0]} x {size[1]} (height x width)'
            )
        visible = [segment for segment in results['segments'] if segment['visible']]
        masks = [self._mask(results, segment, size) for segment in visible]
        shown = [mask.any() for mask in masks]
        kept = [mask for mask, any_pixel in zip(masks, shown, strict=True) if any_pixel]
        labels = [
            item['label'] for item, any_pixel in zip(visible, shown, strict=True) if any_pixel
        ]
        stacked = np.stack(kept) if kept else np.zeros((0, *size), dtype=np.uint8)
        results['gt_masks'] = BitmapMasks(stacked.astype(np.uint8), *size)
        boxes = results['gt_masks'].get_bboxes(dst_type='hbox').tensor
        results['gt_bboxes'] = HorizontalBoxes(boxes, dtype=boxes.dtype)
        results['gt_bboxes_labels'] = np.array(labels, dtype=np.int64)
        results['gt_ignore_flags'] = np.zeros(len(labels), dtype=bool)
        return results

    def _mask(
        self, results: dict[str, Any], segment: dict[str, Any], size: tuple[int, int]
    ) -> np.ndarray:
        try:
            return decode_mask(segment['segmentation'], size)
        except ValueError as error:
            raise ValueError(
                f'image {results["img_path"]}, annotation {segment["id"]!r}: {error}'
            ) from error

    def __repr__(self) -> str:
        """Return the name; there are no arguments."""
        return f'{type(self).__name__}()'
