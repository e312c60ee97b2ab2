"""Writing and checking one split of a panoptic set: a JSON file and a folder of PNGs."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.panoptic_annotations import read_panoptic_json
from ..datasets.panoptic_png import ids_to_rgb, rgb_to_ids
from ..datasets.parallel import parallel
from ..datasets.png import image_size, orientation_note, read_labels
from ..outputs import check_apart, check_outputs
from .jobs import Job, Rendered, missing_bytes, run_jobs, stray_files
from .report import Report
from .segments import PanopticMap
from .storage import prepare_folder, size_on_disk, write_json

_JSON_BYTES_PER_IMAGE = 2000
"""Length of the annotation file per image, of about 15 segments."""


@dataclass(frozen=True)
class PanopticSplit:
    """One split of a panoptic set.

    Args:
        title: Its name, for messages.
        json_path: The annotation file.
        png_folder: The folder of the panoptic PNGs.
        image_folder: The folder that the names of the images begin in.
        categories: The categories as in the annotation file.
        jobs: One per image; see :func:`panoptic_rendered`.
        full_count: Number of images of the split as published.
        inputs: What is read besides the sources of the jobs: files, and folders of them.
        read: What was read, in words.
    """

    title: str
    json_path: Path
    png_folder: Path
    image_folder: Path
    categories: list[dict[str, Any]]
    jobs: list[Job] = field(default_factory=list)
    full_count: int | None = None
    inputs: tuple[Path, ...] = ()
    read: str = ''

    def check_outputs(self, *, overwrite: bool) -> None:
        """Check, before anything is written, that all of it may be.

        Raises:
            ValueError: If an input would be written over, or a file outside the folders.
            FileExistsError: If a file is there that no converter wrote.
        """
        sources = [path for job in self.jobs for path in job.sources]
        folders = [self.image_folder, *(path for path in self.inputs if path.is_dir())]
        check_apart(self.png_folder, folders, 'the PNGs of segments')
        targets = [job.target for job in self.jobs]
        check_outputs(targets, inputs=sources, folder=self.png_folder, overwrite=overwrite)
        files = [path for path in self.inputs if path.is_file()]
        check_outputs([self.json_path], inputs=[*sources, *files], overwrite=overwrite)


def panoptic_rendered(
    panoptic: PanopticMap, *, img_id: int | str, file_name: str, png_name: str
) -> Rendered:
    """Return what the job of a panoptic image makes."""
    height, width = panoptic.ids.shape
    record = {
        'image': {'id': img_id, 'file_name': file_name, 'height': height, 'width': width},
        'annotation': {
            'image_id': img_id,
            'file_name': png_name,
            'segments_info': panoptic.segments_info,
        },
        'notes': dict(panoptic.notes),
    }
    return Rendered(ids_to_rgb(panoptic.ids), record)


def convert_split(
    split: PanopticSplit,
    *,
    workers: int | None = None,
    skip_faulty: bool = False,
    overwrite: bool = False,
) -> Report:
    """Write what is missing of a split; the annotation file last.

    Args:
        split: The split.
        workers: Number of processes; one per core by default.
        skip_faulty: Whether images with faults are left out of the annotation file. By default
            it is not written if there is one.
        overwrite: Whether files that no converter wrote may be replaced.

    Raises:
        ValueError: If an input would be written over, or a file outside the folders.
        FileExistsError: If a file is there that no converter wrote.
        PermissionError: If a folder cannot be written.
        RuntimeError: If there is too little room.
    """
    split.check_outputs(overwrite=overwrite)
    report = Report(split.title, len(split.jobs), split.full_count, left_out=skip_faulty)
    if split.read:
        report.outputs.append(f'read: {split.read}')
    json_bytes = size_on_disk(len(split.jobs) * _JSON_BYTES_PER_IMAGE)
    prepare_folder(split.json_path.parent, json_bytes + missing_bytes(split.jobs))
    records = run_jobs(split.jobs, split.png_folder, workers=workers, report=report)
    _note_strays(split.jobs, split.png_folder, report)
    kept = [record for record in records if record is not None]
    if not report.usable or not kept:
        report.left_out = False
        if not kept and not report.faults:
            report.shortfalls.append('there is no image')
        report.outputs.append(f'{split.json_path} was not written')
        return report
    segments = sum(len(record['annotation']['segments_info']) for record in kept)
    if not segments:
        report.shortfalls.append('no image has a segment')
    write_json(
        split.json_path,
        {
            'images': [record['image'] for record in kept],
            'annotations': [record['annotation'] for record in kept],
            'categories': split.categories,
        },
    )
    report.outputs.append(
        f'{split.json_path}: {len(kept)} of {len(split.jobs)} images, {segments} segments'
    )
    return report


def _note_strays(jobs: Sequence[Job], folder: Path, report: Report) -> None:
    strays = stray_files(jobs, folder)
    if strays:
        report.outputs.append(
            f'note: {folder} has {len(strays)} PNGs of other images, such as {strays[0]}'
        )


def check_split(
    split: PanopticSplit, *, workers: int | None = None, skip_faulty: bool = False
) -> Report:
    """Check a split that was written before; nothing is changed.

    Args:
        split: The split.
        workers: Number of processes; one per core by default.
        skip_faulty: Whether images may be missing in the annotation file.
    """
    report = Report(split.title, len(split.jobs), split.full_count)
    try:
        content, images, annotations = read_annotations(split.json_path)
    except (FileNotFoundError, ValueError) as error:
        report.faults.append(f'{error}; run the command without --check')
        return report
    report.num_images = len(images)
    if not images:
        report.shortfalls.append('there is no image')
    if not skip_faulty:
        report.faults += _missing_images(split, annotations)
    report.faults += _category_faults(split, content['categories'])
    report.faults += check_images(
        images,
        annotations,
        png_source=split.png_folder,
        image_folder=split.image_folder,
        category_ids={category['id'] for category in split.categories},
        workers=workers,
        title=f'{split.title} (check)',
    )
    return report


def read_annotations(path: Path) -> tuple[dict[str, Any], list[dict], dict[Any, dict]]:
    """Return a panoptic annotation file, its images, and its annotations by image id.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is malformed, or an image is annotated twice.
    """
    content = read_panoptic_json(path)
    images = [
        {key: image[key] for key in ('id', 'file_name', 'height', 'width')}
        for image in content['images']
    ]
    return content, images, {entry['image_id']: entry for entry in content['annotations']}


def _missing_images(split: PanopticSplit, annotations: Mapping[Any, dict]) -> list[str]:
    listed = {entry.get('file_name') for entry in annotations.values()}
    missing = [
        job.name
        for job in split.jobs
        if job.target.relative_to(split.png_folder).as_posix() not in listed
    ]
    if not missing:
        return []
    return [
        f'{split.json_path} lacks {len(missing)} of {len(split.jobs)} images, such as {missing[0]}'
    ]


def _category_faults(split: PanopticSplit, found: Sequence[dict]) -> list[str]:
    def described(categories: Sequence[dict]) -> set[tuple]:
        return {(c.get('id'), c.get('name'), c.get('isthing')) for c in categories}

    difference = described(split.categories) ^ described(found)
    if not difference:
        return []
    return [
        f'{split.json_path}: categories (id, name, isthing) differ from those of the dataset: '
        f'{sorted(difference, key=str)[:4]}'
    ]


def check_images(
    images: Sequence[dict],
    annotations: Mapping[Any, dict],
    *,
    png_source: Path,
    image_folder: Path,
    category_ids: set[int],
    workers: int | None,
    title: str,
) -> list[str]:
    """Compare annotations with their PNGs and images; return the faults.

    Args:
        images: The images of the annotation file.
        annotations: The annotations by image id.
        png_source: The folder of the PNGs, or a zip file that holds it.
        image_folder: The folder of the images.
        category_ids: The ids that a segment may have.
        workers: Number of processes.
        title: Name of the progress display.
    """
    check = partial(
        _check_image,
        png_source=png_source,
        image_folder=image_folder,
        category_ids=frozenset(category_ids),
    )
    pairs = [(image, annotations.get(image['id'])) for image in images]
    return [
        fault for found in parallel(check, pairs, workers=workers, title=title) for fault in found
    ]


def _check_image(
    pair: tuple[dict, dict | None],
    *,
    png_source: Path,
    image_folder: Path,
    category_ids: frozenset[int],
) -> list[str]:
    image, annotation = pair
    if annotation is None:
        return [f'{image["file_name"]} has no annotation']
    faults = []
    size = (image['height'], image['width'])
    try:
        path = image_folder / image['file_name']
        found = image_size(path)
        if found != size:
            faults.append(
                f'{image["file_name"]} has {found[0]} x {found[1]} pixels and the annotation says '
                f'{size[0]} x {size[1]} (height x width){orientation_note(path.read_bytes())}'
            )
    except (FileNotFoundError, ValueError) as error:
        faults.append(str(error))
    try:
        ids = _read_ids(png_source, annotation['file_name'])
        faults += _segment_faults(annotation, ids, size, category_ids)
    except (FileNotFoundError, ValueError) as error:
        faults.append(str(error))
    return faults


def _read_ids(source: Path, name: str) -> np.ndarray:
    if source.suffix != '.zip':
        return rgb_to_ids(read_labels(source / name, channels=3))
    try:
        content = _open_zip(source, source.stat().st_mtime_ns).read(f'{source.stem}/{name}')
    except KeyError as error:
        raise FileNotFoundError(f'{source} has no {source.stem}/{name}') from error
    except (zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f'{source} is damaged at {name} ({error}); get it again') from error
    return rgb_to_ids(read_labels(source / name, channels=3, content=content))


@lru_cache(maxsize=1)
def _open_zip(path: Path, mtime_ns: int) -> zipfile.ZipFile:
    # kept open: the list of its files is long
    return zipfile.ZipFile(path)


def _segment_faults(
    annotation: dict, ids: np.ndarray, size: tuple[int, int], category_ids: frozenset[int]
) -> list[str]:
    name = annotation['file_name']
    if ids.shape != size:
        return [
            f'{name} has {ids.shape[0]} x {ids.shape[1]} pixels and the annotation says '
            f'{size[0]} x {size[1]} (height x width)'
        ]
    values, counts = np.unique(ids[ids > 0], return_counts=True)
    in_png = dict(zip(values.tolist(), counts.tolist(), strict=True))
    listed = {segment['id']: segment for segment in annotation['segments_info']}
    faults = []
    if len(listed) != len(annotation['segments_info']):
        faults.append(f'{name}: a segment id is listed twice')
    for text, found in (
        ('only in the PNG', sorted(set(in_png) - set(listed))),
        ('only in the annotation', sorted(set(listed) - set(in_png))),
    ):
        if found:
            faults.append(f'{name}: {len(found)} segment ids are {text}, such as {found[0]}')
    for id_, segment in listed.items():
        if segment['category_id'] not in category_ids:
            faults.append(
                f'{name}: segment {id_} has the unknown category {segment["category_id"]}'
            )
        if id_ in in_png and segment.get('area', in_png[id_]) != in_png[id_]:
            faults.append(
                f'{name}: segment {id_} has {in_png[id_]} pixels and the area {segment["area"]}'
            )
    return faults
