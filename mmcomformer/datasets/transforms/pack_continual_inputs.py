"""Packing an image and its segments for a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData, PixelData

from ...registry import TRANSFORMS
from ..panoptic_png import run_starts

META_KEYS = (
    'img_id',
    'img_path',
    'seg_map_path',
    'ori_shape',
    'img_shape',
    'scale_factor',
    'flip',
    'flip_direction',
)


def number_segments(
    seg_map: np.ndarray, segments: Sequence[dict[str, Any]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Number the segments that have pixels without gaps.

    Args:
        seg_map: Integers of shape (h, w); segment ``k`` has the value ``k + 1``, 0 is no segment.
        segments: The segments, with ``label``, the dataset label.

    Returns:
        Their n labels, int64, shape (n,), and a map in which segment ``k`` of them has the value
        ``k + 1``, shape (1, h, w), uint8 if that holds n, else int32.

    Raises:
        ValueError: If the map has a value that no segment has.
    """
    flat = np.ascontiguousarray(seg_map).ravel()
    # one value of each run of equal pixels is enough
    values = np.unique(flat[run_starts(flat)])
    values = values[values != 0]
    _check_values(values, len(segments))
    table = np.zeros(len(segments) + 1, np.uint8 if len(values) < 256 else np.int32)
    table[values] = np.arange(1, len(values) + 1)
    labels = [segments[value - 1]['label'] for value in values.tolist()]
    numbered = torch.from_numpy(table.take(flat).reshape(1, *seg_map.shape))
    return torch.tensor(labels, dtype=torch.int64), numbered


def _check_values(values: np.ndarray, num_segments: int) -> None:
    wrong = values[(values < 0) | (values > num_segments)].tolist()
    if wrong:
        raise ValueError(
            f'gt_seg_map has the values {wrong[:5]}, expected 0 to {num_segments}, the number of '
            'segments; if a transform pads or fills it, set its value for seg to 0, as in '
            'Pad(pad_val=dict(seg=0))'
        )


@TRANSFORMS.register_module()
class PackContinualInputs(BaseTransform):
    """Pack an image and its segments, as mmdet's ``PackDetInputs`` packs boxes and masks.

    The result is ``dict(inputs=Tensor (3, H, W), data_samples=DetDataSample)``. Where
    ``LoadPanopticIdMap`` found a ground truth, the sample holds it:

    - for training, ``gt_instances`` with ``labels`` (int64, dataset labels), one for each segment
      with pixels, things and stuff alike, and ``gt_panoptic_seg.sem_seg``, an integer tensor of
      shape (1, H, W) in which 0 is not labelled and ``k`` is the segment of ``labels[k - 1]``. A
      mask for each segment would take longer from a worker process to the training than the
      whole pipeline (docs/performance.md);
    - for evaluation, ``gt_panoptic_seg.sem_seg``, an integer tensor of shape (1, H, W) in which 0
      is VOID and ``k`` is ``segments[k - 1]``, and the metadata ``segments``, a list of dicts with
      ``id``, ``label`` and ``iscrowd``. The map has the size that it has in the results: that of
      the image file if it was loaded after resizing.

    Args:
        evaluation: Whether the ground truth is for evaluation.
        meta_keys: Keys of the results to keep as metadata; those that are missing are left out, so
            that an image without annotations can pass.
    """

    def __init__(self, *, evaluation: bool = False, meta_keys: Sequence[str] = META_KEYS) -> None:
        self.evaluation = evaluation
        self.meta_keys = tuple(meta_keys)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Return the packed inputs and data sample."""
        sample = DetDataSample()
        sample.set_metainfo({key: results[key] for key in self.meta_keys if key in results})
        seg_map = results.get('gt_seg_map')
        if seg_map is not None and self.evaluation:
            tensor = torch.from_numpy(np.ascontiguousarray(seg_map)[None])
            sample.gt_panoptic_seg = PixelData(sem_seg=tensor)
            sample.set_metainfo({'segments': results['gt_segments']})
        elif seg_map is not None:
            labels, numbered = number_segments(seg_map, results['gt_segments'])
            sample.gt_instances = InstanceData(labels=labels)
            sample.gt_panoptic_seg = PixelData(sem_seg=numbered)
        return {'inputs': _to_tensor(results['img']), 'data_samples': sample}

    def __repr__(self) -> str:
        """Return the arguments."""
        return f'{type(self).__name__}(evaluation={self.evaluation}, meta_keys={self.meta_keys})'


def _to_tensor(image: np.ndarray) -> torch.Tensor:
    """Return an image of shape (H, W, C) as a tensor of shape (C, H, W) and the same type."""
    if image.ndim == 2:
        image = image[..., None]
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).contiguous()
