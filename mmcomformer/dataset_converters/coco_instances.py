"""Instance annotations in COCO's style, with or without a map of stuff, to a panoptic set.

As in COCO's own converter, overlapping instances are an error; two options say which covers
instead. Instances are pasted over stuff. Crowds stay crowds. Masks without a pixel, and instances
that others cover wholly, are left out and counted.
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

from ..datasets.png import check_size, check_values, image_size, read_labels
from .coco_masks import decode_mask
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
from .storage import read_json, require

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


def instances_panoptic(
    annotations: list[dict[str, Any]],
    size: tuple[int, int],
    *,
    overlap: str,
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
    for annotation in annotations:
        try:
            mask = decode_mask(annotation.get('segmentation'), size)
        except ValueError as error:
            raise ValueError(f'annotation {annotation.get("id")}: {error}') from error
        if not mask.any():
            notes['masks without a pixel, left out'] += 1
            continue
        crowd = bool(annotation.get('iscrowd', 0))
        masks.append(mask)
        crowds.append(crowd)
        segments.append(Segment(annotation['category_id'], crowd))
    layers, shared = paste_instances(layers, masks, crowds, first=num_stuff + 1, overlap=overlap)
    panoptic, hidden = make_panoptic_map(layers, segments)
    notes['crowds'] = sum(crowds)
    notes['pixels of more than one instance'] = shared
    notes['instances wholly under others, left out'] = sum(k >= num_stuff for k in hidden)
    notes['stuff wholly under things, left out'] = sum(k < num_stuff for k in hidden)
    panoptic.notes = +notes
    return panoptic


def convert_coco_instances(
    sources: CocoInstancesSources,
    json_path: str | os.PathLike[str],
    *,
    overlap: str = 'error',
    check: bool = False,
    workers: int | None = None,
    skip_faulty: bool = False,
) -> list[Report]:
    """Write a panoptic JSON file and, in the folder of its name, the PNGs; or check them.

    Args:
        sources: What it is made of.
        json_path: The annotation file to write, ``NAME.json``; the PNGs go to ``NAME/``.
        overlap: Which instance covers; one of :data:`~.segments.OVERLAP_RULES`.
        check: Whether what was written before is only checked.
        workers: Number of processes; one per core by default.
        skip_faulty: Whether images with faults are left out.

    Raises:
        FileNotFoundError: If a file or folder is missing.
        ValueError: If an annotation file is malformed.
        PermissionError: If a folder cannot be written.
        RuntimeError: If there is too little room.
    """
    if overlap not in OVERLAP_RULES:
        raise ValueError(f'overlap: expected one of {OVERLAP_RULES}, got {overlap!r}')
    json_path = Path(json_path)
    if json_path.suffix != '.json' or json_path == sources.annotations:
        raise ValueError(f'out: expected the name of another .json file, got {json_path}')
    for path in (sources.annotations, sources.images, sources.stuff, sources.stuff_categories):
        if path is not None:
            require(path, sources.layout)
    split = _split(sources, json_path, overlap)
    act = check_split if check else convert_split
    return [act(split, workers=workers, skip_faulty=skip_faulty)]


def _split(sources: CocoInstancesSources, json_path: Path, overlap: str) -> PanopticSplit:
    where = sources.annotations
    content = read_json(where)
    for section in ('images', 'annotations', 'categories'):
        if not isinstance(content, dict) or not isinstance(content.get(section), list):
            raise ValueError(f'{where} has no list {section!r}; expected COCO instance annotations')
    things = [_category(where, entry, isthing=1) for entry in content['categories']]
    categories, stuff = _with_stuff(sources, things)
    by_image = _by_image(where, content, {entry['id'] for entry in things})
    jobs = [
        _job(sources, json_path, overlap, image, by_image[image['id']], stuff)
        for image in content['images']
    ]
    repeated = [name for name, count in Counter(job.target for job in jobs).items() if count > 1]
    if repeated:
        raise ValueError(f'{where}: two images would have the same PNG {repeated[0]}')
    return PanopticSplit(
        title=json_path.stem,
        json_path=json_path,
        png_folder=json_path.with_suffix(''),
        image_folder=sources.images,
        categories=categories,
        jobs=jobs,
    )


def _category(where: Path, entry: Any, *, isthing: int) -> dict[str, Any]:
    if not isinstance(entry, dict) or not isinstance(entry.get('id'), int) or 'name' not in entry:
        raise ValueError(
            f'{where}: expected a category with a number id and a name, got {str(entry)[:100]}'
        )
    return {'id': entry['id'], 'name': entry['name'], 'isthing': isthing}


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
        entries = read_json(sources.stuff_categories)
        if not isinstance(entries, list) or not entries:
            raise ValueError(f'{sources.stuff_categories}: expected a list of categories')
        stuff = [_category(sources.stuff_categories, entry, isthing=0) for entry in entries]
    for key, records in (('name', [*things, *stuff]), ('id', things), ('id', stuff)):
        counts = Counter(record[key] for record in records)
        repeated = [value for value, count in counts.items() if count > 1]
        if repeated:
            raise ValueError(f'categories: the {key} {repeated[0]!r} is there twice')
    if sources.stuff is None:
        return things, None
    taken = {entry['id'] for entry in things}
    shift = max(taken, default=0) + 1 if taken & {entry['id'] for entry in stuff} else 0
    table = [-2] * (max([255, *(entry['id'] for entry in stuff)]) + 1)
    for value in _NO_STUFF:
        table[value] = -1
    for entry in stuff:
        if entry['id'] < 0:
            raise ValueError(f'{sources.stuff_categories}: the id {entry["id"]} is no pixel value')
        table[entry['id']] = entry['id'] + shift
    categories = [*things, *({**entry, 'id': entry['id'] + shift} for entry in stuff)]
    return categories, _Stuff(sources.stuff, tuple(table))


def _by_image(
    where: Path, content: dict[str, list[Any]], category_ids: set[int]
) -> dict[Any, list[dict[str, Any]]]:
    """Return the annotations of each image."""
    by_image: dict[Any, list[dict[str, Any]]] = {}
    for image in content['images']:
        missing = {'id', 'file_name', 'height', 'width'} - set(image)
        if missing:
            raise ValueError(f'{where}: an image lacks {sorted(missing)}: {str(image)[:100]}')
        if image['id'] in by_image:
            raise ValueError(f'{where}: the image id {image["id"]!r} is listed twice')
        by_image[image['id']] = []
    for annotation in content['annotations']:
        name = f'{where}: annotation {annotation.get("id")}'
        if annotation.get('image_id') not in by_image:
            raise ValueError(f'{name} has the unknown image_id {annotation.get("image_id")!r}')
        if annotation.get('category_id') not in category_ids:
            raise ValueError(f'{name} has the unknown category {annotation.get("category_id")!r}')
        by_image[annotation['image_id']].append(annotation)
    return by_image


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
            f'{size[1]} (height x width)'
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
