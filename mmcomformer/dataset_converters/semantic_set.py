"""Writing and checking one split of a semantic set: a folder of PNGs with a label per pixel."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..datasets.parallel import parallel
from ..datasets.png import check_size, check_values, image_size, read_labels
from ..outputs import check_apart, check_outputs
from .jobs import Job, run_jobs
from .report import Report

IGNORED = 255
"""Label of a pixel that counts neither in training nor in evaluation."""


@dataclass(frozen=True)
class SemanticSplit:
    """One split of a semantic set.

    Args:
        title: Its name, for messages.
        folder: The folder of the PNGs.
        num_classes: Number of classes; labels from 0, and 255 for what is ignored.
        jobs: One per image; the first of its sources is the image.
        full_count: Number of images of the split as published.
    """

    title: str
    folder: Path
    num_classes: int
    jobs: list[Job] = field(default_factory=list)
    full_count: int | None = None


def known_labels(num_classes: int) -> np.ndarray:
    """Return whether each value of a byte is a label or ignored, bool, shape (256,)."""
    values = np.arange(256)
    return (values < num_classes) | (values == IGNORED)


def convert_semantic(
    split: SemanticSplit, *, workers: int | None = None, overwrite: bool = False
) -> Report:
    """Write what is missing of a split.

    Args:
        split: The split.
        workers: Number of processes; one per core by default.
        overwrite: Whether files that no converter wrote may be replaced.

    Raises:
        ValueError: If an input would be written over, or a file outside the folder.
        FileExistsError: If a file is there that no converter wrote.
        PermissionError: If the folder cannot be written.
        RuntimeError: If there is too little room.
    """
    sources = [path for job in split.jobs for path in job.sources]
    check_apart(split.folder, {path.parent for path in sources}, 'the label maps')
    targets = [job.target for job in split.jobs]
    check_outputs(targets, inputs=sources, folder=split.folder, overwrite=overwrite)
    report = Report(split.title, len(split.jobs), split.full_count)
    records = run_jobs(split.jobs, split.folder, workers=workers, report=report)
    done = sum(record is not None for record in records)
    if not done and not report.faults:
        report.shortfalls.append('there is no image')
    report.outputs.append(f'{split.folder}: {done} of {len(split.jobs)} images')
    return report


def check_semantic(split: SemanticSplit, *, workers: int | None = None) -> Report:
    """Check a split that was written before; nothing is changed."""
    report = Report(split.title, len(split.jobs), split.full_count)
    known = known_labels(split.num_classes)
    items = [(job.target, job.sources[0], known) for job in split.jobs]
    found = parallel(_fault, items, workers=workers, title=f'{split.title} (check)')
    report.faults += [fault for fault in found if fault is not None]
    return report


def _fault(item: tuple[Path, Path, np.ndarray]) -> str | None:
    path, image, known = item
    try:
        labels = read_labels(path)
        check_size(path, labels, image_size(image))
        check_values(path, labels, known, f'labels from 0 to {known.sum() - 2}, or {IGNORED}')
    except (FileNotFoundError, ValueError) as error:
        return str(error)
    return None
