"""How labels of several kinds become one panoptic map: pure rules on arrays.

They are those of COCO's converters, with one difference: area and box are those of the pixels that
a segment has in the map, and a segment that has none is left out (the public converter of ADE20K
measures a segment before others are pasted over it).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from scipy.ndimage import find_objects

from ..datasets.panoptic_png import MAX_ID

OVERLAP_RULES = ('larger-first', 'later', 'error')
"""What covers where instances overlap; the first one is the default."""
_COLOUR_STEP = 10368889
"""An odd number, so that the multiples modulo 2**24 differ; they differ to the eye as well."""


class Segment(NamedTuple):
    """Category of a segment, and whether it is a crowd."""

    category_id: int
    iscrowd: bool = False


@dataclass
class PanopticMap:
    """A panoptic map and what belongs to it.

    Args:
        ids: Segment id of each pixel, int32, shape (H, W); 0 is VOID.
        segments_info: One dict per segment, as in COCO's panoptic annotations.
        notes: What was left out or decided, and how many times.
    """

    ids: np.ndarray
    segments_info: list[dict[str, Any]]
    notes: Counter[str] = field(default_factory=Counter)


def distinct_id(number: int) -> int:
    """Return the id of the ``number``-th segment of an image, counted from 1.

    Example:
        >>> distinct_id(1), distinct_id(2)
        (10368889, 3960562)
    """
    return number * _COLOUR_STEP % (MAX_ID + 1)


def make_panoptic_map(
    layers: np.ndarray, segments: Sequence[Segment], *, ids: Sequence[int] | None = None
) -> tuple[PanopticMap, list[int]]:
    """Return the panoptic map of segments that do not overlap any more.

    Args:
        layers: ``k + 1`` where segment ``k`` is, 0 for VOID; integers, shape (H, W).
        segments: The segments.
        ids: Their ids in the map; by default distinct ones that depend on their order only.

    Returns:
        The map, and the positions of the segments without a pixel, which it does not list.

    Example:
        >>> layers = np.array([[1, 1, 0], [1, 0, 0]])
        >>> panoptic, hidden = make_panoptic_map(layers, [Segment(7), Segment(3)], ids=[5, 6])
        >>> panoptic.segments_info
        [{'id': 5, 'category_id': 7, 'iscrowd': 0, 'bbox': [0, 0, 2, 2], 'area': 3}]
        >>> hidden
        [1]
    """
    if ids is None:
        ids = [distinct_id(number + 1) for number in range(len(segments))]
    areas = np.bincount(layers.ravel(), minlength=len(segments) + 1)[1:].tolist()
    boxes = find_objects(layers, max_label=len(segments)) if segments else []
    segments_info, hidden = [], []
    for position, (segment, box) in enumerate(zip(segments, boxes, strict=True)):
        if box is None:
            hidden.append(position)
            continue
        rows, columns = box
        segments_info.append(
            {
                'id': int(ids[position]),
                'category_id': int(segment.category_id),
                'iscrowd': int(segment.iscrowd),
                'bbox': [
                    columns.start,
                    rows.start,
                    columns.stop - columns.start,
                    rows.stop - rows.start,
                ],
                'area': areas[position],
            }
        )
    table = np.array([0, *ids], dtype=np.int32)
    return PanopticMap(table[layers], segments_info), hidden


def paste_instances(
    base: np.ndarray,
    masks: Sequence[np.ndarray],
    crowds: Sequence[bool],
    *,
    first: int,
    overlap: str,
) -> tuple[np.ndarray, int]:
    """Paste instances onto a map of stuff.

    Crowds go below the other instances, so that the region of a group hides none of its members.

    Args:
        base: The map of stuff, integers, shape (H, W).
        masks: Their masks, bool, shape (H, W), in the order of the file.
        crowds: Whether each is a crowd.
        first: What the map holds where the first instance is; the others follow.
        overlap: ``'larger-first'``: the smaller one covers, ``'later'``: the later one in the
            file covers, or ``'error'`` as in COCO's converter.

    Returns:
        The new map, and the number of pixels that more than one instance claims.

    Raises:
        ValueError: If instances overlap and that is an error.
    """
    layers = base.copy()
    claims = np.zeros(base.shape, dtype=np.int32)
    areas = [int(mask.sum()) for mask in masks]
    for mask in masks:
        claims += mask
    shared = int((claims > 1).sum())
    if shared and overlap == 'error':
        raise ValueError(
            f'{shared} pixels belong to more than one instance; choose which one covers '
            f'(--overlap {" or ".join(OVERLAP_RULES[:-1])})'
        )

    def order(position: int) -> tuple[bool, int, int]:
        area = -areas[position] if overlap == 'larger-first' else 0
        return (not crowds[position], area, position)

    for position in sorted(range(len(masks)), key=order):
        layers[masks[position]] = first + position
    return layers, shared


def stuff_layers(labels: np.ndarray, categories: Sequence[int]) -> tuple[np.ndarray, list[Segment]]:
    """Return the layer of each pixel of a map of labels, and the segments that are there.

    Args:
        labels: Non-negative integers, shape (H, W).
        categories: The category of each label; negative for those that are no stuff.
    """
    present = [label for label in np.unique(labels).tolist() if categories[label] >= 0]
    table = np.zeros(len(categories), dtype=np.int32)
    table[present] = np.arange(1, len(present) + 1)
    return table[labels], [Segment(categories[label]) for label in present]
