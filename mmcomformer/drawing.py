"""Pictures of labelled segments: colours, outlines, class names, and hatching where none is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

SMALLEST_SIDE = 480
"""Smaller images are enlarged to this many pixels, so that names can be read."""
_MARGIN, _TITLE_HEIGHT = 10, 30
_OPACITY = 0.55
_INK, _PAPER = (34, 34, 34), (255, 255, 255)


@dataclass(frozen=True)
class Segment:
    """A region with a name and a colour.

    Attributes:
        mask: Its pixels, (H, W), bool.
        name: What to write on it.
        colour: RGB, 0 to 255.
    """

    mask: np.ndarray
    name: str
    colour: tuple[int, int, int]


def draw_segments(
    image: np.ndarray,
    segments: Sequence[Segment],
    *,
    smallest_side: int = SMALLEST_SIDE,
    font_size: int = 15,
) -> np.ndarray:
    """Draw segments over an image, and hatch the pixels that no segment covers.

    Args:
        image: RGB, uint8, shape (H, W, 3).
        segments: What to draw; later ones lie on top.
        smallest_side: A smaller image is enlarged to this many pixels.
        font_size: Size of the names, pixels.

    Returns:
        The picture, RGB, uint8, enlarged if the image is small.
    """
    scale = enlargement(image.shape[0], image.shape[1], smallest_side)
    large = _enlarge(image, scale)
    masks = [_enlarge(segment.mask.astype(np.uint8), scale) > 0 for segment in segments]
    covered = np.zeros(large.shape[:2], dtype=bool)
    picture = large.astype(np.float32)
    for segment, mask in zip(segments, masks, strict=True):
        covered |= mask
        tint = np.array(segment.colour, np.float32)
        picture[mask] = (1 - _OPACITY) * large[mask] + _OPACITY * tint
    picture = _hatch(picture, ~covered)
    for segment, mask in zip(segments, masks, strict=True):
        _outline(picture, mask, segment.colour)
    return _write_names(picture, segments, masks, font_size)


def enlargement(height: int, width: int, smallest_side: int = SMALLEST_SIDE) -> int:
    """Return the whole factor by which an image is enlarged before it is drawn on.

    Example:
        >>> enlargement(96, 96), enlargement(640, 480)
        (5, 1)
    """
    return max(1, -(-smallest_side // min(height, width)))


def _enlarge(array: np.ndarray, scale: int) -> np.ndarray:
    return array if scale == 1 else array.repeat(scale, axis=0).repeat(scale, axis=1)


def _hatch(picture: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Turn a region grey and draw diagonal lines over it."""
    rows, columns = np.indices(where.shape)
    stripe = (rows + columns) % 14 < 3
    grey = picture.mean(-1, keepdims=True)
    faded = np.where(stripe[..., None], 70.0, 0.45 * grey + 0.55 * 235)
    return np.where(where[..., None], faded, picture).astype(np.uint8)


def _outline(picture: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int]) -> None:
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    dark = [int(0.55 * channel) for channel in colour]
    cv2.drawContours(picture, contours, -1, dark, 2, cv2.LINE_AA)


def _write_names(
    picture: np.ndarray, segments: Sequence[Segment], masks: Sequence[np.ndarray], font_size: int
) -> np.ndarray:
    canvas = Image.fromarray(picture)
    draw, font = ImageDraw.Draw(canvas), _font(font_size)
    taken: list[tuple[float, float, float, float]] = []
    # names of small segments have the least room, and are placed first
    for index in sorted(range(len(segments)), key=lambda i: int(masks[i].sum())):
        if masks[index].any():
            box = _place(draw, font, segments[index].name, masks[index], taken)
            draw.rounded_rectangle(box, 4, fill=_INK)
            draw.text((box[0] + 4, box[1] + 1), segments[index].name, _PAPER, font)
            taken.append(box)
    return np.asarray(canvas)


def _place(
    draw: ImageDraw.ImageDraw,
    font: ImageFont.FreeTypeFont,
    name: str,
    mask: np.ndarray,
    taken: Sequence[tuple[float, float, float, float]],
) -> tuple[float, float, float, float]:
    """Return the box for a name: at the innermost point of a segment that is still free."""
    left, _, right, bottom = draw.textbbox((0, 0), name, font)
    width, height = right - left + 8, bottom + 5
    distance = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
    best = (0.0, 0.0, width, height)
    for attempt in range(6):
        y, x = np.unravel_index(int(distance.argmax()), mask.shape)
        x0 = float(np.clip(x - width / 2, 0, max(0, mask.shape[1] - width)))
        y0 = float(np.clip(y - height / 2, 0, max(0, mask.shape[0] - height)))
        box = (x0, y0, x0 + width, y0 + height)
        if attempt == 0:
            best = box
        if not any(_overlap(box, other) for other in taken):
            return box
        # look elsewhere in the segment
        top, side = int(max(0, y0 - height)), int(max(0, x0 - width / 2))
        distance[top : int(y0 + 2 * height), side : int(x0 + 1.5 * width)] = 0
        if not distance.any():
            break
    return best


def _overlap(
    first: tuple[float, float, float, float], second: tuple[float, float, float, float]
) -> bool:
    apart = (
        first[2] <= second[0]
        or second[2] <= first[0]
        or first[3] <= second[1]
        or second[3] <= first[1]
    )
    return not apart


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    # it comes with matplotlib, which mmengine needs, and knows more than ASCII
    from matplotlib.font_manager import findfont

    return ImageFont.truetype(findfont('DejaVu Sans'), size)


def join_panels(panels: Sequence[tuple[str, np.ndarray]], title: str) -> np.ndarray:
    """Put pictures side by side, each under its caption and all under a title.

    Args:
        panels: Caption and picture (RGB, uint8, all of the same size) of each.
        title: What stands above them.

    Returns:
        The picture, RGB, uint8.
    """
    height, width = panels[0][1].shape[:2]
    total = len(panels) * (width + _MARGIN) + _MARGIN
    canvas = Image.new('RGB', (total, height + 2 * _TITLE_HEIGHT + _MARGIN), _PAPER)
    draw = ImageDraw.Draw(canvas)
    draw.text((_MARGIN, 6), title, _INK, _font(17))
    for index, (caption, picture) in enumerate(panels):
        x = _MARGIN + index * (width + _MARGIN)
        draw.text((x, _TITLE_HEIGHT + 5), caption, (90, 90, 90), _font(14))
        canvas.paste(Image.fromarray(picture), (x, 2 * _TITLE_HEIGHT))
    return np.asarray(canvas)
