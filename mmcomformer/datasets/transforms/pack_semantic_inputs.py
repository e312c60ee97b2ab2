"""Packing an image and its label map for a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmseg.datasets.transforms import PackSegInputs

from ...registry import TRANSFORMS
from ..label_maps import IGNORE_LABEL, present_values

META_KEYS = (
    'img_id',
    'img_path',
    'seg_map_path',
    'ori_shape',
    'img_shape',
    'pad_shape',
    'scale_factor',
    'flip',
    'flip_direction',
    'reduce_zero_label',
    'hidden_label',
)


@TRANSFORMS.register_module()
class PackSemanticInputs(PackSegInputs):
    """Pack an image and its label map as mmseg's ``PackSegInputs`` does, and note its classes.

    The metadata ``gt_labels`` is the sorted tuple of the dataset labels that the packed map holds,
    without 255 and without ``hidden_label``, so that a model knows how many segments there are
    without waiting for the device that the map is on.

    Args:
        meta_keys: Keys of the results to keep as metadata; those that are missing are left out, so
            that an image without annotations can pass.

    Raises:
        TypeError: If the map is not uint8.
    """

    def __init__(self, *, meta_keys: Sequence[str] = META_KEYS) -> None:
        super().__init__(meta_keys=tuple(meta_keys))

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Return the packed inputs and data sample."""
        packed = super().transform(results)
        seg_map = results.get('gt_seg_map')
        if seg_map is not None:
            if seg_map.dtype != np.uint8:
                raise TypeError(
                    f'PackSemanticInputs: expected a uint8 gt_seg_map for '
                    f'{results.get("img_path")}, got {seg_map.dtype}'
                )
            labels = present_values(seg_map)
            nothing = (IGNORE_LABEL, results.get('hidden_label', IGNORE_LABEL))
            gt_labels = tuple(labels[~np.isin(labels, nothing)].tolist())
            packed['data_samples'].set_metainfo({'gt_labels': gt_labels})
        return packed
