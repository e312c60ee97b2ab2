"""The things of a Shapes set as COCO instance annotations, which follow from its panoptic files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from ..atomic import replaced_file
from .panoptic_annotations import read_panoptic_json
from .panoptic_png import read_panoptic_png


def instances_file(root: Path, split: str) -> Path:
    """Return the path of the annotation file of a split."""
    return root / 'annotations' / f'instances_{split}.json'


def write_instances(root: Path, split: str) -> bool:
    """Write the instances of a split, unless they are there.

    Args:
        root: Folder of the set.
        split: ``train`` or ``val``.

    Returns:
        Whether they were written.
    """
    path = instances_file(root, split)
    if path.exists():
        return False
    panoptic = read_panoptic_json(root / 'annotations' / f'panoptic_{split}.json')
    things = {entry['id'] for entry in panoptic['categories'] if entry['isthing']}
    content = {
        'images': panoptic['images'],
        'annotations': list(_annotations(root / f'panoptic_{split}', panoptic, things)),
        'categories': [
            {'id': entry['id'], 'name': entry['name']}
            for entry in panoptic['categories']
            if entry['id'] in things
        ],
    }
    with replaced_file(path) as temporary:
        temporary.write_text(json.dumps(content), encoding='utf-8')
    return True


def _annotations(
    folder: Path, panoptic: dict[str, list[Any]], things: set[int]
) -> Iterator[dict[str, Any]]:
    number = 0
    for annotation in panoptic['annotations']:
        ids = read_panoptic_png(str(folder / annotation['file_name']))
        for segment in annotation['segments_info']:
            if segment['category_id'] not in things:
                continue
            number += 1
            encoded = coco_mask.encode(np.asfortranarray(ids == segment['id']).astype(np.uint8))
            yield {
                'id': number,
                'image_id': annotation['image_id'],
                'category_id': segment['category_id'],
                'iscrowd': 0,
                'bbox': segment['bbox'],
                'area': segment['area'],
                'segmentation': {'size': encoded['size'], 'counts': encoded['counts'].decode()},
            }
