"""Masks of COCO's instance annotations: polygons and run lengths."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from .json_types import described


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
    if not isinstance(segmentation, list):
        raise ValueError(
            f'segmentation: expected a list of polygons, or run lengths, got '
            f'{described(segmentation)}'
        )
    if segmentation and not any(isinstance(polygon, list) for polygon in segmentation):
        raise ValueError(
            f'segmentation: expected a list of polygons, [[x, y, x, y, ...], ...], got a list of '
            f'{described(segmentation[0])}'
        )
    polygons = [_checked_polygon(polygon, size) for polygon in segmentation]
    # fewer than three points have no area; pycocotools would take four numbers for a box
    polygons = [polygon for polygon in polygons if len(polygon) >= _TRIANGLE]
    if not polygons:
        return np.zeros(size, dtype=bool)
    encoded = coco_mask.merge(coco_mask.frPyObjects(polygons, *size))
    return coco_mask.decode(encoded).astype(bool)


def encode_mask(mask: np.ndarray) -> dict[str, Any]:
    """Return the run lengths of a mask (H, W), bool, as COCO's results have them.

    Example:
        >>> encode_mask(np.eye(2, dtype=bool))
        {'size': [2, 2], 'counts': '0120'}
    """
    encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {'size': list(encoded['size']), 'counts': encoded['counts'].decode('ascii')}


def mask_box(encoded: Mapping[str, Any]) -> list[float]:
    """Return the box of run lengths with text counts: x, y, width, height, pixels.

    Example:
        >>> mask_box({'size': [2, 2], 'counts': '0120'})
        [0.0, 0.0, 2.0, 2.0]
    """
    return coco_mask.toBbox(dict(encoded)).tolist()


_TRIANGLE = 6
"""How many numbers three points are."""
_LONGEST = 5_000_000
"""Longest outline that is drawn, in pixels; pycocotools takes 40 bytes for each."""


def why_empty(segmentation: Any) -> str:
    """Return why an instance has no pixel, in words for a count."""
    if segmentation is None or segmentation == []:
        return 'instances with a box only, left out'
    if isinstance(segmentation, list) and all(len(polygon) < _TRIANGLE for polygon in segmentation):
        return 'outlines of fewer than three points, left out'
    return 'masks without a pixel, left out'


_TINY = 4
"""Sides of an image up to which shares cannot be told from pixels."""


def shares_instead_of_pixels(
    annotations: Sequence[Mapping[str, Any]], size: tuple[int, int]
) -> str:
    """Return why the polygons of an image cannot be pixels, for a message; empty if they can.

    Args:
        annotations: All annotations of the image.
        size: Its height and width.

    Example:
        >>> triangle = {'id': 7, 'segmentation': [[0.1, 0.2, 0.9, 0.2, 0.5, 0.8]]}
        >>> print(shares_instead_of_pixels([triangle], (480, 640))[:73])
        annotation 7: segmentation: the coordinates look like shares of the image
        >>> shares_instead_of_pixels([triangle], (4, 4))
        ''
    """
    outlines = [annotation.get('segmentation', []) for annotation in annotations]
    if max(size) <= _TINY or not look_like_shares(outlines):
        return ''
    first = next(i for i, outline in enumerate(outlines) if outline and isinstance(outline, list))
    return (
        f'annotation {annotations[first].get("id")!r}: segmentation: the coordinates look like '
        f'shares of the image, from 0 to 1, as in YOLO: {described(outlines[first])}; expected '
        f'pixels: multiply x by {size[1]} and y by {size[0]}'
    )


def look_like_shares(segmentations: Iterable[Any]) -> bool:
    """Tell whether the coordinates of all polygons are fractions of the image, as in YOLO.

    Run lengths, as crowds have them, say nothing about it.

    Example:
        >>> look_like_shares([[[0.1, 0.2, 0.9, 0.2, 0.5, 0.8]], {'size': [9, 9], 'counts': [81]}])
        True
        >>> look_like_shares([[[0, 0, 1, 0, 1, 1]], [[0.1, 0.2, 30, 0.2, 0.5, 0.8]]])
        False
    """
    fraction = False
    for segmentation in segmentations:
        if isinstance(segmentation, Mapping):
            continue
        for polygon in segmentation if isinstance(segmentation, list) else [(2,)]:
            values = polygon if isinstance(polygon, (list, tuple)) else (2,)
            # a number of another type is a fault of its own
            if not all(
                isinstance(value, (int, float)) and -0.5 <= value <= 1.5 for value in values
            ):
                return False
            fraction = fraction or any(value % 1 for value in values)
    return fraction


def _checked_polygon(polygon: Any, size: tuple[int, int]) -> list[float]:
    expected = 'segmentation: expected a polygon as a list x, y, x, y, ... of pixels'
    if not isinstance(polygon, list):
        raise ValueError(f'{expected}, got {described(polygon)}')
    if not set(map(type, polygon)) <= {int, float}:
        wrong = next(value for value in polygon if type(value) not in (int, float))
        what = 'a list of points' if isinstance(wrong, (list, dict)) else 'a coordinate'
        raise ValueError(f'{expected}, got {what}: {described(wrong)}')
    if len(polygon) % 2:
        raise ValueError(f'{expected}, got {len(polygon)} numbers: {described(polygon)}')
    if len(polygon) == 2:
        raise ValueError(
            f'{expected}, got {described(polygon)}, a single point; is it a list of points?'
        )
    _check_extent(polygon, size, expected)
    return polygon


def _check_extent(polygon: list[float], size: tuple[int, int], expected: str) -> None:
    """Refuse coordinates that no annotator can mean, which would take gigabytes to draw."""
    try:
        points = np.array(polygon, dtype=np.float64).reshape(-1, 2)
    except OverflowError:
        points = np.full((1, 2), np.inf)
    if not np.isfinite(points).all():
        raise ValueError(f'{expected}, got a coordinate that is not finite: {described(polygon)}')
    extent = np.array([size[1], size[0]])
    # annotators overshoot, and small images are often tiles of larger ones
    margin = np.maximum(extent, 1000)
    if points.size and ((points < -margin) | (points > extent + margin)).any():
        far = points[((points < -margin) | (points > extent + margin)).any(axis=1)][0].tolist()
        raise ValueError(
            f'{expected}, got the point x = {far[0]:g}, y = {far[1]:g}, which is far outside the '
            f'image of {size[0]} x {size[1]} (height x width)'
        )
    outline = np.abs(points - np.roll(points, 1, axis=0)).max(axis=1).sum() if points.size else 0
    if outline > _LONGEST:
        raise ValueError(
            f'{expected}, got an outline of {outline:.0f} pixels with {len(points)} points, which '
            f'cannot be one object'
        )


def _decode_runs(segmentation: Mapping[str, Any], size: tuple[int, int]) -> np.ndarray:
    counts, found = segmentation.get('counts'), segmentation.get('size')
    if not isinstance(found, Sequence) or tuple(found) != tuple(size):
        raise ValueError(
            f'run lengths of size {described(found)} do not fit the image of {size[0]} x {size[1]} '
            f'(height x width)'
        )
    if isinstance(counts, bytes):
        counts = counts.decode('ascii')
    runs = text_runs(counts) if isinstance(counts, str) else counts
    if not isinstance(runs, Sequence) or not set(map(type, runs)) <= {int}:
        wrong = runs
        if isinstance(runs, Sequence):
            wrong = next(run for run in runs if type(run) is not int)
        raise ValueError(
            f'counts: expected a list of run lengths, or their text, got {described(wrong)}'
        )
    if min(runs, default=0) < 0 or sum(runs) != size[0] * size[1]:
        raise ValueError(
            f'the run lengths do not add up to {size[0]} x {size[1]} pixels; they are damaged'
        )
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(size, order='F')


_LONGEST_NUMBER = 60
"""Bits of a run length, of which damaged text could have any number."""


def text_runs(text: str) -> list[int]:
    """Return the run lengths that COCO's compressed text holds.

    Each character holds five bits, lowest first, and whether the number goes on; from the third
    number on, numbers are differences to the one before the last.

    Raises:
        ValueError: If the text ends within a number, or has characters of another kind.

    Example:
        >>> text_runs('52203')
        [5, 2, 2, 2, 5]
    """
    numbers: list[int] = []
    value, shift = 0, 0
    if not all('0' <= character <= 'o' for character in text):
        raise ValueError('counts: expected the text of run lengths, got other characters')
    for character in text:
        bits = ord(character) - 48
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20 and shift < _LONGEST_NUMBER:
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
