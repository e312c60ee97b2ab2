"""Reading and checking COCO instance annotations: polygons, run lengths, crowds."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .coco_masks import shares_instead_of_pixels
from .json_types import INSTANCE, THING, check_records, described, read_sections
from .panoptic_annotations import category_labels, check_image_ids, check_images

SECTIONS = ('images', 'annotations', 'categories')
EXPECTED = 'COCO instance annotations'


@dataclass
class InstanceImage:
    """What an annotation file says about one image.

    Args:
        img_id: The file's id of the image, a number or a string.
        file_name: Name of the image, relative to the image folder.
        height: Height in pixels.
        width: Width in pixels.
        instances: One dict per instance: ``label`` (int, the dataset label), ``iscrowd`` (bool),
            ``segmentation`` (polygons or run lengths, as in the file), ``id`` (of the annotation,
            None if it has none).
    """

    img_id: int | str
    file_name: str
    height: int
    width: int
    instances: list[dict[str, Any]] = field(default_factory=list)


def read_instance_annotations(
    path: str,
    *,
    classes: Sequence[str],
    category_aliases: Mapping[str, str] | None = None,
    backend_args: dict[str, Any] | None = None,
) -> list[InstanceImage]:
    """Read a COCO instances JSON file and check it.

    Categories are matched to classes by name; their ids and their order do not matter.

    Args:
        path: Path or URL of the file.
        classes: Names of the dataset's classes, all things; a class's position is its label.
        category_aliases: Class name of each category that the file spells differently.
        backend_args: Arguments of mmengine's file backend.

    Returns:
        One entry per image, in the order of the file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not JSON, contradicts itself or the dataset's classes, or an instance
            has no segmentation, or one that cannot be a mask in pixels; the message names file,
            entry and value.
    """
    content = read_sections(path, SECTIONS, expected=EXPECTED, backend_args=backend_args)
    where = f'annotation file {path}'
    categories, images = content['categories'], content['images']
    check_records(categories, THING, lambda i: f'{where}, categories[{i}]')
    labels = category_labels(path, categories, classes, classes, category_aliases)
    by_image = annotations_by_image(where, content, set(labels))
    _check_segmentations(where, content['annotations'])
    _check_units(where, images, by_image)
    return [
        InstanceImage(
            image['id'],
            image['file_name'],
            image['height'],
            image['width'],
            [_instance(entry, labels) for entry in by_image[image['id']]],
        )
        for image in images
    ]


def annotations_by_image(
    where: str | Path, content: Mapping[str, list[Any]], category_ids: Collection[int]
) -> dict[Any, list[dict[str, Any]]]:
    """Check the images and annotations of a file, and return the annotations of each image.

    Args:
        where: What the file is called in messages.
        content: Its lists ``images`` and ``annotations``.
        category_ids: The ids of its categories.

    Raises:
        ValueError: If an entry is malformed, or of an unknown image or category.
    """
    images, annotations = content['images'], content['annotations']
    check_images(str(where), images)

    def name(position: int) -> str:
        record = annotations[position]
        id_ = f' (id {record.get("id")!r})' if isinstance(record, dict) else ''
        return f'{where}, annotations[{position}]{id_}'

    columns = check_records(annotations, INSTANCE, name)
    check_image_ids(str(where), images, annotations, name)
    if not set(category_ids).issuperset(columns['category_id']):
        found = columns['category_id']
        position = next(i for i, id_ in enumerate(found) if id_ not in category_ids)
        raise ValueError(f'{name(position)} has the unknown category {found[position]!r}')
    by_image: dict[Any, list[dict[str, Any]]] = {image['id']: [] for image in images}
    for annotation in annotations:
        by_image[annotation['image_id']].append(annotation)
    return by_image


def _instance(entry: Mapping[str, Any], labels: Mapping[int, int]) -> dict[str, Any]:
    return {
        'label': labels[entry['category_id']],
        'iscrowd': bool(entry.get('iscrowd')),
        'segmentation': entry['segmentation'],
        'id': entry.get('id'),
    }


_NO_MASK = 'instances are learned from masks, so remove the annotations that have a box only'
_NEITHER = "expected [[x, y, x, y, ...], ...] in pixels or {'size': [height, width], 'counts': ...}"


def _check_segmentations(where: str, annotations: Sequence[Mapping[str, Any]]) -> None:
    """Refuse annotations without a mask, and what can be neither polygons nor run lengths."""
    for is_wrong, advice in ((_has_no_mask, _NO_MASK), (_is_neither, _NEITHER)):
        wrong = [entry for entry in annotations if is_wrong(entry.get('segmentation'))]
        if wrong:
            first = wrong[0]
            found = described(first['segmentation']) if 'segmentation' in first else 'nothing'
            raise ValueError(
                f'{where}, annotation {first.get("id")!r} of image {first["image_id"]!r}: '
                f'segmentation: expected polygons or run lengths, got {found}; {advice} '
                f'({len(wrong)} of {len(annotations)} annotations are like this)'
            )


def _has_no_mask(segmentation: Any) -> bool:
    return segmentation is None or segmentation == []


def _is_neither(segmentation: Any) -> bool:
    if isinstance(segmentation, dict):
        return not {'size', 'counts'} <= segmentation.keys()
    return not isinstance(segmentation, list) or not set(map(type, segmentation)) <= {list}


def _check_units(
    where: str, images: Sequence[Mapping[str, Any]], by_image: Mapping[Any, Sequence[Any]]
) -> None:
    """Refuse polygons whose coordinates are shares of the image: they would have no pixel."""
    found = [
        (image['id'], reason)
        for image in images
        if (reason := shares_instead_of_pixels(
            by_image[image['id']], (image['height'], image['width'])
        ))
    ]  # fmt: skip
    if found:
        raise ValueError(
            f'{where}, image {found[0][0]!r}, {found[0][1]}, or remove the annotations if they '
            f'are pixels after all ({len(found)} of {len(images)} images are like this)'
        )
