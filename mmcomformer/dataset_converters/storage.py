"""Folders that a conversion reads and writes, and what is wrong with them, in words."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..outputs import output_file

_FULL = (errno.ENOSPC, errno.EDQUOT)
_BLOCK = 4096
"""A file takes up whole blocks of a disk, in bytes."""


def require(path: Path, layout: str) -> Path:
    """Return a path that has to exist.

    Args:
        path: The file or folder.
        layout: How the download should be arranged.

    Raises:
        FileNotFoundError: If it does not exist; the message shows the layout.
    """
    if not path.exists():
        raise FileNotFoundError(f'{path} does not exist; expected the layout\n{layout}')
    return path


def files_in(folder: Path, pattern: str, layout: str) -> list[Path]:
    """Return the files of a folder that match a pattern, sorted.

    Raises:
        FileNotFoundError: If there is no folder, or none of its files matches.
    """
    files = sorted(
        path for path in require(folder, layout).glob(pattern) if not path.name.startswith('.')
    )
    if not files:
        raise FileNotFoundError(f'{folder} has no {pattern}; expected the layout\n{layout}')
    return files


def size_on_disk(num_bytes: float) -> int:
    """Return the bytes that a file of that length takes up."""
    return -(-int(num_bytes) // _BLOCK) * _BLOCK


def in_words(num_bytes: float) -> str:
    """Return a size for a message.

    Example:
        >>> in_words(300), in_words(2_340_000), in_words(1.2e10)
        ('1 KB', '2.3 MB', '12.0 GB')
    """
    for unit, size in (('GB', 1e9), ('MB', 1e6)):
        if num_bytes >= size:
            return f'{num_bytes / size:.1f} {unit}'
    return f'{max(1, round(num_bytes / 1e3))} KB'


def prepare_folder(folder: Path, needed: int) -> None:
    """Create a folder to write to, and check that it takes so many bytes.

    Raises:
        PermissionError: If it cannot be written.
        RuntimeError: If the disk has too little room.
    """
    probe = folder / f'.probe.{os.getpid()}.tmp'
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        _check_room(folder, needed, free)
        probe.write_bytes(b'')
        probe.unlink()
    except OSError as error:
        raise writing_failed(error, needed, folder) from error


def _check_room(folder: Path, needed: int, free: int) -> None:
    if needed > free:
        raise RuntimeError(
            f'{folder}: about {in_words(needed)} are needed and {in_words(free)} are free; make '
            f'room or choose another folder (--out). Nothing was written'
        )


def writing_failed(error: OSError, needed: int, path: Path) -> Exception:
    """Return the error to raise when writing failed; it says where, and how much is needed.

    Args:
        error: What the system reported.
        needed: Bytes that are still to be written, about.
        path: What was to be written.
    """
    if error.errno in _FULL:
        existing = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
        free = in_words(shutil.disk_usage(existing).free)
        return RuntimeError(
            f'{path}: the disk is full: about {in_words(needed)} more are needed and {free} are '
            f'free; make room, or choose another folder (--out), and run the command again: it '
            f'goes on where it stopped'
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return PermissionError(
            f'{path} cannot be written ({error.strerror}); about {in_words(needed)} are to be '
            f'written: allow it, or choose another folder (--out)'
        )
    return RuntimeError(
        f'{path} could not be written: {error.strerror or error}; run the command again when that '
        f'is solved: it goes on where it stopped'
    )


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file; it is complete or as it was.

    Raises:
        PermissionError: If the folder cannot be written.
        RuntimeError: If there is too little room.
    """
    write_text(path, json.dumps(content))


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a text file of lines; it is complete or as it was.

    Raises:
        PermissionError: If the folder cannot be written.
        RuntimeError: If there is too little room.
    """
    write_text(path, ''.join(f'{line}\n' for line in lines))


def write_text(path: Path, text: str) -> None:
    """Write a text file; it is complete or as it was.

    Raises:
        PermissionError: If the folder cannot be written.
        RuntimeError: If there is too little room.
    """
    try:
        with output_file(path) as temporary:
            temporary.write_text(text, encoding='utf-8')
    except OSError as error:
        raise writing_failed(error, size_on_disk(len(text)), path) from error
