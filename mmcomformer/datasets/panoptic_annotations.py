"""Reading and checking a COCO panoptic annotation file.

Nothing is left out: tiny segments and crowds are kept, and the name of a PNG is the one that the
annotation gives. (mmdet's ``CocoPanopticDataset`` drops segments without area or thinner than a
pixel, forgets ``iscrowd``, and derives the name of the PNG from the name of the image.)
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmengine import fileio

from .panoptic_png import MAX_ID

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
    content = _load_json(path, backend_args)
    labels = _category_labels(path, content['categories'], classes, thing_classes, category_aliases)
    images = _read_images(path, content['images'])
    for annotation in content['annotations']:
        _add_annotation(path, annotation, images, labels)
    return list(images.values())


def _load_json(path: str, backend_args: dict[str, Any] | None) -> dict[str, list[Any]]:
    try:
        content = json.loads(fileio.get_text(path, backend_args=backend_args))
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f'annotation file {path} does not exist; check data_root and ann_file of the dataset'
        ) from error
    except ValueError as error:
        raise ValueError(
            f'annotation file {path} is not JSON ({error}); expected COCO panoptic annotations'
        ) from error
    for section in SECTIONS:
        if not isinstance(content, dict) or not isinstance(content.get(section), list):
            raise ValueError(
                f'annotation file {path} has no list {section!r}; expected COCO panoptic '
                f'annotations with the lists {", ".join(SECTIONS)}'
            )
    if not content['categories']:
        raise ValueError(f'annotation file {path}: the list of categories is empty')
    return content


def _get(record: Any, key: str, where: str) -> Any:
    if not isinstance(record, dict) or key not in record:
        raise ValueError(f'{where}: {key!r} is missing in {str(record)[:200]}')
    return record[key]


def _category_labels(
    path: str,
    categories: Iterable[Any],
    classes: Sequence[str],
    thing_classes: Collection[str],
    aliases: Mapping[str, str] | None,
) -> dict[int, int]:
    """Return the dataset label of each category id."""
    where = f'annotation file {path}, categories'
    class_labels = {name: label for label, name in enumerate(classes)}
    labels: dict[int, int] = {}
    for category in categories:
        category_id, name = _get(category, 'id', where), _get(category, 'name', where)
        name = (aliases or {}).get(name, name)
        if name not in class_labels:
            raise ValueError(
                f'{where}: {name!r} (id {category_id}) is not a class of the dataset; rename it in '
                f'the file or give its class in category_aliases. Classes: {list(classes)}'
            )
        if category_id in labels or class_labels[name] in labels.values():
            raise ValueError(f'{where}: {name!r} (id {category_id}) is listed twice')
        in_file = _kind(bool(_get(category, 'isthing', where)))
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


def _read_images(path: str, records: Iterable[Any]) -> dict[int | str, PanopticImage]:
    where = f'annotation file {path}, images'
    images: dict[int | str, PanopticImage] = {}
    for record in records:
        img_id = _get(record, 'id', where)
        if img_id in images:
            raise ValueError(f'{where}: the image id {img_id!r} is listed twice')
        images[img_id] = PanopticImage(
            img_id=img_id,
            file_name=_get(record, 'file_name', where),
            height=_get(record, 'height', where),
            width=_get(record, 'width', where),
        )
    return images


def _add_annotation(
    path: str,
    annotation: Any,
    images: Mapping[int | str, PanopticImage],
    labels: Mapping[int, int],
) -> None:
    where = f'annotation file {path}, annotations'
    img_id = _get(annotation, 'image_id', where)
    if img_id not in images:
        raise ValueError(f'{where}: the image id {img_id!r} is not listed in images')
    image = images[img_id]
    where = f'{where} of image {image.file_name}'
    if image.png_name is not None:
        raise ValueError(f'{where}: the image is annotated twice')
    image.png_name = _get(annotation, 'file_name', where)
    seen: set[int] = set()
    for segment in _get(annotation, 'segments_info', where):
        segment_id, category_id = _get(segment, 'id', where), _get(segment, 'category_id', where)
        if not isinstance(segment_id, int) or not 1 <= segment_id <= MAX_ID:
            raise ValueError(
                f'{where}: expected segment ids from 1 to {MAX_ID}, got {segment_id!r}'
            )
        if segment_id in seen:
            raise ValueError(f'{where}: the segment id {segment_id} is listed twice')
        if category_id not in labels:
            raise ValueError(
                f'{where}: segment {segment_id} has the category id {category_id!r}, which is not '
                f'listed in categories'
            )
        seen.add(segment_id)
        image.segments.append(
            {
                'id': segment_id,
                'label': labels[category_id],
                'iscrowd': bool(segment.get('iscrowd', False)),
            }
        )
