"""Pascal VOC 2012, with the labels of SBD, to semantic PNGs of one channel.

Labels are 0 (background) to 20, and 255 for what is ignored. An image that both label keeps VOC's
own labels, which are finer. ``trainaug.txt`` is the usual augmented training list: VOC's training
images and all of SBD, without VOC's validation images; ``aug.txt`` is the part of it that only SBD
labels.
"""

from __future__ import annotations

import os
import zlib
from collections import Counter
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from ..datasets.png import check_size, check_values, image_size, read_labels
from ..outputs import check_outputs
from .jobs import Job, Rendered, source_bytes
from .report import Report
from .semantic_set import SemanticSplit, check_semantic, convert_semantic, known_labels
from .storage import require, write_lines

LAYOUT = """\
  VOC/                                (VOC2012, from VOCtrainval_11-May-2012.tar)
    JPEGImages/*.jpg
    SegmentationClass/*.png
    ImageSets/Segmentation/{train,val}.txt
  SBD/                                (from benchmark.tgz, its folder benchmark_RELEASE/dataset)
    cls/*.mat
    train.txt, val.txt"""
NUM_CLASSES = 21
FULL_COUNT_VOC = 2913
FULL_COUNT_AUG = 10582
_NUM_TRAIN = 1464
_DAMAGED = (
    *(MatReadError, zlib.error, OSError, ValueError, TypeError, KeyError, IndexError),
    NotImplementedError,
)
"""What reading a damaged file raises."""
OUT = 'SegmentationClassAug'


def augmented_lists(
    voc_train: Iterable[str], voc_val: Iterable[str], sbd: Iterable[str]
) -> tuple[list[str], list[str]]:
    """Return the augmented training list, and the part of it that only SBD labels; sorted.

    Example:
        >>> augmented_lists(['a', 'b'], ['c'], ['b', 'c', 'd'])
        (['a', 'b', 'd'], ['d'])
    """
    train, val, labelled = set(voc_train), set(voc_val), set(sbd)
    return sorted((train | labelled) - val), sorted(labelled - train - val)


def convert_voc(
    root: str | os.PathLike[str],
    *,
    sbd: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    check: bool = False,
    workers: int | None = None,
    skip_faulty: bool = False,
    overwrite: bool = False,
) -> list[Report]:
    """Write ``SegmentationClassAug`` and, with SBD, the augmented lists; or check them.

    Args:
        root: The folder VOC2012.
        sbd: The folder ``benchmark_RELEASE/dataset`` of SBD.
        out: Where to write; by default the same folder as VOC2012.
        check: Whether what was written before is only checked.
        workers: Number of processes; one per core by default.
        skip_faulty: Whether images with faults are left out of the lists.
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
    lists = root / 'ImageSets' / 'Segmentation'
    train, val = (_read_list(lists / f'{name}.txt') for name in ('train', 'val'))
    voc = _voc_split(root, out, sorted({*train, *val}))
    target = out / 'ImageSets' / 'Segmentation'
    if sbd is not None and not check:
        written = [target / f'{name}.txt' for name in ('trainaug', 'aug')]
        check_outputs(written, overwrite=overwrite)
    options: Any = {'workers': workers, 'skip_faulty': skip_faulty, 'overwrite': overwrite}
    reports = [_act(voc, check, **options)]
    if sbd is None:
        return reports
    sbd = Path(sbd)
    labelled = [name for split in ('train', 'val') for name in _read_list(sbd / f'{split}.txt')]
    trainaug, aug = augmented_lists(train, val, labelled)
    split = _sbd_split(root, sbd, out, aug)
    report = _act(split, check, **options)
    reports.append(report)
    expected = {target / 'trainaug.txt': trainaug, target / 'aug.txt': aug}
    if check:
        report.faults += _list_faults(expected, skip_faulty)
    elif all(report.usable for report in reports):
        faulty = {Path(name).stem for report in reports for name in report.faulty}
        _write_lists(expected, faulty, report)
    return reports


def _act(
    split: SemanticSplit, check: bool, *, workers: int | None, skip_faulty: bool, overwrite: bool
) -> Report:
    if check:
        return check_semantic(split, workers=workers)
    report = convert_semantic(split, workers=workers, overwrite=overwrite)
    report.left_out = skip_faulty
    return report


def _read_list(path: Path) -> list[str]:
    lines = require(path, LAYOUT).read_text(encoding='utf-8').splitlines()
    return [line.strip() for line in lines if line.strip()]


def _write_lists(lists: dict[Path, list[str]], faulty: set[str], report: Report) -> None:
    for path, names in lists.items():
        kept = [name for name in names if name not in faulty]
        write_lines(path, kept)
        full = FULL_COUNT_AUG if path.stem == 'trainaug' else FULL_COUNT_AUG - _NUM_TRAIN
        report.outputs.append(f'{path}: {len(kept)} images ({full} in the full set)')


def _list_faults(lists: dict[Path, list[str]], skip_faulty: bool) -> list[str]:
    faults = []
    for path, names in lists.items():
        if not path.is_file():
            faults.append(f'{path} does not exist; run the command without --check')
            continue
        found = Counter(_read_list(path))
        missing = set(names) - set(found)
        if missing and not skip_faulty:
            faults.append(f'{path} lacks {len(missing)} images, such as {min(missing)}')
        foreign = (set(found) - set(names)) | {name for name, count in found.items() if count > 1}
        if foreign:
            faults.append(f'{path} has {len(foreign)} images too many, such as {min(foreign)}')
    return faults


def _voc_split(root: Path, out: Path, names: list[str]) -> SemanticSplit:
    folder = require(root / 'SegmentationClass', LAYOUT)
    jobs = [_job(root, out, name, folder / f'{name}.png') for name in names]
    return SemanticSplit('VOC 2012 train and val', out / OUT, NUM_CLASSES, jobs, FULL_COUNT_VOC)


def _sbd_split(root: Path, sbd: Path, out: Path, names: list[str]) -> SemanticSplit:
    folder = require(sbd / 'cls', LAYOUT)
    jobs = [_job(root, out, name, folder / f'{name}.mat') for name in names]
    full_count = FULL_COUNT_AUG - _NUM_TRAIN
    return SemanticSplit('SBD beyond VOC', out / OUT, NUM_CLASSES, jobs, full_count)


def _job(root: Path, out: Path, name: str, labels: Path) -> Job:
    image = require(root / 'JPEGImages', LAYOUT) / f'{name}.jpg'
    return Job(
        name=image.name,
        target=out / OUT / f'{name}.png',
        sources=(image, labels),
        render=partial(_render, image, labels),
        rule='voc semantic',
        num_bytes=source_bytes(labels),
    )


def _render(image: Path, path: Path) -> Rendered:
    labels = read_labels(path) if path.suffix == '.png' else read_sbd_labels(path)
    check_size(path, labels, image_size(image))
    check_values(path, labels, known_labels(NUM_CLASSES), 'labels from 0 to 20, or 255')
    return Rendered(labels.astype(np.uint8), {'notes': {}})


def read_sbd_labels(path: Path) -> np.ndarray:
    """Read the class labels of an SBD file, integers, shape (H, W).

    Raises:
        ValueError: If it is damaged, or holds no class labels.
    """
    try:
        content = loadmat(path)
        labels = np.asarray(content['GTcls'][0, 0]['Segmentation'])
    except _DAMAGED as error:
        raise ValueError(f'{path} is no class file of SBD ({error!r}); get it again') from error
    if labels.ndim != 2 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f'{path}: expected labels of shape (H, W), got {labels.dtype} {labels.shape}'
        )
    return labels
