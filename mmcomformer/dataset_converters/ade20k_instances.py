"""ADE20K's instance annotations (annotations_instance) to COCO instance annotations.

The files are those of Mask2Former's script: their names, and the names and the order of the
categories, which mmdet's ADE20KInstanceDataset has too.
"""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as coco_mask

from ..datasets.parallel import parallel
from ..datasets.png import check_size, image_size, read_labels
from ..outputs import check_outputs, output_file
from .ade20k import LAYOUT, SPLITS, instances_of
from .class_names import ADE20K_THINGS
from .report import Report
from .storage import files_in, require

_SHORT_NAMES = {
    'window': 'windowpane',
    'tub': 'bathtub',
    'rail': 'railing',
    'street lamp': 'streetlight',
    'tv': 'television receiver',
    'clothes': 'apparel',
    'trash can': 'ashcan',
}
"""Where the name is not the first one of mmdet's panoptic class."""
INSTANCE_CLASSES = tuple(_SHORT_NAMES.get(name, name.split(',')[0]) for name in ADE20K_THINGS)
"""The names of the categories 1 to 100."""


class _Read(NamedTuple):
    """An image and its annotations without ids, or the fault that keeps it out."""

    name: str
    size: tuple[int, int]
    annotations: list[dict[str, Any]]
    fault: str = ''


def convert_ade20k_instances(
    root: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    skip_faulty: bool = False,
    overwrite: bool = False,
) -> list[Report]:
    """Write ``ade20k_instance_{train,val}.json``.

    Args:
        root: The folder as downloaded.
        out: Where to write; by default the same folder.
        workers: Number of processes; one per core by default.
        skip_faulty: Whether images with faults are left out; otherwise nothing is written then.
        overwrite: Whether files that no converter wrote may be replaced.

    Raises:
        FileNotFoundError: If the layout is another one.
        FileExistsError: If a file is there that no converter wrote.
    """
    root = Path(root)
    out = root if out is None else Path(out)
    targets = [out / f'ade20k_instance_{name}.json' for name, _, _ in SPLITS]
    check_outputs(targets, overwrite=overwrite)
    return [
        _convert(root, target, split, workers=workers, skip_faulty=skip_faulty)
        for target, split in zip(targets, SPLITS, strict=True)
    ]


def _convert(
    root: Path, target: Path, split: tuple[str, str, int], *, workers: int | None, skip_faulty: bool
) -> Report:
    name, folder, full_count = split
    images = files_in(root / 'images' / folder, '*.jpg', LAYOUT)
    instances = require(root / 'annotations_instance' / folder, LAYOUT)
    title = f'ADE20K {name}, instances'
    read = list(
        parallel(partial(_read, instances), images, workers=workers, title=f'reading {name}')
    )
    faults = [entry for entry in read if entry.fault]
    report = Report(
        title,
        len(images),
        full_count,
        faults=[entry.fault for entry in faults],
        faulty=[entry.name for entry in faults],
        left_out=skip_faulty,
    )
    if faults and not skip_faulty:
        return report
    kept = [entry for entry in read if not entry.fault]
    content = _content(kept)
    if not content['annotations']:
        report.shortfalls.append('no image has an instance')
        return report
    target.parent.mkdir(parents=True, exist_ok=True)
    with output_file(target) as temporary:
        temporary.write_text(json.dumps(content), encoding='utf-8')
    report.num_written = 1
    report.outputs.append(f'{target}: {len(kept)} images, {len(content["annotations"])} instances')
    return report


def _content(read: list[_Read]) -> dict[str, Any]:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, entry in enumerate(read, start=1):
        height, width = entry.size
        images.append({'id': number, 'file_name': entry.name, 'height': height, 'width': width})
        for annotation in entry.annotations:
            annotations.append({'id': len(annotations) + 1, 'image_id': number, **annotation})
    categories = [{'id': i, 'name': name} for i, name in enumerate(INSTANCE_CLASSES, start=1)]
    return {'images': images, 'annotations': annotations, 'categories': categories}


def _read(folder: Path, image: Path) -> _Read:
    path = folder / f'{image.stem}.png'
    try:
        size = image_size(image)
        labels = read_labels(path, channels=3)
        check_size(path, labels, size)
        found = instances_of(labels)
    except (ValueError, OSError) as error:
        text = str(error)
        return _Read(image.name, (0, 0), [], text if str(path) in text else f'{path}: {text}')
    annotations = [
        _annotation(labels[..., 1] == number, category) for number, category in found.items()
    ]
    return _Read(image.name, size, annotations)


def _annotation(mask: np.ndarray, category: int) -> dict[str, Any]:
    encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {
        'category_id': category,
        'iscrowd': 0,
        'area': int(coco_mask.area(encoded)),
        'bbox': coco_mask.toBbox(encoded).tolist(),
        'segmentation': {'size': encoded['size'], 'counts': encoded['counts'].decode()},
    }
