"""ADE20K as downloaded (ADEChallengeData2016 and annotations_instance) to a panoptic set.

Stuff is taken from the semantic labels and things from the instance annotations, which are pasted
over it; a pixel of a thing class in the semantic labels that no instance covers is VOID. This is
the rule of mmdet's and Mask2Former's converters. The ids of the categories are the labels of
mmdet's ADE20KPanopticDataset, things first.
"""

from __future__ import annotations

import os
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.png import check_size, check_values, image_size, read_labels
from .class_names import ADE20K_STUFF, ADE20K_THINGS
from .jobs import Job, Rendered, source_bytes
from .panoptic_set import PanopticSplit, check_split, convert_split, panoptic_rendered
from .report import Report
from .segments import PanopticMap, Segment, make_panoptic_map, stuff_layers
from .semantic_set import SemanticSplit, check_semantic, convert_semantic
from .storage import files_in, require

LAYOUT = """\
  ROOT/                               (ADEChallengeData2016, from ADEChallengeData2016.zip)
    images/{training,validation}/*.jpg
    annotations/{training,validation}/*.png
    annotations_instance/{training,validation}/*.png   (from annotations_instance.tar)"""
SPLITS = (('train', 'training', 20210), ('val', 'validation', 2000))
NUM_CLASSES = 150

# fmt: off
THING_LABELS = (
    8, 9, 11, 13, 15, 16, 19, 20, 21, 23, 24, 25, 28, 31, 32, 33, 34, 36, 37, 38, 39, 40, 42, 43,
    44, 45, 46, 48, 50, 51, 54, 56, 57, 58, 59, 63, 65, 66, 67, 68, 70, 71, 72, 73, 74, 75, 76,
    77, 79, 81, 82, 83, 84, 86, 87, 88, 89, 90, 91, 93, 94, 96, 98, 99, 103, 104, 105, 108, 109,
    111, 112, 113, 116, 117, 119, 120, 121, 122, 124, 125, 126, 127, 128, 130, 131, 133, 134, 135,
    136, 137, 138, 139, 140, 143, 144, 145, 147, 148, 149, 150,
)
# fmt: on
"""SceneParse150's label (1 to 150) of each instance category (1 to 100), in their order."""

_IS_THING = np.isin(np.arange(NUM_CLASSES + 1), THING_LABELS)
# mmdet lists the things and the stuff each in SceneParse150's order; label 0 is neither
_STUFF_CATEGORY = np.where(_IS_THING, -1, len(THING_LABELS) - 1 + np.cumsum(~_IS_THING) - 1)
_STUFF_CATEGORY[0] = -1
_KNOWN_LABELS = np.ones(NUM_CLASSES + 1, dtype=bool)


def ade20k_categories() -> list[dict[str, Any]]:
    """Return the categories as mmdet lists them; the id of each is its label there."""
    return [
        {'id': label, 'name': name, 'isthing': int(label < len(ADE20K_THINGS))}
        for label, name in enumerate(ADE20K_THINGS + ADE20K_STUFF)
    ]


def ade20k_panoptic(semantic: np.ndarray, instances: np.ndarray) -> PanopticMap:
    """Return the panoptic map of one image.

    Args:
        semantic: 0 for other, 1 to 150 for the classes; uint8, shape (H, W).
        instances: uint8, shape (H, W, 3): the instance category, 1 to 100, in the first channel
            and the number of the instance in the second; 0 where there is none.

    Returns:
        The map; category ids are those of :func:`ade20k_categories`.

    Raises:
        ValueError: If an instance has no category, an unknown one, or two.
    """
    layers, segments = stuff_layers(semantic, _STUFF_CATEGORY.tolist())
    num_stuff = len(segments)
    numbers = instances[..., 1]
    table = np.zeros(256, dtype=np.int32)
    for number, category in instances_of(instances).items():
        segments.append(Segment(category - 1))
        table[number] = len(segments)
    layers = np.where(numbers > 0, table[numbers], layers)
    panoptic, hidden = make_panoptic_map(layers, segments)
    panoptic.notes = Counter(
        {
            'stuff wholly under things, left out': sum(k < num_stuff for k in hidden),
            'pixels of thing classes without an instance, now VOID': int(
                (_IS_THING[semantic] & (numbers == 0)).sum()
            ),
        }
    )
    panoptic.notes = +panoptic.notes
    return panoptic


def instances_of(instances: np.ndarray) -> dict[int, int]:
    """Return the category, 1 to 100, of each instance of an image by its number.

    Args:
        instances: As in :func:`ade20k_panoptic`.

    Raises:
        ValueError: If an instance has no category, an unknown one, or two.
    """
    pairs = np.unique(instances[..., 1].astype(np.int32) * 256 + instances[..., 0])
    pairs = pairs[pairs >= 256]
    found, categories = (pairs // 256).tolist(), (pairs % 256).tolist()
    wrong = [category for category in categories if not 1 <= category <= len(THING_LABELS)]
    if wrong:
        raise ValueError(f'expected instance categories from 1 to 100, got {wrong[:10]}')
    if len(set(found)) != len(found):
        number = next(number for number in found if found.count(number) > 1)
        raise ValueError(f'instance {number} has more than one category')
    return dict(zip(found, categories, strict=True))


def shifted_labels(semantic: np.ndarray) -> np.ndarray:
    """Return labels from 0 to 149, with 255 for other, of labels with 0 for other.

    Example:
        >>> shifted_labels(np.array([0, 1, 150], dtype=np.uint8))
        array([255,   0, 149], dtype=uint8)
    """
    return semantic - np.uint8(1)


def convert_ade20k(
    root: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] | None = None,
    shifted_semantic: bool = False,
    check: bool = False,
    workers: int | None = None,
    skip_faulty: bool = False,
    overwrite: bool = False,
) -> list[Report]:
    """Write ``ade20k_panoptic_{train,val}`` and their JSON files, or check them.

    Args:
        root: The folder as downloaded.
        out: Where to write; by default the same folder.
        shifted_semantic: Whether ``annotations_sem`` is written as well, with labels from 0 to
            149 and 255 for other.
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
    out = root if out is None else Path(out)
    splits = [_panoptic_split(root, out, *names) for names in SPLITS]
    semantic = [_semantic_split(root, out, *names) for names in SPLITS] if shifted_semantic else []
    if check:
        reports = [check_split(split, workers=workers, skip_faulty=skip_faulty) for split in splits]
        return reports + [check_semantic(split, workers=workers) for split in semantic]
    for split in splits:
        split.check_outputs(overwrite=overwrite)
    reports = [
        convert_split(split, workers=workers, skip_faulty=skip_faulty, overwrite=overwrite)
        for split in splits
    ]
    return reports + [
        convert_semantic(split, workers=workers, overwrite=overwrite) for split in semantic
    ]


def _panoptic_split(
    root: Path, out: Path, name: str, folder: str, full_count: int
) -> PanopticSplit:
    image_folder = root / 'images' / folder
    images = files_in(image_folder, '*.jpg', LAYOUT)
    semantic = require(root / 'annotations' / folder, LAYOUT)
    instances = require(root / 'annotations_instance' / folder, LAYOUT)
    png_folder = out / f'ade20k_panoptic_{name}'
    jobs = []
    for image in images:
        sources = (image, semantic / f'{image.stem}.png', instances / f'{image.stem}.png')
        jobs.append(
            Job(
                name=image.name,
                target=png_folder / f'{image.stem}.png',
                sources=sources,
                render=partial(_render_panoptic, *sources),
                rule='ade20k panoptic',
                num_bytes=source_bytes(*sources[1:]),
            )
        )
    return PanopticSplit(
        title=f'ADE20K {name}',
        json_path=out / f'ade20k_panoptic_{name}.json',
        png_folder=png_folder,
        image_folder=image_folder,
        categories=ade20k_categories(),
        jobs=jobs,
        full_count=full_count,
    )


def _read_semantic(path: Path, size: tuple[int, int]) -> np.ndarray:
    semantic = read_labels(path)
    check_size(path, semantic, size)
    check_values(path, semantic, _KNOWN_LABELS, 'labels from 0 to 150')
    return semantic.astype(np.uint8)


def _render_panoptic(image: Path, semantic_path: Path, instance_path: Path) -> Rendered:
    size = image_size(image)
    semantic = _read_semantic(semantic_path, size)
    instances = read_labels(instance_path, channels=3)
    check_size(instance_path, instances, size)
    try:
        panoptic = ade20k_panoptic(semantic, instances)
    except ValueError as error:
        raise ValueError(f'{instance_path}: {error}') from error
    return panoptic_rendered(
        panoptic, img_id=image.stem, file_name=image.name, png_name=f'{image.stem}.png'
    )


def _semantic_split(
    root: Path, out: Path, name: str, folder: str, full_count: int
) -> SemanticSplit:
    target = out / 'annotations_sem' / folder
    jobs = []
    for image in files_in(root / 'images' / folder, '*.jpg', LAYOUT):
        source = root / 'annotations' / folder / f'{image.stem}.png'
        jobs.append(
            Job(
                name=image.name,
                target=target / source.name,
                sources=(image, source),
                render=partial(_render_semantic, image, source),
                rule='ade20k semantic',
                num_bytes=source_bytes(source),
            )
        )
    return SemanticSplit(
        title=f'ADE20K {name}, semantic',
        folder=target,
        num_classes=NUM_CLASSES,
        jobs=jobs,
        full_count=full_count,
    )


def _render_semantic(image: Path, path: Path) -> Rendered:
    semantic = _read_semantic(path, image_size(image))
    return Rendered(shifted_labels(semantic), {'notes': {}})
