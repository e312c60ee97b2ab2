"""Files that are either old or new, never half written."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
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
    # keeps processes that write the same file apart, those of other machines too
    temporary = path.with_name(f'.{path.name}.{_machine_mark()}-{os.getpid()}.tmp')
    try:
        yield temporary
        if sync:
            with open(temporary, 'rb+') as file:
                # a power cut must not rename an empty file into place
                os.fsync(file.fileno())
        os.replace(temporary, path)
        if sync:
            sync_folder(path.parent)
    except OSError as error:
        # a write that fails, for lack of room, does not say which file
        if error.filename is None and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    except RuntimeError as error:
        # torch's writer fails again when it is closed, in words of its own
        cause = error.__context__
        if isinstance(cause, OSError) and cause.errno is not None:
            raise OSError(cause.errno, cause.strerror, str(path)) from error
        raise
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


_TEMPORARY = re.compile(r'\.(?:([0-9a-f]{8})-)?(\d+)\.tmp$')
"""How a temporary file ends: machine, which earlier versions left out, and process."""
_FORGOTTEN = 24 * 3600
"""Seconds after which a temporary file of another machine, which writes no longer, is removed."""


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that killed processes left in a folder.

    This process must not be writing one: in a container it often has the number of a killed one.
    Those of another machine cannot be told from files that are being written until they are a day
    old.
    """
    for path in folder.glob('.*.tmp'):
        match = _TEMPORARY.search(path.name)
        if match is None:
            continue
        machine, process = match.groups()
        if machine not in (None, _machine_mark()):
            if _age(path) > _FORGOTTEN:
                path.unlink(missing_ok=True)
        elif not _runs_beside_us(int(process)):
            path.unlink(missing_ok=True)


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def machine() -> str:
    """Return what distinguishes the set of process ids that this process lives in."""
    parts = [socket.gethostname()]
    # two containers on one machine number their processes apart
    with contextlib.suppress(OSError):
        parts.append(Path('/proc/sys/kernel/random/boot_id').read_text().strip())
        parts.append(os.readlink('/proc/self/ns/pid'))
    return ' '.join(parts)


@lru_cache(maxsize=1)
def _machine_mark() -> str:
    return hashlib.blake2b(machine().encode(), digest_size=4).hexdigest()


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
