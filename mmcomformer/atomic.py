"""Files that are either old or new, never half written."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replaced_file(path: str | Path, *, sync: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; at the end it becomes ``path``.

    If anything fails in between, ``path`` is left as it was and the temporary file is removed.

    Args:
        path: The file to write; its folder is created.
        sync: Whether to wait until the content, and then the new name, are on the disk, so that a
            power cut leaves the old file or the new one; False for many small files that are
            checked when read.

    Raises:
        OSError: If the folder cannot be written.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with replaced_file(folder / 'a.txt') as temporary:
        ...     _ = temporary.write_text('new')
        >>> [file.name for file in folder.iterdir()]
        ['a.txt']
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # the process id keeps two processes that write the same file apart
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        yield temporary
        if sync:
            with open(temporary, 'rb+') as file:
                # a power cut must not rename an empty file into place
                os.fsync(file.fileno())
        os.replace(temporary, path)
        if sync:
            sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def sync_folder(folder: str | Path) -> None:
    """Wait until the names in a folder are on the disk, where the system can do that."""
    # Windows opens no folders, and some network file systems flush none
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that killed processes left in a folder.

    This process must not be writing one: in a container it often has the number of a killed one.
    """
    for path in folder.glob('.*.tmp'):
        number = path.suffixes[-2:-1]
        if number and number[0][1:].isdigit() and not _runs_beside_us(int(number[0][1:])):
            path.unlink(missing_ok=True)


def _runs_beside_us(process: int) -> bool:
    if process == os.getpid():
        return False
    if sys.platform == 'win32':
        # there, asking for a process ends it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
