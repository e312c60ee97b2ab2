"""Loading a panoptic PNG as one small integer map."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

from ...registry import TRANSFORMS
from ..panoptic_png import read_panoptic_png, run_starts


def relabel_segments(
    ids: np.ndarray, segment_ids: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Replace the id of each segment in a map by another value.

    Args:
        ids: Segment id of each pixel, int32, shape (H, W); 0 is VOID and stays 0.
        segment_ids: The known segments, distinct ids above 0, shape (N,).
        values: What each becomes, shape (N,).

    Returns:
        The new map, uint8 if that holds all values, else int32, shape (H, W), with 0 where the id
        is unknown; whether each known segment occurs, bool, shape (N,); the unknown ids that
        occur, ascending.

    Example:
        >>> ids = np.array([[0, 7], [9, 3]], dtype=np.int32)
        >>> relabel_segments(ids, np.array([9, 7, 5]), np.array([1, 2, 3]))[0].tolist()
        [[0, 2], [1, 0]]
    """
    flat = ids.ravel()
    # a run needs one search only
    starts = run_starts(flat)
    run_ids = flat[starts]
    order = np.argsort(segment_ids, kind='stable')
    known_ids = np.concatenate([[0], segment_ids[order]])
    position = np.searchsorted(known_ids, run_ids).clip(max=len(known_ids) - 1)
    known = known_ids[position] == run_ids
    position[~known] = 0
    new_values = np.concatenate([[0], values[order]])
    # what reads the map later has a quarter to read
    new_values = new_values.astype(np.uint8 if new_values.max() < 256 else np.int32)
    lengths = np.diff(starts, append=flat.size)
    relabelled = np.repeat(new_values[position], lengths).reshape(ids.shape)
    present = np.zeros(len(segment_ids), dtype=bool)
    occurring = np.bincount(position, minlength=len(known_ids))[1:] > 0
    present[order] = occurring
    return relabelled, present, np.unique(run_ids[~known])


@TRANSFORMS.register_module()
class LoadPanopticIdMap(BaseTransform):
    """Load the panoptic PNG of an image as one integer map that other transforms can carry along.

    Visible segments become 1, 2, ... in the order of ``gt_segments``; hidden ones and VOID become
    0, so that padding with 0 is right everywhere. In a test pipeline this comes after the resizing
    and the map keeps the size of the image file. An input without ``seg_map_path`` (a user's own
    image) is left as it is.

    Required keys: ``seg_map_path``, ``segments``, ``ori_shape``.
    Added keys: ``gt_seg_map`` (uint8 up to 255 visible segments, else int32, shape (H, W)),
    ``gt_segments`` (list of dicts with ``id``, ``label`` and ``iscrowd``).

    Args:
        allow_empty_segments: Accept segments without a pixel in the PNG. By default they are an
            error, as are pixels of segments that the annotation does not list.
        backend_args: Arguments of mmengine's file backend.

    Raises:
        FileNotFoundError: If the PNG does not exist.
        ValueError: If it is unreadable, of another size than the image, or does not hold the
            segments of the annotation.
    """

    def __init__(
        self,
        *,
        allow_empty_segments: bool = False,
        backend_args: dict[str, Any] | None = None,
    ) -> None:
        self.allow_empty_segments = allow_empty_segments
        self.backend_args = backend_args

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add the map and the segments that it shows to the results."""
        path = results.get('seg_map_path')
        if path is None:
            return results
        ids = read_panoptic_png(path, backend_args=self.backend_args)
        if ids.shape != tuple(results['ori_shape']):
            raise ValueError(
                f'panoptic PNG {path}: its size (height, width) is {ids.shape}, but the image '
                f'{results["img_path"]} has {tuple(results["ori_shape"])}'
            )
        segments = results['segments']
        segment_ids = np.array([segment['id'] for segment in segments], dtype=np.int32)
        visible = np.array([segment['visible'] for segment in segments], dtype=bool)
        values = np.where(visible, np.cumsum(visible), 0)
        results['gt_seg_map'], present, unknown = relabel_segments(ids, segment_ids, values)
        self._check_segments(results, unknown, segment_ids[~present])
        results['gt_segments'] = [
            {key: segment[key] for key in ('id', 'label', 'iscrowd')}
            for segment in segments
            if segment['visible']
        ]
        return results

    def _check_segments(
        self, results: dict[str, Any], unknown: np.ndarray, empty: np.ndarray
    ) -> None:
        where = f'panoptic PNG {results["seg_map_path"]} (image {results["img_path"]})'
        if unknown.size:
            raise ValueError(
                f'{where}: the annotation does not list the segment ids {_some(unknown)} of its '
                f'pixels; the PNG belongs to another image or another annotation file'
            )
        if empty.size and not self.allow_empty_segments:
            raise ValueError(
                f'{where}: no pixel has the segment ids {_some(empty)} that the annotation lists; '
                f'the PNG belongs to another image or another annotation file. If such segments '
                f'are expected, set LoadPanopticIdMap(allow_empty_segments=True)'
            )

    def __repr__(self) -> str:
        """Return the arguments."""
        return (
            f'{type(self).__name__}(allow_empty_segments={self.allow_empty_segments}, '
            f'backend_args={self.backend_args})'
        )


def _some(ids: np.ndarray, limit: int = 10) -> str:
    listed = ', '.join(map(str, ids[:limit].tolist()))
    return f'[{listed}, ... {len(ids)} in all]' if len(ids) > limit else f'[{listed}]'
