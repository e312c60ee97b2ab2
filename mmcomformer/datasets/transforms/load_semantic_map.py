"""Loading a label map in one pass, with everything about it checked."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from ...registry import TRANSFORMS
from ..label_maps import (
    check_palette,
    check_values,
    lookup_table,
    present_values,
    read_coded_map,
)


@TRANSFORMS.register_module()
class LoadSemanticMap(BaseTransform):
    """Load the label map of an image and show what the step may see of it.

    The result is that of mmseg's ``LoadAnnotations``, which rewrites the map once per class and
    lets values pass that are no label; here one table does it, and what is wrong is an error. In a
    test pipeline this comes after the resizing and the map keeps the size of the image file. An
    input without ``seg_map_path`` (a user's own image) is left as it is.

    Required keys: ``seg_map_path``, ``label_map`` (or None), ``reduce_zero_label``, ``seg_fields``,
    ``img_path``, ``ori_shape``.
    Added keys: ``gt_seg_map`` (uint8, shape (H, W): dataset labels, 255 where there is none);
    ``seg_fields`` names it.

    Args:
        backend_args: Arguments of mmengine's file backend.

    Raises:
        FileNotFoundError: If the label map does not exist.
        ValueError: If it is unreadable, not of one 8-bit channel, of another size than the image,
            holds a value that is no label, or has a palette that leaves in doubt what its labels
            are.
    """

    def __init__(self, *, backend_args: dict[str, Any] | None = None) -> None:
        self.backend_args = backend_args

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add the map to the results."""
        path = results.get('seg_map_path')
        if path is None:
            return results
        values, palette = read_coded_map(path, backend_args=self.backend_args)
        if values.shape != tuple(results['ori_shape']):
            raise ValueError(
                f'label map {path}: its size (height, width) is {values.shape}, but the image '
                f'{results["img_path"]} has {tuple(results["ori_shape"])}'
            )
        table = lookup_table(results['label_map'], reduce_zero_label=results['reduce_zero_label'])
        present = present_values(values)
        check_palette(path, present, palette, table)
        check_values(path, present, table)
        # what is no label does not occur, so that its place in the table does not matter
        results['gt_seg_map'] = cv2.LUT(values, table.astype(np.uint8))
        results['seg_fields'].append('gt_seg_map')
        return results

    def __repr__(self) -> str:
        """Return the arguments."""
        return f'{type(self).__name__}(backend_args={self.backend_args})'
