"""Instance annotations in COCO's style, with or without a map of stuff, to a panoptic set.

Where instances overlap, the smaller one covers, as annotators mean it nearly always; in COCO's own
converter an overlap is an error, which an option gives. Instances are pasted over stuff. Crowds
stay crowds. Instances without a mask or a pixel, and those that others cover wholly, are left out
and counted.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ..datasets.coco_masks import decode_mask, shares_instead_of_pixels, why_empty
from ..datasets.instance_annotations import annotations_by_image
from ..datasets.json_types import (
    STUFF,
    THING,
    Table,
    check_records,
    described,
    read_json,
    read_sections,
)
from ..datasets.png import check_size, check_values, image_size, orientation_note, read_labels
from .jobs import Job, Rendered, source_bytes
from .panoptic_set import PanopticSplit, check_split, convert_split, panoptic_rendered
from .report import Report
from .segments import (
    OVERLAP_RULES,
    PanopticMap,
    Segment,
    make_panoptic_map,
    paste_instances,
    stuff_layers,
)
from .storage import require

_NO_STUFF = (0, 255)
"""Values of a map of stuff that mean no label, unless a category has them."""
_BYTES_PER_PIXEL = 0.06


@dataclass(frozen=True)
class CocoInstancesSources:
    """What a panoptic set is made of.

    Args:
        annotations: The JSON file with the instances.
        images: The folder of the images.
        stuff: Folder of the maps of stuff, one PNG per image with its name; each pixel has the id
            of a stuff category. None if there is no stuff.
        stuff_categories: JSON file with the stuff categories, a list of dicts with ``id`` and
            ``name``.
    """

    annotations: Path
    images: Path
    stuff: Path | None = None
    stuff_categories: Path | None = None

    @property
    def paths(self) -> tuple[Path | None, ...]:
        """All of them."""
        return self.annotations, self.images, self.stuff, self.stuff_categories

    @property
    def layout(self) -> str:
        """What is expected, for messages."""
        lines = [
            f'  {self.images}/           the images that the annotations name',
            f'  {self.annotations}    lists images, annotations, categories',
        ]
        if self.stuff is not None:
            lines.append(f'  {self.stuff}/           a PNG of stuff labels per image, same names')
        return '\n'.join(lines)


@dataclass(frozen=True)
class _Stuff:
    """Category of each value of the maps of stuff: -1 for no label, -2 for values not allowed."""

    folder: Path
    table: tuple[int, ...]


_COVERS = {
    'larger-first': 'given to the smaller one',
    'later': 'given to the later one',
    'error': 'refused',
}


def instances_panoptic(
    annotations: list[dict[str, Any]],
    size: tuple[int, int],
    *,
    overlap: str = OVERLAP_RULES[0],
    stuff: np.ndarray | None = None,
    stuff_table: tuple[int, ...] = (),
) -> PanopticMap:
    """Return the panoptic map of one image.

    Args:
        annotations: The image's annotations.
        size: Its height and width.
        overlap: What covers; one of :data:`~.segments.OVERLAP_RULES`.
        stuff: The map of stuff, shape (H, W).
        stuff_table: The category of each of its values; negative for no label.

    Raises:
        ValueError: If a mask is malformed, or instances overlap and that is an error.
    """
    layers = np.zeros(size, dtype=np.int32)
    segments: list[Segment] = []
    if stuff is not None:
        layers, segments = stuff_layers(stuff, stuff_table)
    num_stuff = len(segments)
    masks, crowds, notes = [], [], Counter[str]()
    shares = shares_instead_of_pixels(annotations, size)
    if shares:
        raise ValueError(shares)
    for annotation in annotations:
        try:
            mask = decode_mask(annotation.get('segmentation', []), size)
        except ValueError as error:
            raise ValueError(f'annotation {annotation.get("id")}: {error}') from error
        if not mask.any():
            notes[why_empty(annotation.get('segmentation', []))] += 1
            continue
        crowd = bool(annotation.get('iscrowd', 0))
        masks.append(mask)
        crowds.append(crowd)
        segments.append(Segment(annotation['category_id'], crowd))
    layers, shared = paste_instances(layers, masks, crowds, first=num_stuff + 1, overlap=overlap)
    panoptic, hidden = make_panoptic_map(layers, segments)
    notes['crowds'] = sum(crowds)
    notes[f'pixels of more than one instance, {_COVERS[overlap]}'] = shared
    notes['instances wholly under others, left out'] = sum(k >= num_stuff for k in hidden)
    notes['stuff wholly under things, left out'] = sum(k < num_stuff for k in hidden)
    panoptic.notes = +notes
    return panoptic


def convert_coco_instances(
    sources: CocoInstancesSources,
    json_path: str | os.PathLike[str],
    *,
    overlap: str = OVERLAP_RULES[0],
    check: bool = False,
    workers: int | None = None,
    skip_faulty: bool = False,
    overwrite: bool = False,
) -> list[Report]:
    """Write a panoptic JSON file and, in the folder of its name, the PNGs; or check them.

    Args:
        sources: What it is made of.
        json_path: The annotation file to write, ``NAME.json``; the PNGs go to ``NAME/``.
        overlap: Which instance covers; one of :data:`~.segments.OVERLAP_RULES`.
        check: Whether what was written before is only checked.
        workers: Number of processes; one per core by default.
        skip_faulty: Whether images with faults are left out.
        overwrite: Whether files that no converter wrote may be replaced.

    Raises:
        FileNotFoundError: If a file or folder is missing.
        ValueError: If an annotation file is malformed, or holds nothing to convert; or an input
            would be written over, or a file outside the folder of ``json_path``.
        FileExistsError: If a file is there that no converter wrote.
        PermissionError: If a folder cannot be written.
        RuntimeError: If there is too little room.
    """
    if overlap not in OVERLAP_RULES:
        raise ValueError(f'overlap: expected one of {OVERLAP_RULES}, got {overlap!r}')
    json_path = Path(json_path)
    if json_path.suffix != '.json' or json_path == sources.annotations:
        raise ValueError(f'out: expected the name of another .json file, got {json_path}')
    for path in sources.paths:
        if path is not None:
            require(path, sources.layout)
    split = _split(sources, json_path, overlap)
    if check:
        return [check_split(split, workers=workers, skip_faulty=skip_faulty)]
    return [convert_split(split, workers=workers, skip_faulty=skip_faulty, overwrite=overwrite)]


def _split(sources: CocoInstancesSources, json_path: Path, overlap: str) -> PanopticSplit:
    where = sources.annotations
    sections = ('images', 'annotations', 'categories')
    content = read_sections(where, sections, expected='COCO instance annotations')
    things = _categories(where, content['categories'], THING, isthing=1)
    categories, stuff = _with_stuff(sources, things)
    by_image = annotations_by_image(where, content, {entry['id'] for entry in things})
    _require_masks(where, content, stuff)
    jobs = [
        _job(sources, json_path, overlap, image, by_image[image['id']], stuff)
        for image in content['images']
    ]
    repeated = [name for name, count in Counter(job.target for job in jobs).items() if count > 1]
    if repeated:
        names = [job.name for job in jobs if job.target == repeated[0]]
        raise ValueError(
            f'{where}: two images would have the same PNG {repeated[0]}: {", ".join(names[:5])}; '
            f'rename one of them'
        )
    return PanopticSplit(
        title=json_path.stem,
        json_path=json_path,
        png_folder=json_path.with_suffix(''),
        image_folder=sources.images,
        categories=categories,
        jobs=jobs,
        inputs=tuple(path for path in sources.paths if path is not None),
        read=f'{len(jobs)} images, {len(content["annotations"])} annotations',
    )


def _require_masks(where: Path, content: dict[str, list[Any]], stuff: _Stuff | None) -> None:
    """Check that there is something to convert."""
    annotations = content['annotations']
    if not content['images']:
        raise ValueError(f'{where}: the list of images is empty; there is nothing to convert')
    if not annotations and stuff is None:
        raise ValueError(f'{where}: the list of annotations is empty; there is nothing to convert')
    if annotations and not any(annotation.get('segmentation') for annotation in annotations):
        raise ValueError(
            f'{where}: none of {len(annotations)} annotations has a mask (segmentation is missing '
            f'or empty: boxes only); a panoptic set needs polygons or run lengths'
        )


def _categories(
    where: Path, records: list[Any], table: Table, *, isthing: int
) -> list[dict[str, Any]]:
    check_records(records, table, lambda i: f'{where}, categories[{i}]')
    return [{'id': entry['id'], 'name': entry['name'], 'isthing': isthing} for entry in records]


def _with_stuff(
    sources: CocoInstancesSources, things: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], _Stuff | None]:
    """Return all categories, and what the values of the maps of stuff mean.

    If stuff ids are taken by things, all stuff gets ids above those of the things.
    """
    if (sources.stuff is None) != (sources.stuff_categories is None):
        raise ValueError('expected both or neither of a folder of stuff and its categories')
    stuff: list[dict[str, Any]] = []
    if sources.stuff_categories is not None:
        entries = read_json(sources.stuff_categories, expected='a list of categories')
        if not isinstance(entries, list) or not entries:
            raise ValueError(
                f'{sources.stuff_categories}: expected a list of categories, such as '
                f'[{{"id": 1, "name": "sky"}}], got {described(entries)}'
            )
        stuff = _categories(sources.stuff_categories, entries, STUFF, isthing=0)
    where = ' and '.join(
        str(path) for path in (sources.annotations, sources.stuff_categories) if path is not None
    )
    for key, records in (('name', [*things, *stuff]), ('id', things), ('id', stuff)):
        counts = Counter(record[key] for record in records)
        repeated = [value for value, count in counts.items() if count > 1]
        if repeated:
            raise ValueError(f'{where}, categories: the {key} {repeated[0]!r} is there twice')
    if sources.stuff is None:
        return things, None
    taken = {entry['id'] for entry in things}
    shift = max(taken, default=0) + 1 if taken & {entry['id'] for entry in stuff} else 0
    table = [-2] * (max([255, *(entry['id'] for entry in stuff)]) + 1)
    for value in _NO_STUFF:
        table[value] = -1
    for entry in stuff:
        table[entry['id']] = entry['id'] + shift
    categories = [*things, *({**entry, 'id': entry['id'] + shift} for entry in stuff)]
    return categories, _Stuff(sources.stuff, tuple(table))


def _job(
    sources: CocoInstancesSources,
    json_path: Path,
    overlap: str,
    image: dict[str, Any],
    annotations: list[dict[str, Any]],
    stuff: _Stuff | None,
) -> Job:
    png_name = str(PurePosixPath(image['file_name']).with_suffix('.png'))
    paths = [sources.images / image['file_name']]
    pixels = image['height'] * image['width']
    num_bytes = int(_BYTES_PER_PIXEL * pixels)
    if stuff is not None:
        paths.append(stuff.folder / png_name)
        num_bytes = max(num_bytes, source_bytes(paths[-1]))
    described = json.dumps([overlap, image, annotations, stuff.table if stuff else None])
    return Job(
        name=image['file_name'],
        target=json_path.with_suffix('') / png_name,
        sources=tuple(paths),
        render=partial(_render, image, annotations, tuple(paths), overlap, stuff),
        rule=hashlib.sha256(described.encode()).hexdigest(),
        num_bytes=num_bytes,
    )


def _render(
    image: dict[str, Any],
    annotations: list[dict[str, Any]],
    paths: tuple[Path, ...],
    overlap: str,
    stuff: _Stuff | None,
) -> Rendered:
    size = (image['height'], image['width'])
    found = image_size(paths[0])
    if found != size:
        raise ValueError(
            f'{paths[0]} has {found[0]} x {found[1]} pixels and the annotations say {size[0]} x '
            f'{size[1]} (height x width){orientation_note(paths[0].read_bytes())}'
        )
    labels = None
    if stuff is not None:
        labels = read_labels(paths[1])
        check_size(paths[1], labels, size)
        known = np.array(stuff.table) > -2
        check_values(paths[1], labels, known, 'ids of stuff categories, 0 or 255')
    try:
        panoptic = instances_panoptic(
            annotations,
            size,
            overlap=overlap,
            stuff=labels,
            stuff_table=stuff.table if stuff else (),
        )
    except ValueError as error:
        raise ValueError(f'{image["file_name"]}: {error}') from error
    png_name = str(PurePosixPath(image['file_name']).with_suffix('.png'))
    return panoptic_rendered(
        panoptic, img_id=image['id'], file_name=image['file_name'], png_name=png_name
    )
