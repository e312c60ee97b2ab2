"""Cityscapes' gtFine as downloaded to a panoptic set.

The rule is that of Cityscapes' own scripts. A value below 1000 in ``*_instanceIds.png`` is a label:
a segment of stuff, or of a thing class a crowd, which is a group that was not separated. From 1000
on it is an instance of the label value // 1000. Segments keep these values as ids; labels that are
not evaluated are VOID. Other than in those scripts' files, the name of an image begins with its
city, so that the file is found, and the categories are listed things first, as mmdet wants them.
"""

from __future__ import annotations

import os
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.png import check_size, check_values, image_size, read_labels
from .jobs import Job, Rendered, source_bytes
from .panoptic_set import PanopticSplit, check_split, convert_split, panoptic_rendered
from .report import Report
from .segments import PanopticMap, Segment, make_panoptic_map
from .storage import files_in, require

LAYOUT = """\
  ROOT/
    gtFine/{train,val}/CITY/*_gtFine_instanceIds.png and *_gtFine_labelIds.png
                                               (from gtFine_trainvaltest.zip)
    leftImg8bit/{train,val}/CITY/*_leftImg8bit.png   (from leftImg8bit_trainvaltest.zip)"""
SPLITS = {'train': 2975, 'val': 500}
STUFF = {
    7: 'road', 8: 'sidewalk', 11: 'building', 12: 'wall', 13: 'fence', 17: 'pole',
    19: 'traffic light', 20: 'traffic sign', 21: 'vegetation', 22: 'terrain', 23: 'sky',
}  # fmt: skip
"""Name of each label that is stuff."""
THINGS = {
    24: 'person', 25: 'rider', 26: 'car', 27: 'truck', 28: 'bus', 31: 'train', 32: 'motorcycle',
    33: 'bicycle',
}  # fmt: skip
"""Name of each label that is a thing."""
NUM_LABELS = 34
_FIRST_INSTANCE = 1000
_SUFFIX = '_gtFine_instanceIds.png'


def cityscapes_categories() -> list[dict[str, Any]]:
    """Return the 19 evaluated classes, things first; the ids are Cityscapes' labels."""
    return [
        {'id': label, 'name': name, 'isthing': isthing}
        for isthing, names in ((1, THINGS), (0, STUFF))
        for label, name in names.items()
    ]


def cityscapes_panoptic(instance_ids: np.ndarray) -> PanopticMap:
    """Return the panoptic map of one image.

    Args:
        instance_ids: Labels from 0 to 33, or ``1000 * label + number``; integers, shape (H, W).

    Returns:
        The map; its category ids are labels.

    Raises:
        ValueError: If a value belongs to no label.
    """
    values, layers = np.unique(instance_ids, return_inverse=True)
    labels = np.where(values < _FIRST_INSTANCE, values, values // _FIRST_INSTANCE)
    wrong = values[(labels < 0) | (labels >= NUM_LABELS)].tolist()
    if wrong:
        raise ValueError(
            f'expected labels from 0 to {NUM_LABELS - 1}, or 1000 times a label plus a number, '
            f'got {wrong[:10]}'
        )
    ids, segments = [], []
    table = np.zeros(len(values), dtype=np.int32)
    for position, (value, label) in enumerate(zip(values.tolist(), labels.tolist(), strict=True)):
        if label in STUFF or label in THINGS:
            segments.append(Segment(label, label in THINGS and value < _FIRST_INSTANCE))
            ids.append(value)
            table[position] = len(segments)
    layers = table[layers.reshape(instance_ids.shape)]
    panoptic, _ = make_panoptic_map(layers, segments, ids=ids)
    panoptic.notes = +Counter({'crowds': sum(segment.iscrowd for segment in segments)})
    return panoptic


def convert_cityscapes(
    root: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] | None = None,
    check: bool = False,
    workers: int | None = None,
    skip_faulty: bool = False,
    overwrite: bool = False,
) -> list[Report]:
    """Write ``cityscapes_panoptic_{train,val}`` and their JSON files, or check them.

    Args:
        root: The folder that holds gtFine and leftImg8bit.
        out: Where to write; by default gtFine.
        check: Whether what was written before is only checked.
        workers: Number of processes; one per core by default.
        skip_faulty: Whether images with faults are left out.
        overwrite: Whether files that no converter wrote may be replaced.

    Raises:
        FileNotFoundError: If the layout is another one.
        ValueError: If an input would be written over.
        FileExistsError: If a file is there that no converter wrote.
        PermissionError: If a folder cannot be written.
        RuntimeError: If there is too little room.
    """
    root = Path(root)
    out = root / 'gtFine' if out is None else Path(out)
    splits = [_split(root, out, name) for name in SPLITS]
    if check:
        return [check_split(split, workers=workers, skip_faulty=skip_faulty) for split in splits]
    for split in splits:
        split.check_outputs(overwrite=overwrite)
    return [
        convert_split(split, workers=workers, skip_faulty=skip_faulty, overwrite=overwrite)
        for split in splits
    ]


def _split(root: Path, out: Path, name: str) -> PanopticSplit:
    image_folder = require(root / 'leftImg8bit' / name, LAYOUT)
    png_folder = out / f'cityscapes_panoptic_{name}'
    jobs = []
    for path in files_in(root / 'gtFine' / name, f'*/*{_SUFFIX}', LAYOUT):
        img_id = path.name.removesuffix(_SUFFIX)
        file_name = f'{path.parent.name}/{img_id}_leftImg8bit.png'
        labels = path.with_name(f'{img_id}_gtFine_labelIds.png')
        sources = (image_folder / file_name, path, labels)
        jobs.append(
            Job(
                name=file_name,
                target=png_folder / f'{img_id}_gtFine_panoptic.png',
                sources=sources,
                render=partial(_render, img_id, file_name, sources),
                rule='cityscapes panoptic',
                num_bytes=2 * source_bytes(path),
            )
        )
    return PanopticSplit(
        title=f'Cityscapes {name}',
        json_path=out / f'cityscapes_panoptic_{name}.json',
        png_folder=png_folder,
        image_folder=image_folder,
        categories=cityscapes_categories(),
        jobs=jobs,
        full_count=SPLITS[name],
    )


def _render(img_id: str, file_name: str, sources: tuple[Path, ...]) -> Rendered:
    image, instance_path, label_path = sources
    size = image_size(image)
    instance_ids, label_ids = read_labels(instance_path), read_labels(label_path)
    check_size(instance_path, instance_ids, size)
    check_size(label_path, label_ids, size)
    check_values(label_path, label_ids, np.ones(NUM_LABELS, bool), f'0 to {NUM_LABELS - 1}')
    try:
        panoptic = cityscapes_panoptic(instance_ids)
    except ValueError as error:
        raise ValueError(f'{instance_path}: {error}') from error
    own = np.where(instance_ids < _FIRST_INSTANCE, instance_ids, instance_ids // _FIRST_INSTANCE)
    differing = int((own != label_ids).sum())
    if differing:
        panoptic.notes['pixels whose labelIds differ from their instanceIds'] = differing
    return panoptic_rendered(
        panoptic, img_id=img_id, file_name=file_name, png_name=f'{img_id}_gtFine_panoptic.png'
    )
