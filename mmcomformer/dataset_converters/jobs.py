"""A conversion as many independent jobs, each of which writes one PNG."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..atomic import remove_leftovers
from ..datasets.parallel import parallel
from ..datasets.png import read_record, write_png
from .report import Report
from .storage import prepare_folder, size_on_disk, writing_failed

_VERSION = 1
"""To be increased when the same sources give other files."""


class Rendered(NamedTuple):
    """What a job makes: the picture, and a record with ``notes`` and what else is wanted later."""

    image: np.ndarray
    record: dict[str, Any]


@dataclass(frozen=True)
class Job:
    """The conversion of one image.

    Args:
        name: Name of the image, for messages.
        target: The PNG to write.
        sources: The files that it is made of; all have to exist.
        render: Makes it. Raises ValueError or FileNotFoundError if the sources are faulty.
        rule: What else determines the result, so that a change is noticed.
        num_bytes: Length of the PNG, roughly.
    """

    name: str
    target: Path
    sources: tuple[Path, ...]
    render: Callable[[], Rendered]
    rule: str
    num_bytes: int


class Outcome(NamedTuple):
    """What became of a job: its record or its fault."""

    record: dict[str, Any] | None
    fault: str | None = None
    reused: bool = False


def source_bytes(*paths: Path) -> int:
    """Return the length of files together; those that are missing count nothing."""
    return sum(path.stat().st_size for path in paths if path.is_file())


def _state(job: Job) -> str:
    """Return what tells whether a PNG was made of these sources by this rule.

    Raises:
        FileNotFoundError: If a source is missing.
    """
    found = []
    for path in job.sources:
        if not path.is_file():
            raise FileNotFoundError(f'{path} does not exist')
        status = path.stat()
        found.append([path.name, status.st_size, status.st_mtime_ns])
    text = json.dumps([_VERSION, job.rule, found])
    return hashlib.sha256(text.encode()).hexdigest()


def run_job(job: Job) -> Outcome:
    """Write the PNG of a job, unless it is there.

    Raises:
        OSError: If it cannot be written.
    """
    try:
        state = _state(job)
        record = read_record(job.target)
        if record is not None and record.get('state') == state:
            return Outcome(record, reused=True)
        image, record = job.render()
    except (FileNotFoundError, ValueError) as error:
        return Outcome(None, fault=str(error))
    record = {**record, 'state': state}
    write_png(job.target, image, record)
    return Outcome(record)


def run_jobs(
    jobs: Sequence[Job], folder: Path, *, workers: int | None, report: Report
) -> list[dict[str, Any] | None]:
    """Run jobs that write to one folder, and report on them.

    Args:
        jobs: The jobs.
        folder: The folder of their PNGs.
        workers: Number of processes.
        report: What faults and notes are added to.

    Returns:
        The record of each job; None of one with a fault.

    Raises:
        PermissionError: If the folder cannot be written.
        RuntimeError: If there is too little room for what is missing.
    """
    prepare_folder(folder, missing_bytes(jobs))
    for parent in {job.target.parent for job in jobs}:
        remove_leftovers(parent)
    records: list[dict[str, Any] | None] = []
    try:
        for job, outcome in zip(
            jobs, parallel(run_job, jobs, workers=workers, title=report.title), strict=True
        ):
            records.append(outcome.record)
            if outcome.fault is not None:
                report.faults.append(outcome.fault)
                report.faulty.append(job.name)
            if outcome.record is not None:
                report.add_notes(job.name, outcome.record['notes'])
                report.num_reused += outcome.reused
                report.num_written += not outcome.reused
    except OSError as error:
        path = Path(error.filename or folder)
        raise writing_failed(error, missing_bytes(jobs), path) from error
    return records


def missing_bytes(jobs: Sequence[Job]) -> int:
    """Return what the PNGs that are still to be written take up, roughly."""
    return sum(size_on_disk(job.num_bytes) for job in jobs if not job.target.exists())


def stray_files(jobs: Sequence[Job], folder: Path) -> list[str]:
    """Return the names of the PNGs in a folder that no job writes."""
    targets = {job.target for job in jobs}
    return sorted(path.name for path in folder.glob('*.png') if path not in targets)
