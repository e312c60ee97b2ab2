"""Reading and checking a COCO panoptic annotation file.

Nothing is left out: tiny segments and crowds are kept, and the name of a PNG is the one that the
annotation gives. (mmdet's ``CocoPanopticDataset`` drops segments without area or thinner than a
pixel, forgets ``iscrowd``, and derives the name of the PNG from the name of the image.)
"""

from __future__ import annotations

import bisect
import itertools
import posixpath
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .json_types import (
    CATEGORY,
    IMAGE,
    PANOPTIC,
    SEGMENT,
    check_records,
    described,
    read_sections,
)

SECTIONS = ('categories', 'images', 'annotations')


@dataclass
class PanopticImage:
    """What an annotation file says about one image.

    Args:
        img_id: The file's id of the image, a number or a string.
        file_name: Name of the image, relative to the image folder.
        height: Height in pixels.
        width: Width in pixels.
        png_name: Name of the panoptic PNG, relative to its folder; None if the image has no
            annotation.
        segments: One dict per segment: ``id`` (int, the id in the PNG), ``label`` (int, the
            dataset label), ``iscrowd`` (bool).
    """

    img_id: int | str
    file_name: str
    height: int
    width: int
    png_name: str | None = None
    segments: list[dict[str, Any]] = field(default_factory=list)


def read_panoptic_annotations(
    path: str,
    *,
    classes: Sequence[str],
    thing_classes: Collection[str],
    category_aliases: Mapping[str, str] | None = None,
    backend_args: dict[str, Any] | None = None,
) -> list[PanopticImage]:
    """Read a COCO panoptic JSON file and check it.

    Categories are matched to classes by name; their ids and their order do not matter.

    Args:
        path: Path or URL of the file.
        classes: Names of the dataset's classes; a class's position is its label.
        thing_classes: Names of those that are things.
        category_aliases: Class name of each category that the file spells differently.
        backend_args: Arguments of mmengine's file backend.

    Returns:
        One entry per image, in the order of the file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not JSON, or contradicts itself or the dataset's classes; the message
            names the file and the value.
    """
    content = read_panoptic_json(path, backend_args=backend_args)
    labels = category_labels(path, content['categories'], classes, thing_classes, category_aliases)
    images = {
        record['id']: PanopticImage(
            record['id'], record['file_name'], record['height'], record['width']
        )
        for record in content['images']
    }
    for annotation in content['annotations']:
        image = images[annotation['image_id']]
        image.png_name = annotation['file_name']
        image.segments = _segments(path, annotation, labels)
    return list(images.values())


def read_panoptic_json(
    path: str | Path, *, backend_args: dict[str, Any] | None = None
) -> dict[str, list[Any]]:
    """Read a COCO panoptic JSON file and check the types in it, and that it does not repeat.

    Which categories the segments have is not looked at.

    Args:
        path: Path or URL of the file.
        backend_args: Arguments of mmengine's file backend.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is malformed; the message names file, entry, key, value and its type.
    """
    content = read_sections(
        path, SECTIONS, expected='COCO panoptic annotations', backend_args=backend_args
    )
    categories, images, annotations = (content[section] for section in SECTIONS)
    where = f'annotation file {path}'
    if not categories:
        raise ValueError(f'{where}: the list of categories is empty')
    check_records(categories, CATEGORY, lambda i: f'{where}, categories[{i}]')
    check_images(where, images)
    _check_annotations(where, images, annotations)
    return content


def check_images(where: str, images: Sequence[Any]) -> None:
    """Check the images of an annotation file: their types, and that none is listed twice.

    Raises:
        ValueError: If one is wrong.
    """

    def name(position: int) -> str:
        record = images[position]
        id_ = f' (id {record.get("id")!r})' if isinstance(record, dict) else ''
        return f'{where}, images[{position}]{id_}'

    columns = check_records(images, IMAGE, name)
    if len(set(columns['id'])) < len(images):
        (repeated,) = _first_repeated(columns['id'])
        raise ValueError(f'{where}, images: the image id {repeated!r} is listed twice')
    # './a.jpg' and 'a.jpg' are the same file
    names = list(map(posixpath.normpath, columns['file_name']))
    if len(set(names)) < len(images):
        (repeated,) = _first_repeated(names)
        ids = [columns['id'][i] for i, other in enumerate(names) if other == repeated]
        raise ValueError(
            f'{where}, images: {repeated!r} is listed {len(ids)} times, under the ids '
            f'{", ".join(map(repr, ids[:5]))}; keep one of them, with the annotations of all'
        )


def _first_repeated(values: Iterable[Any]) -> list[Any]:
    return [value for value, count in Counter(values).items() if count > 1][:1]


def check_image_ids(
    where: str, images: Sequence[Any], annotations: Sequence[Any], name: Callable[[int], str]
) -> None:
    """Check that annotations belong to images that are listed; ``1`` and ``'1'`` differ.

    Raises:
        ValueError: If one does not.
    """
    known = {record['id'] for record in images}
    found = [record['image_id'] for record in annotations]
    if known.issuperset(found):
        return
    position = next(i for i, image_id in enumerate(found) if image_id not in known)
    image_id = found[position]
    other: Any = str(image_id) if isinstance(image_id, int) else None
    if isinstance(image_id, str) and image_id.strip().lstrip('-').isdigit():
        other = int(image_id)
    hint = f'; there is {described(other)}' if other in known else ''
    raise ValueError(
        f'{name(position)}: the image id {described(image_id)} is not listed in images{hint}'
    )


def _check_annotations(where: str, images: Sequence[Any], annotations: Sequence[Any]) -> None:
    def name(position: int) -> str:
        record = annotations[position]
        image = f' (image {record.get("image_id")!r})' if isinstance(record, dict) else ''
        return f'{where}, annotations[{position}]{image}'

    columns = check_records(annotations, PANOPTIC, name)
    check_image_ids(where, images, annotations, name)
    if len(set(columns['image_id'])) < len(annotations):
        (repeated,) = _first_repeated(columns['image_id'])
        image = next(record for record in images if record['id'] == repeated)
        raise ValueError(
            f'{where}, annotations of image {image["file_name"]} (id {repeated!r}): the image is '
            f'annotated twice'
        )
    lists = columns['segments_info']

    def segment_name(position: int) -> str:
        ends = list(itertools.accumulate(map(len, lists)))
        owner = bisect.bisect_right(ends, position)
        index = position - (ends[owner - 1] if owner else 0)
        return f'{name(owner)}, segments_info[{index}]'

    check_records(list(itertools.chain.from_iterable(lists)), SEGMENT, segment_name)


def category_labels(
    path: str,
    categories: Iterable[Any],
    classes: Sequence[str],
    thing_classes: Collection[str],
    aliases: Mapping[str, str] | None,
) -> dict[int, int]:
    """Return the dataset label of each category id.

    Args:
        path: Path of the file, for messages.
        categories: The categories, whose types have been checked; ``isthing`` may be left out,
            and the category is a thing then.
        classes: Names of the dataset's classes; a class's position is its label.
        thing_classes: Names of those that are things.
        aliases: Class name of each category that the file spells differently.

    Raises:
        ValueError: If a category is no class, is there twice, or is stuff here and a thing there.
    """
    where = f'annotation file {path}, categories'
    class_labels = {name: label for label, name in enumerate(classes)}
    labels: dict[int, int] = {}
    for category in categories:
        category_id, name = category['id'], category['name']
        name = (aliases or {}).get(name, name)
        if name not in class_labels:
            raise ValueError(
                f'{where}: {name!r} (id {category_id}) is not a class of the dataset; rename it in '
                f'the file or give its class in category_aliases. Classes: {list(classes)}'
            )
        if category_id in labels or class_labels[name] in labels.values():
            raise ValueError(f'{where}: {name!r} (id {category_id}) is listed twice')
        in_file = _kind(bool(category.get('isthing', True)))
        in_dataset = _kind(name in thing_classes)
        if in_file != in_dataset:
            raise ValueError(
                f'{where}: {name!r} is {in_file} in the file (isthing) and {in_dataset} in the '
                f'dataset; correct one of them'
            )
        labels[category_id] = class_labels[name]
    return labels


def _kind(is_thing: bool) -> str:
    return 'a thing' if is_thing else 'stuff'


def _segments(
    path: str, annotation: dict[str, Any], labels: Mapping[int, int]
) -> list[dict[str, Any]]:
    """Return the segments of an image, whose types have been checked."""
    segments = annotation['segments_info']
    try:
        found = [
            {
                'id': segment['id'],
                'label': labels[segment['category_id']],
                'iscrowd': bool(segment.get('iscrowd')),
            }
            for segment in segments
        ]
    except KeyError as error:
        segment_id = next(s['id'] for s in segments if s['category_id'] == error.args[0])
        raise ValueError(
            f'annotation file {path}, annotation of image {annotation["image_id"]!r}: segment '
            f'{segment_id} has the category id {described(error.args[0])}, which is not listed in '
            f'categories'
        ) from error
    if len({segment['id'] for segment in found}) < len(found):
        (repeated,) = _first_repeated(segment['id'] for segment in found)
        raise ValueError(
            f'annotation file {path}, annotation of image {annotation["image_id"]!r}: the segment '
            f'id {repeated} is listed twice'
        )
    return found
