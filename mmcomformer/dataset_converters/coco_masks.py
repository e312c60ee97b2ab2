"""Masks of COCO's instance annotations: polygons and run lengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask


def decode_mask(segmentation: Any, size: tuple[int, int]) -> np.ndarray:
    """Return the mask of a segmentation, bool, shape (H, W).

    Args:
        segmentation: Polygons, each a list of coordinates x, y, x, y, ... in pixels; or a dict
            with ``size`` and ``counts``, which is a list of run lengths, or their text.
        size: Height and width of the image.

    Raises:
        ValueError: If it is neither, or of another size.
    """
    if isinstance(segmentation, Mapping):
        return _decode_runs(segmentation, size)
    if not isinstance(segmentation, Sequence) or isinstance(segmentation, str):
        raise ValueError(f'expected polygons or run lengths, got {str(segmentation)[:80]!r}')
    polygons = [_checked_polygon(polygon) for polygon in segmentation]
    # fewer than three points have no area; pycocotools would take four numbers for a box
    polygons = [polygon for polygon in polygons if len(polygon) >= 6]
    if not polygons:
        return np.zeros(size, dtype=bool)
    encoded = coco_mask.merge(coco_mask.frPyObjects(polygons, *size))
    return coco_mask.decode(encoded).astype(bool)


def _checked_polygon(polygon: Any) -> list[float]:
    values = np.asarray(polygon, dtype=object)
    if values.ndim != 1 or len(values) % 2:
        raise ValueError(
            f'expected a polygon as a list of x, y, x, y, ..., got {str(polygon)[:80]}'
        )
    try:
        numbers = values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f'a polygon has a coordinate that is no number: {error}') from error
    if not np.isfinite(numbers).all():
        raise ValueError(f'a polygon has a coordinate that is not finite: {str(polygon)[:80]}')
    return numbers.tolist()


def _decode_runs(segmentation: Mapping[str, Any], size: tuple[int, int]) -> np.ndarray:
    counts, found = segmentation.get('counts'), segmentation.get('size')
    if not isinstance(found, Sequence) or tuple(found) != tuple(size):
        raise ValueError(
            f'run lengths of size {found} do not fit the image of {size[0]} x {size[1]} '
            f'(height x width)'
        )
    if isinstance(counts, bytes):
        counts = counts.decode('ascii')
    runs = text_runs(counts) if isinstance(counts, str) else counts
    if (
        not isinstance(runs, Sequence)
        or not all(isinstance(run, int) and run >= 0 for run in runs)
        or sum(runs) != size[0] * size[1]
    ):
        raise ValueError(
            f'the run lengths do not add up to {size[0]} x {size[1]} pixels; they are damaged'
        )
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(size, order='F')


def text_runs(text: str) -> list[int]:
    """Return the run lengths that COCO's compressed text holds.

    Each character holds five bits, lowest first, and whether the number goes on; from the third
    number on, numbers are differences to the one before the last.

    Raises:
        ValueError: If the text ends within a number.

    Example:
        >>> text_runs('52203')
        [5, 2, 2, 2, 5]
    """
    numbers: list[int] = []
    value, shift = 0, 0
    for character in text:
        bits = ord(character) - 48
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        numbers.append(value)
        value, shift = 0, 0
    if shift:
        raise ValueError('the text of run lengths ends within a number')
    for position in range(3, len(numbers)):
        numbers[position] += numbers[position - 2]
    return numbers
