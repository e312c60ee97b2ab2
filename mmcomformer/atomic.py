"""Files that are either old or new, never half written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replaced_file(path: str | Path, *, sync: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; at the end it becomes ``path``.

    If anything fails in between, ``path`` is left as it was and the temporary file is removed.

    Args:
        path: The file to write; its folder is created.
        sync: Whether to wait until the content is on the disk, so that not even a power cut
            leaves an incomplete file; False for many small files that are checked when read.

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
    finally:
        temporary.unlink(missing_ok=True)
