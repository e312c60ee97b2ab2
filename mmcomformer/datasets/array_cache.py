"""Arrays that take long to compute, kept in a file that is never trusted blindly."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from ..atomic import replaced_file
from ..processes import on_first_process

Arrays = dict[str, np.ndarray]
CACHE_FOLDER = '.mmcomformer'
"""Hidden folder, beside the data, of what was computed from them."""
_KEY = 'key'


def files_key(paths: Iterable[str | Path], **settings: Any) -> str:
    """Return a hash that changes whenever one of the files or a setting may have changed.

    Of a file its path, size and times enter (that of its last change of any kind too, which copying
    a file does not preserve), not the content, which would take as long to read as to use.

    Args:
        paths: Local files; their order counts.
        **settings: What else the arrays depend on, as JSON takes it, the version included.

    Raises:
        FileNotFoundError: If a file does not exist.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for path in paths:
        status = os.stat(path)
        times = f'{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}'
        digest.update(f'{os.fspath(path)}\0{times}\0'.encode())
    return digest.hexdigest()


def cached_arrays(
    path: str | Path,
    *,
    key: Callable[[], str],
    compute: Callable[[], Arrays],
    accept: Callable[[Arrays], bool],
) -> Arrays:
    """Return arrays from a file, or compute them and write it.

    In distributed runs every process has to call this: the first one reads or computes and writes,
    and gives the others the arrays, or its error. A file that cannot be written costs a warning.

    Args:
        path: The file, an ``.npz``.
        key: Returns what the arrays were computed from, such as :func:`files_key`.
        compute: Returns the arrays.
        accept: Whether the arrays of a file that has the right key make sense.

    Raises:
        OSError: If ``key`` or ``compute`` raises one; likewise ValueError and RuntimeError.
    """
    return on_first_process(lambda: _load_or_compute(Path(path), key(), compute, accept))


def _load_or_compute(
    path: Path, key: str, compute: Callable[[], Arrays], accept: Callable[[Arrays], bool]
) -> Arrays:
    arrays = _load(path, key)
    if arrays is not None and accept(arrays):
        return arrays
    arrays = compute()
    try:
        with replaced_file(path) as temporary, open(temporary, 'wb') as file:
            content: dict[str, Any] = {_KEY: np.array(key), **arrays}
            np.savez(file, **content)
    except OSError as error:
        print_log(
            f'{path} could not be written ({error.strerror or error}), so that the next start '
            f'computes it again',
            logger='current',
            level=logging.WARNING,
        )
    return arrays


def _load(path: Path, key: str) -> Arrays | None:
    """Return the arrays of a file; None if it is missing, damaged or has another key."""
    try:
        # reading a member checks its checksum
        with np.load(path, allow_pickle=False) as content:
            if str(content[_KEY]) != key:
                return None
            return {name: content[name] for name in content.files if name != _KEY}
    except (OSError, ValueError, KeyError, EOFError, AttributeError, TypeError):
        return None
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError):
        return None
