"""PNG files of labels. What a converter writes also holds the record of how it was made.

The record is a private chunk of the PNG, which other programs skip. One file, renamed into place,
holds the picture and its segments: a conversion that was killed can go on from the files alone.
"""

from __future__ import annotations

import errno
import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from ..atomic import replaced_file

_SIGNATURE = b'\x89PNG\r\n\x1a\n'
_RECORD = b'coMF'
"""Type of the chunk: ancillary, private, and not to be copied into another picture."""

_FIRST_TURNED = 5
"""From this EXIF orientation on, rows and columns are exchanged."""


class ChannelError(ValueError):
    """A picture cannot be labels, because of how many channels it has, or of which type."""


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(kind + data)
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', checksum)


def write_png(path: Path, image: np.ndarray, record: dict[str, Any]) -> None:
    """Write a picture with its record; the file is complete or not there.

    Args:
        path: The file; its folder is created.
        image: uint8, shape (H, W), or (H, W, 3) in RGB.
        record: Anything that JSON can hold.

    Raises:
        OSError: If it cannot be written; the error names the file.
    """
    channels = image if image.ndim == 2 else image[..., ::-1]
    done, encoded = cv2.imencode('.png', channels, [cv2.IMWRITE_PNG_COMPRESSION, 6])
    if not done:
        raise OSError(errno.EIO, 'it could not be encoded', str(path))
    content = encoded.tobytes()
    # the header chunk has 13 bytes of data
    end = len(_SIGNATURE) + 12 + 13
    chunk = _chunk(_RECORD, zlib.compress(json.dumps(record).encode()))
    try:
        with replaced_file(path, sync=False) as temporary:
            temporary.write_bytes(content[:end] + chunk + content[end:])
    except OSError as error:
        # what fails in writing does not name the file
        raise OSError(error.errno, error.strerror, str(path)) from error


def read_record(path: Path) -> dict[str, Any] | None:
    """Return the record of a PNG; None if it is missing, damaged, or not written by a converter."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    if not content.startswith(_SIGNATURE):
        return None
    position, record = len(_SIGNATURE), None
    while position + 12 <= len(content):
        (length,) = struct.unpack_from('>I', content, position)
        kind = content[position + 4 : position + 8]
        data = content[position + 8 : position + 8 + length]
        if content[position : position + 12 + length] != _chunk(kind, data):
            return None
        if kind == _RECORD:
            record = json.loads(zlib.decompress(data))
        if kind == b'IEND':
            return record
        position += 12 + length
    return None


def read_labels(path: Path, *, channels: int = 1, content: bytes | None = None) -> np.ndarray:
    """Read a PNG of labels; of a picture with a palette the indices are read.

    Args:
        path: The file.
        channels: 1, or 3 for RGB.
        content: What the file holds, if it was read already.

    Returns:
        Integers, shape (H, W) or (H, W, 3).

    Raises:
        FileNotFoundError: If there is no such file.
        ChannelError: If it has another number of channels, or one bit per pixel.
        ValueError: If it is damaged.
    """
    with _opened(path, content) as image:
        try:
            labels = np.array(image)
        except (OSError, SyntaxError) as error:
            raise ValueError(f'{path} is damaged ({error}); get it again') from error
    found = 1 if labels.ndim == 2 else labels.shape[2]
    if found != channels or labels.dtype == bool:
        raise ChannelError(
            f'{path}: expected a picture of {channels} channel(s) with labels, got {found} '
            f'channel(s) of mode {image.mode}'
        )
    return labels


def image_size(path: Path) -> tuple[int, int]:
    """Return height and width of an image file without reading its pixels.

    They are those of the picture as OpenCV loads it, turned as its EXIF data say.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no image.
    """
    with _opened(path) as image:
        width, height = image.size
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) >= _FIRST_TURNED
    return (width, height) if turned else (height, width)


def _opened(path: Path, content: bytes | None = None) -> Image.Image:
    try:
        return Image.open(path if content is None else io.BytesIO(content))
    except FileNotFoundError as error:
        raise FileNotFoundError(f'{path} does not exist') from error
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError(f'{path} cannot be read as an image ({error}); get it again') from error


def check_size(path: Path, labels: np.ndarray, size: tuple[int, int]) -> None:
    """Check that labels have the size of their image, (height, width).

    Raises:
        ValueError: If they differ.
    """
    if labels.shape[:2] != tuple(size):
        height, width = labels.shape[:2]
        raise ValueError(
            f'{path} has {height} x {width} pixels and its image has {size[0]} x {size[1]} '
            f'(height x width)'
        )


def check_values(path: Path, labels: np.ndarray, known: np.ndarray, expected: str) -> None:
    """Check that every label is known.

    Args:
        path: The file, for the message.
        labels: Non-negative integers, any shape.
        known: Whether each value is known, bool, shape (number of values,).
        expected: The known values in words.

    Raises:
        ValueError: If one is not.
    """
    values = np.unique(labels)
    unknown = [int(value) for value in values if value >= len(known) or not known[value]]
    if unknown:
        raise ValueError(f'{path}: expected {expected}, got {unknown[:10]}')
