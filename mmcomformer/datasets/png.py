"""PNG files of labels. What a converter writes also holds the record of how it was made.

The record is a private chunk of the PNG, which other programs skip. One file, renamed into place,
holds the picture and its segments: a conversion that was killed can go on from the files alone.
"""

from __future__ import annotations

import errno
import io
import json
import struct
import warnings
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import ExifTags, Image

from ..atomic import replaced_file
from ..outputs import PNG_CHUNK

_SIGNATURE = b'\x89PNG\r\n\x1a\n'
FIRST_EXCHANGED = 5
"""From this EXIF orientation on, rows and columns are exchanged."""
_ORIENTATIONS = 8


_LOSSY = frozenset(('JPEG', 'MPO', 'JPEG2000'))
"""Formats of which a pixel need not be read as it was written."""
_LOSSY_TIFF = frozenset(('jpeg', 'tiff_jpeg', 'webp'))
_BITS_OF_TIFF, _PHOTOMETRIC_OF_TIFF = 258, 262
_DEPTH_OF_PNG, _KIND_OF_PNG = 24, 25
"""Bytes of a PNG that say how many bits a value has, and whether it is grey (0)."""


_DAMAGE = (
    *(OSError, SyntaxError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError),
    *(RuntimeError, AssertionError, MemoryError, EOFError, struct.error, zlib.error),
)
"""What Pillow raises of files that are damaged, as the fields of a TIFF may be of any type."""


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
    chunk = _chunk(PNG_CHUNK, zlib.compress(json.dumps(record).encode()))
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
        if kind == PNG_CHUNK:
            record = json.loads(zlib.decompress(data))
        if kind == b'IEND':
            return record
        position += 12 + length
    return None


def read_labels(path: Path, *, channels: int = 1, content: bytes | None = None) -> np.ndarray:
    """Read a picture of labels, as they are stored.

    Of a picture with a palette the indices are read, and values of 1, 2 or 4 bits are not scaled.

    Args:
        path: The file.
        channels: 1, or 3 for RGB.
        content: What the file holds, if it was read already.

    Returns:
        Integers, shape (H, W) or (H, W, 3).

    Raises:
        FileNotFoundError: If there is no such file.
        ChannelError: If it has another number of channels.
        ValueError: If it is damaged, or in a lossy format.
    """
    return read_coded_labels(path, channels=channels, content=content)[0]


def read_coded_labels(
    path: Path, *, channels: int = 1, content: bytes | None = None
) -> tuple[np.ndarray, bytes]:
    """Read a picture of labels, see :func:`read_labels`, and its palette.

    Returns:
        The labels, and the red, green and blue of each index, empty without a palette.

    Raises:
        FileNotFoundError, ChannelError, ValueError: See :func:`read_labels`.
    """
    with _opened(path, content) as image:
        _check_lossless(path, image)
        try:
            labels = np.array(image)
            scale = _scale(image, path, content)
        except _DAMAGE as error:
            raise ValueError(f'{path} is damaged ({error}); get it again') from error
        palette = image.palette if image.mode == 'P' else None
        if labels.dtype == bool:
            labels = labels.astype(np.uint8)
        elif scale > 1:
            labels //= np.uint8(scale)
    colours = palette.tobytes() if palette is not None and palette.mode == 'RGB' else b''
    found = 1 if labels.ndim == 2 else labels.shape[2]
    if found != channels:
        raise ChannelError(
            f'{path}: expected a picture of {channels} channel(s) with labels, got {found} '
            f'channel(s) of mode {image.mode}'
        )
    return labels, colours


def _check_lossless(path: Path, image: Image.Image) -> None:
    compression = image.info.get('compression') if image.format == 'TIFF' else None
    if image.format in _LOSSY or compression in _LOSSY_TIFF:
        raise ValueError(
            f'{path} is in a lossy format ({compression or image.format}), in which labels change '
            f'at the borders of segments; make it again from the source, as PNG'
        )
    tags = getattr(image, 'tag_v2', {})
    if image.format == 'TIFF' and image.mode in ('1', 'L') and tags.get(_PHOTOMETRIC_OF_TIFF) == 0:
        raise ValueError(
            f'{path} is a TIFF in which 0 is white, so that values are turned round; save it as PNG'
        )


def _scale(image: Image.Image, path: Path, content: bytes | None) -> int:
    """Return by what Pillow has multiplied grey values of 2 or 4 bits; 1 if by nothing."""
    bits = 8
    if image.mode == 'L' and image.format == 'PNG':
        bits = _png_depth(path, content)
    elif image.mode == 'L' and image.format == 'TIFF':
        found = getattr(image, 'tag_v2', {}).get(_BITS_OF_TIFF, (8,))
        bits = found[0] if isinstance(found, tuple) else found
    return 255 // (2**bits - 1) if bits in (2, 4) else 1


def _png_depth(path: Path, content: bytes | None) -> int:
    if content is None:
        with open(path, 'rb') as file:
            header = file.read(_KIND_OF_PNG + 1)
    else:
        header = content[: _KIND_OF_PNG + 1]
    return header[_DEPTH_OF_PNG] if header[_KIND_OF_PNG] == 0 else 8


def exif_orientation(content: bytes) -> int:
    """Return how a picture has to be turned to be shown, from 1 (not at all) to 8.

    Args:
        content: The file, whose EXIF data may be missing or damaged.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            found = image.getexif().get(ExifTags.Base.Orientation, 1)
            return found if found in range(2, _ORIENTATIONS + 1) else 1
    except (Image.DecompressionBombError, *_DAMAGE):
        return 1


def image_size(path: Path) -> tuple[int, int]:
    """Return height and width of an image file, those of the picture as OpenCV loads it.

    The pixels are read only if the end of the file seems to be missing.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no image, or one that OpenCV cannot decode.
    """
    with _opened(path) as image:
        width, height = image.size
        try:
            turned = image.getexif().get(ExifTags.Base.Orientation, 1) >= FIRST_EXCHANGED
        except _DAMAGE as error:
            # those of a PNG are behind its pixels
            raise ValueError(f'{path} is damaged or truncated ({error}); get it again') from error
        # Pillow gives the size of some formats as turned already
        exchanged = turned and _loaded_turned(image.format or '') and not _opened_turned(image)
        end = _ENDS.get(image.format or '')
    if end is not None and not _ends_with(path, end) and not _decodes(path):
        raise ValueError(f'{path} is truncated and cannot be decoded; get it again')
    return (width, height) if exchanged else (height, width)


_ENDS = {'JPEG': b'\xff\xd9', 'PNG': b'IEND\xaeB`\x82'}
"""What the last bytes of a whole file hold."""
_TAIL = 64
"""Bytes at the end in which that is looked for; some programs pad."""


def _ends_with(path: Path, end: bytes) -> bool:
    with open(path, 'rb') as file:
        file.seek(max(0, path.stat().st_size - _TAIL))
        return end in file.read()


def _decodes(path: Path) -> bool:
    return decoded_picture(path.read_bytes()) is not None


def decoded_picture(content: bytes) -> np.ndarray | None:
    """Return a picture, uint8, shape (H, W, 3), BGR; None if OpenCV cannot decode the file."""
    if not content:
        return None
    try:
        return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        # a picture beyond OpenCV's own limit of pixels
        return None


def _opened_turned(image: Image.Image) -> bool:
    """Tell whether the size that Pillow gives is that of the turned picture."""
    return image.format == 'TIFF'


@lru_cache(maxsize=16)
def _loaded_turned(kind: str) -> bool:
    """Tell whether OpenCV turns pictures of a format as their EXIF data say.

    That differs from format to format and from version to version, so it is tried.
    """
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    file = io.BytesIO()
    try:
        Image.new('RGB', (16, 8)).save(file, kind, exif=exif)
    except (KeyError, OSError, ValueError):
        return False
    loaded = decoded_picture(file.getvalue())
    return loaded is not None and loaded.shape[:2] == (16, 8)


def orientation_note(content: bytes) -> str:
    """Return what EXIF data do to a picture, in words, for a message; empty if nothing."""
    orientation = exif_orientation(content)
    if orientation == 1:
        return ''
    if turned_when_loaded(content):
        return f'; its EXIF orientation {orientation} turns it when it is loaded'
    return f'; its EXIF orientation {orientation} is not applied when it is loaded'


def turned_when_loaded(content: bytes) -> bool:
    """Tell whether OpenCV turns a picture whose EXIF data say so; its format decides."""
    with Image.open(io.BytesIO(content)) as image:
        return _loaded_turned(image.format or '')


def _opened(path: Path, content: bytes | None = None) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', Image.DecompressionBombWarning)
            return Image.open(path if content is None else io.BytesIO(content))
    except FileNotFoundError as error:
        raise FileNotFoundError(f'{path} does not exist') from error
    except Image.DecompressionBombError as error:
        raise ValueError(
            f'{path} has too many pixels for one image ({error}); cut it into tiles'
        ) from error
    except _DAMAGE as error:
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
