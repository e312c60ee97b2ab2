"""Kept pictures, drawn for a page."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..drawing import Segment, draw_segments, enlargement
from .collected import NOTHING, KeptPicture
from .plots import data_uri, short

_SIDE, _FONT = 200, 12


@dataclass(frozen=True)
class Panel:
    """A drawn picture: what it shows, and its data URI; the URI is empty if it is missing."""

    caption: str
    uri: str


@dataclass(frozen=True)
class PictureRow:
    """Pictures of one image, and the names and colours of the classes on them."""

    name: str
    panels: Sequence[Panel]
    legend: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Names:
    """Names and colours by dataset label."""

    classes: Sequence[str]
    palette: Sequence[tuple[int, int, int]]

    def segments(self, codes: NDArray[np.int32]) -> list[Segment]:
        """Return the segments of a map of codes."""
        return [
            Segment(codes == code, short(self.classes[code % 1000]), self.palette[code % 1000])
            for code in np.unique(codes).tolist()
            if code != NOTHING and code % 1000 < len(self.classes)
        ]

    def legend(self, maps: Sequence[NDArray[np.int32]]) -> list[tuple[str, str]]:
        """Return name and CSS colour of each class on some maps."""
        codes = np.unique(np.concatenate([np.unique(codes) for codes in maps]))
        labels = sorted({code % 1000 for code in codes.tolist() if code != NOTHING})
        return [
            (self.classes[label], 'rgb({}, {}, {})'.format(*self.palette[label]))
            for label in labels
            if label < len(self.classes)
        ]


def picture_row(
    picture: KeptPicture, maps: Mapping[str, NDArray[np.int32] | None], names: Names
) -> PictureRow:
    """Draw an image and maps over it.

    Args:
        picture: Name and image.
        maps: By caption, the maps to draw; None where one is missing.
        names: Names and colours of the classes.
    """
    panels = [
        Panel(caption, '' if drawn is None else _uri(drawn))
        for caption, drawn in draw_panels(picture, maps, names)
    ]
    known = [codes for codes in maps.values() if codes is not None]
    return PictureRow(picture.name, panels, names.legend(known) if known else [])


def draw_panels(
    picture: KeptPicture, maps: Mapping[str, NDArray[np.int32] | None], names: Names
) -> list[tuple[str, NDArray[np.uint8] | None]]:
    """Draw an image, and maps over it, as pictures of one size with their captions.

    Args:
        picture: The image.
        maps: By caption, the maps to draw; None where one is missing.
        names: Names and colours of the classes.

    Returns:
        Caption and picture, RGB; None in place of a map that is missing or of another size.
    """
    image = picture.image()
    panels: list[tuple[str, NDArray[np.uint8] | None]] = [('image', _plain(image))]
    for caption, codes in maps.items():
        fits = codes is not None and codes.shape == image.shape[:2]
        drawn = _drawn(image, names.segments(codes)) if fits and codes is not None else None
        panels.append((caption, drawn))
    return panels


def _drawn(image: NDArray[np.uint8], segments: Sequence[Segment]) -> NDArray[np.uint8]:
    return draw_segments(image, segments, smallest_side=_SIDE, font_size=_FONT)


def _plain(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    scale = enlargement(image.shape[0], image.shape[1], _SIDE)
    return image.repeat(scale, axis=0).repeat(scale, axis=1)


def _uri(picture: NDArray[np.uint8]) -> str:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, 'JPEG', quality=82)
    return data_uri(file.getvalue(), 'image/jpeg')
