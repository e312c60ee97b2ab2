"""Checking the files of one image: the picture, and its labels against what is known of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from mmengine import fileio

from .coco_masks import decode_mask
from .label_maps import (
    IGNORE_LABEL,
    check_palette,
    check_values,
    colours_of,
    read_coded_map,
)
from .panoptic_png import VOID_ID, read_panoptic_png, run_starts
from .png import FIRST_EXCHANGED, decoded_picture, exif_orientation, turned_when_loaded

_JPEG_START, _JPEG_END = b'\xff\xd8', b'\xff\xd9'
_JPEG_TAIL = 64
"""Bytes at the end in which the end marker is looked for; some programs pad."""


@dataclass(frozen=True)
class ImageFiles:
    """What is to be checked of one image.

    Attributes:
        img_path: Path of the picture.
        seg_map_path: Path of its panoptic PNG.
        size: Height and width in the annotation; None if it has none.
        segment_ids: Ids of its segments in the annotation.
        areas: Their areas there, in pixels; None where there is none.
        allow_empty: Whether segments without a pixel are accepted.
        backend_args: Arguments of mmengine's file backend.
    """

    img_path: str
    seg_map_path: str
    size: tuple[int, int] | None
    segment_ids: tuple[int, ...]
    areas: tuple[int | None, ...]
    allow_empty: bool = False
    backend_args: dict[str, Any] | None = None


@dataclass(frozen=True)
class LabelledImage:
    """What is to be checked of one image with a label map.

    Attributes:
        img_path: Path of the picture.
        seg_map_path: Path of its label map.
        table: Dataset label of each value of the map, see :func:`.label_maps.lookup_table`.
        backend_args: Arguments of mmengine's file backend.
    """

    img_path: str
    seg_map_path: str
    table: np.ndarray
    backend_args: dict[str, Any] | None = None


@dataclass(frozen=True)
class InstanceFiles:
    """What is to be checked of one image with instances.

    Attributes:
        img_path: Path of the picture.
        size: Height and width in the annotation file.
        masks: Polygons or run lengths of its instances.
        ids: Ids of their annotations.
        backend_args: Arguments of mmengine's file backend.
    """

    img_path: str
    size: tuple[int, int]
    masks: tuple[Any, ...]
    ids: tuple[Any, ...]
    backend_args: dict[str, Any] | None = None


@dataclass(frozen=True)
class Finding:
    """Something that is wrong, or worth knowing.

    Attributes:
        kind: What it is, such as ``'missing file'``; findings are grouped by it.
        file: The file it was found in.
        segment: Id of the segment or instance, if it is about one.
        message: What was expected and what was found.
        is_fault: Whether training would stop at it, or have nothing to learn a class from.
    """

    kind: str
    file: str
    message: str
    segment: int | None = None
    is_fault: bool = True


@dataclass(frozen=True)
class ImageReport:
    """What the files of one image hold.

    Attributes:
        digest: Hash of the picture's file; empty if it could not be read.
        size: Height and width of the picture; None if it could not be read.
        pixels: Pixels of each segment of the annotation, in its order; of each label of a label
            map.
        findings: What is wrong.
        labels: Dataset labels that a label map holds, ascending.
        values: Values that a label map holds, ascending.
        colours: Colour of each of them in its palette, empty without one.
    """

    digest: str = ''
    size: tuple[int, int] | None = None
    pixels: tuple[int, ...] = ()
    findings: tuple[Finding, ...] = field(default=())
    labels: tuple[int, ...] = ()
    values: tuple[int, ...] = ()
    colours: Mapping[int, tuple[int, ...]] = field(default_factory=dict)


def check_files(files: ImageFiles | InstanceFiles) -> ImageReport:
    """Read the files of one image and compare them with the annotation."""
    if isinstance(files, InstanceFiles):
        return _check_instances(files)
    digest, size, findings = _check_picture(files.img_path, files.backend_args)
    findings += _size_findings(files, size)
    try:
        ids = read_panoptic_png(files.seg_map_path, backend_args=files.backend_args)
    except FileNotFoundError as error:
        findings.append(Finding('missing file', files.seg_map_path, str(error)))
    except (ValueError, OSError) as error:
        findings.append(Finding('unreadable file', files.seg_map_path, str(error)))
    else:
        findings += _sizes_differ(files, ids.shape, size)
        pixels, more = _check_segments(files, ids)
        return ImageReport(digest, size, pixels, (*findings, *more))
    return ImageReport(digest, size, (0,) * len(files.segment_ids), tuple(findings))


def _check_instances(files: InstanceFiles) -> ImageReport:
    """Read a picture and draw the masks of its instances."""
    path = files.img_path
    digest, size, findings = _check_picture(path, files.backend_args)
    if size is not None and size != files.size:
        message = f'its size is {_size(size)}, but the annotation says {_size(files.size)}'
        findings.append(Finding('sizes differ', path, message))
    pixels = []
    for mask, id_ in zip(files.masks, files.ids, strict=True):
        count = 0
        try:
            count = int(decode_mask(mask, files.size).sum())
        except ValueError as error:
            findings.append(Finding('mask of an instance', path, str(error), id_))
        else:
            if count == 0:
                message = (
                    'this instance has no pixel, and is left out, in training and in evaluation'
                )
                findings.append(Finding('empty mask', path, message, id_, is_fault=False))
        pixels.append(count)
    return ImageReport(digest, size, tuple(pixels), tuple(findings))


def check_labelled_image(files: LabelledImage) -> ImageReport:
    """Read a picture and its label map and compare the map's values with the known labels."""
    digest, size, findings = _check_picture(files.img_path, files.backend_args)
    path = files.seg_map_path
    try:
        values, palette = read_coded_map(path, backend_args=files.backend_args)
    except FileNotFoundError as error:
        findings.append(Finding('missing file', path, str(error)))
    except (ValueError, OSError) as error:
        findings.append(Finding('unreadable label map', path, str(error)))
    else:
        findings += _sizes_differ(files, values.shape, size)
        counts = np.bincount(values.ravel(), minlength=files.table.size)
        present = np.flatnonzero(counts)
        try:
            check_palette(path, present, palette, files.table)
        except ValueError as error:
            findings.append(Finding('palette in doubt', path, str(error)))
        try:
            check_values(path, present, files.table)
        except ValueError as error:
            findings.append(Finding('unknown labels', path, str(error)))
        pixels = _count_labels(counts, files.table)
        return ImageReport(
            digest,
            size,
            tuple(pixels.values()),
            tuple(findings),
            labels=tuple(pixels),
            values=tuple(present.tolist()),
            colours=colours_of(present, palette),
        )
    return ImageReport(digest, size, findings=tuple(findings))


def _count_labels(counts: np.ndarray, table: np.ndarray) -> dict[int, int]:
    """Return the pixels of each dataset label from those of each value, unknown ones left out."""
    pixels: dict[int, int] = {}
    for value in np.flatnonzero(counts):
        if 0 <= (label := int(table[value])) < IGNORE_LABEL:
            pixels[label] = pixels.get(label, 0) + int(counts[value])
    return dict(sorted(pixels.items()))


def _check_picture(
    path: str, backend_args: dict[str, Any] | None
) -> tuple[str, tuple[int, int] | None, list[Finding]]:
    try:
        content = fileio.get(path, backend_args=backend_args)
    except FileNotFoundError:
        return '', None, [Finding('missing file', path, 'the image does not exist')]
    except OSError as error:
        return '', None, [Finding('unreadable file', path, str(error))]
    digest = hashlib.blake2b(content, digest_size=16).hexdigest()
    image = decoded_picture(content)
    truncated = content.startswith(_JPEG_START) and _JPEG_END not in content[-_JPEG_TAIL:]
    if image is None:
        reason = '; the JPEG is truncated' if truncated else ''
        message = f'the image cannot be decoded{reason}'
        return digest, None, [Finding('unreadable file', path, message)]
    findings = list(_turning_findings(path, content, image))
    if truncated:
        message = 'the JPEG has no end marker; it is truncated, and its rest would be grey'
        findings.append(Finding('truncated image', path, message, is_fault=False))
    return digest, (int(image.shape[0]), int(image.shape[1])), findings


def _turning_findings(path: str, content: bytes, image: np.ndarray) -> Iterator[Finding]:
    """Yield what EXIF data do to a picture, if labels may have been drawn on another one."""
    marks = (mark for start, mark in _EXIF_MARKS.items() if content.startswith(start))
    if not any(mark in content for mark in marks) or exif_orientation(content) == 1:
        return
    if not turned_when_loaded(content):
        message = (
            'its EXIF data say how to turn it, and programs that show it do, but it is not turned '
            'when it is loaded; if labels were drawn on it as it is shown, turn its pixels'
        )
        yield Finding('EXIF orientation not applied', path, message, is_fault=False)
    # a size that turning changes is compared with the map's
    elif exif_orientation(content) < FIRST_EXCHANGED or image.shape[0] == image.shape[1]:
        message = (
            'its EXIF data turn it when it is loaded, but labels are read as they are stored; if '
            'they were drawn on the pixels as stored, take the orientation out of the image'
        )
        yield Finding('EXIF orientation', path, message, is_fault=False)


_EXIF_MARKS = {
    _JPEG_START: b'Exif\0\0',
    b'RIFF': b'EXIF',
    b'\x89PNG': b'eXIf',
    b'II*\0': b'II*\0',
    b'MM\0*': b'MM\0*',
}
"""What precedes EXIF data, by how files of JPEG, WebP, PNG and TIFF begin."""


def _size_findings(files: ImageFiles, size: tuple[int, int] | None) -> Iterator[Finding]:
    if size is not None and files.size is not None and files.size != size:
        message = f'its size is {_size(size)}, but the annotation says {_size(files.size)}'
        yield Finding('size in the annotation', files.img_path, message, is_fault=False)


def _sizes_differ(
    files: ImageFiles | LabelledImage, found: tuple[int, ...], size: tuple[int, int] | None
) -> Iterator[Finding]:
    if size is not None and found != size:
        message = f'its size is {_size(found)}, but {files.img_path} has {_size(size)}'
        yield Finding('sizes differ', files.seg_map_path, message)


def _check_segments(
    files: ImageFiles, ids: np.ndarray
) -> tuple[tuple[int, ...], Iterator[Finding]]:
    pixels = count_pixels(ids)
    counted = tuple(pixels.get(segment_id, 0) for segment_id in files.segment_ids)
    return counted, _segment_findings(files, pixels, counted)


def count_pixels(ids: np.ndarray) -> dict[int, int]:
    """Return how many pixels each segment id has, VOID left out.

    Example:
        >>> count_pixels(np.array([[0, 7, 7], [9, 9, 7]]))
        {7: 3, 9: 2}
    """
    flat = ids.ravel()
    # sorting runs instead of pixels takes a tenth of the time
    starts = run_starts(flat)
    present, run_of = np.unique(flat[starts], return_inverse=True)
    counts = np.bincount(run_of, weights=np.diff(starts, append=flat.size)).astype(np.int64)
    pixels = dict(zip(present.tolist(), counts.tolist(), strict=True))
    pixels.pop(VOID_ID, None)
    return pixels


def _segment_findings(
    files: ImageFiles, pixels: dict[int, int], counted: Sequence[int]
) -> Iterator[Finding]:
    path = files.seg_map_path
    for segment_id in sorted(set(pixels) - set(files.segment_ids)):
        message = f'the annotation does not list this segment of {pixels[segment_id]} pixels'
        yield Finding('segment in the PNG only', path, message, segment_id)
    for segment_id, area, count in zip(files.segment_ids, files.areas, counted, strict=True):
        if count == 0:
            message = 'the annotation lists this segment, but no pixel has its id'
            fault = not files.allow_empty
            yield Finding('segment in the JSON only', path, message, segment_id, is_fault=fault)
        elif area is not None and area != count:
            message = f'its area is {area} in the annotation, but it has {count} pixels'
            yield Finding('areas differ', path, message, segment_id, is_fault=False)


def _size(size: tuple[int, ...]) -> str:
    return 'x'.join(map(str, size)) + ' (height x width)'
