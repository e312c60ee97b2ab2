"""Colours of classes that can be told apart.

Pure Python. Distances are Euclidean in CIELAB (D65), where a distance of 2 is just noticed.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from functools import lru_cache
from math import dist

Colour = tuple[int, int, int]
"""Red, green, blue, 0 to 255."""

LEAST_DISTANCE = 5.0
"""Two classes nearer than this in CIELAB look alike when their segments are translucent."""


def distinct_palette(given: object, num_classes: int) -> list[Colour]:
    """Return an RGB colour for each class, those of a palette where they differ from each other.

    A class whose colour looks like one before it, or that the palette has no colour for, gets one
    that is as far from all others as possible.

    Args:
        given: The palette of a dataset, a sequence of RGB; anything else counts as none. A dataset
            class whose names a config replaces keeps a palette of another length.
        num_classes: Number of classes.

    Example:
        >>> distinct_palette([(200, 0, 0), (0, 0, 200), (0, 2, 200)], 3)[:2]
        [(200, 0, 0), (0, 0, 200)]
    """
    colours = given if isinstance(given, (list, tuple)) else []
    known = tuple((int(r), int(g), int(b)) for r, g, b in colours)
    return list(_fitted(known[:num_classes], num_classes))


@lru_cache(maxsize=32)
def _fitted(given: Sequence[Colour], num_classes: int) -> tuple[Colour, ...]:
    labs = [_lab(colour) for colour in given]
    kept: dict[int, tuple[float, float, float]] = {}
    for index, lab in enumerate(labs):
        if all(dist(lab, other) >= LEAST_DISTANCE for other in kept.values()):
            kept[index] = lab
    made = _far_apart(list(kept.values()), num_classes - len(kept))
    return tuple(given[i] if i in kept else made.pop(0) for i in range(num_classes))


def _far_apart(taken: Sequence[tuple[float, float, float]], count: int) -> list[Colour]:
    """Return colours each of which is the farthest from those before it."""
    if count <= 0:
        return []
    candidates = [(colour, _lab(colour)) for colour in _candidates()]
    nearest = [
        min((dist(lab, other) for other in taken), default=_PREFERENCE - index)
        for index, (_, lab) in enumerate(candidates)
    ]
    found = []
    for _ in range(count):
        best = max(range(len(candidates)), key=nearest.__getitem__)
        colour, chosen = candidates[best]
        found.append(colour)
        nearest = [
            min(old, dist(lab, chosen)) for old, (_, lab) in zip(nearest, candidates, strict=True)
        ]
    return found


_PREFERENCE = 1e6
_HUES = 48
_TONES = ((0.75, 0.9), (0.9, 0.6), (0.4, 0.95), (0.45, 0.65), (1.0, 0.4), (0.25, 0.8), (1.0, 0.75))


def _candidates() -> list[Colour]:
    """Return colours that are neither grey nor nearly black: what is unlabelled is drawn grey."""
    found = []
    for saturation, value in _TONES:
        for step in range(_HUES):
            red, green, blue = colorsys.hsv_to_rgb(step / _HUES, saturation, value)
            found.append((round(255 * red), round(255 * green), round(255 * blue)))
    return found


def _lab(colour: Colour) -> tuple[float, float, float]:
    red, green, blue = map(_linear, colour)
    x = _root((0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.9505)
    y = _root(0.2126 * red + 0.7152 * green + 0.0722 * blue)
    z = _root((0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.089)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def _linear(channel: int) -> float:
    value = channel / 255
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def _root(value: float) -> float:
    return value ** (1 / 3) if value > 0.008856 else 7.787 * value + 16 / 116
