"""COCO's panoptic annotations of 2017: they are usable as downloaded, so they are checked.

All that may be written is the folder of the PNGs, which COCO packs as a zip file within the zip
file of the annotations. Nothing is corrected.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..atomic import remove_leftovers, replaced_file
from ..datasets.parallel import Progress
from ..outputs import check_outputs
from .class_names import COCO_STUFF, COCO_THINGS
from .panoptic_set import check_images, read_annotations
from .report import Report
from .storage import prepare_folder, require, size_on_disk, writing_failed

LAYOUT = """\
  ROOT/
    train2017/*.jpg, val2017/*.jpg            (from train2017.zip, val2017.zip)
    annotations/                              (from panoptic_annotations_trainval2017.zip)
      panoptic_train2017.json, panoptic_val2017.json
      panoptic_train2017/*.png or panoptic_train2017.zip, and so for val2017"""
SPLITS = {'train2017': 118287, 'val2017': 5000}


def convert_coco_panoptic(
    root: str | os.PathLike[str],
    *,
    splits: Sequence[str] = tuple(SPLITS),
    check: bool = False,
    workers: int | None = None,
    overwrite: bool = False,
) -> list[Report]:
    """Unpack the PNGs if their folder is not complete, and check annotations, PNGs and images.

    Args:
        root: The folder of COCO.
        splits: Names of the splits.
        check: Whether nothing is unpacked.
        workers: Number of processes; one per core by default.
        overwrite: Whether files that no converter wrote may be replaced.

    Raises:
        FileNotFoundError: If the layout is another one.
        ValueError: If an annotation file is malformed, or a split is unknown.
        FileExistsError: If a PNG is there that differs from the one in the zip file.
        PermissionError: If the folder cannot be written.
        RuntimeError: If there is too little room.
    """
    root = Path(root)
    unknown = [name for name in splits if name not in SPLITS]
    if unknown:
        raise ValueError(f'splits: expected some of {list(SPLITS)}, got {unknown}')
    return [_convert_split(root, name, check, workers, overwrite) for name in splits]


def _convert_split(
    root: Path, name: str, check: bool, workers: int | None, overwrite: bool
) -> Report:
    image_folder = require(root / name, LAYOUT)
    json_path = require(root / 'annotations' / f'panoptic_{name}.json', LAYOUT)
    folder = json_path.with_suffix('')
    archive = folder.with_suffix('.zip')
    content, images, annotations = read_annotations(json_path)
    report = Report(f'COCO {name}', len(images), SPLITS[name])
    source = folder
    if archive.is_file():
        if not check:
            _unpack(archive, folder, report, overwrite)
        elif not folder.is_dir():
            source = archive
            report.outputs.append(
                f'note: {archive} was checked; it has to be unpacked for training (call the '
                f'command without --check)'
            )
    require(source, LAYOUT)
    report.faults += _category_faults(json_path, content['categories'])
    report.faults += check_images(
        images,
        annotations,
        png_source=source,
        image_folder=image_folder,
        category_ids={category['id'] for category in content['categories']},
        workers=workers,
        title=f'{report.title} (check)',
    )
    return report


def _category_faults(path: Path, categories: Sequence[dict[str, Any]]) -> list[str]:
    expected = {(name, 1) for name in COCO_THINGS} | {(name, 0) for name in COCO_STUFF}
    difference = {(entry.get('name'), entry.get('isthing')) for entry in categories} ^ expected
    if not difference:
        return []
    return [
        f"{path}: categories (name, isthing) differ from COCO's 133: "
        f'{sorted(difference, key=str)[:4]}'
    ]


def _unpack(archive_path: Path, folder: Path, report: Report, overwrite: bool) -> None:
    """Unpack the PNGs that are missing in the folder, or have another length there."""
    try:
        archive = zipfile.ZipFile(archive_path)
    except zipfile.BadZipFile as error:
        raise ValueError(f'{archive_path} is damaged ({error}); get it again') from error
    with archive:
        entries = {
            Path(entry.filename).name: entry
            for entry in archive.infolist()
            if entry.filename.endswith('.png') and '__MACOSX' not in entry.filename
        }
        there = {path.name: path.stat().st_size for path in folder.glob('*.png')}
        missing = {
            name: entry for name, entry in entries.items() if there.get(name) != entry.file_size
        }
        report.num_reused = len(entries) - len(missing)
        if not missing:
            return
        changed = [
            folder / name
            for name, entry in missing.items()
            if name in there and not _is_beginning(folder / name, archive, entry)
        ]
        check_outputs(changed, folder=folder, overwrite=overwrite)
        needed = sum(size_on_disk(entry.file_size) for entry in missing.values())
        prepare_folder(folder, needed)
        remove_leftovers(folder)
        progress = Progress(f'{report.title} (unpacking)', len(missing))
        for name, entry in missing.items():
            _unpack_one(archive, entry, folder / name, needed)
            needed -= size_on_disk(entry.file_size)
            report.num_written += 1
            progress.update()


def _is_beginning(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bool:
    """Tell whether a file is what an interrupted unpacking leaves."""
    with archive.open(entry) as file:
        return file.read(path.stat().st_size) == path.read_bytes()


def _unpack_one(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path, needed: int) -> None:
    try:
        content = archive.read(entry)
    except (zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f'{archive.filename} is damaged ({error}); get it again') from error
    try:
        with replaced_file(path, sync=False) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise writing_failed(error, needed, path) from error
