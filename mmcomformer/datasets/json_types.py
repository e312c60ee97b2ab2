"""The types of COCO's annotation files, in one table, for every reader of them.

A column is checked at once, so that a million segments take little time; the record that is wrong
is looked for only when there is one.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

from mmengine import fileio

from .panoptic_png import MAX_ID

_MEMORY_PER_BYTE = 4
"""What reading takes at least, in bytes per byte of the file; the parsed content is larger."""
_LARGE = 1 << 28
"""From this length on, in bytes, the memory is looked at before a file is read."""


@dataclass(frozen=True)
class Kind:
    """What a value has to be.

    Attributes:
        words: What is expected, for the message.
        types: The types that it may have; a bool is no int here.
        low: The smallest number; None if there is none.
        high: The largest number; None if there is none.
        required: Whether the key has to be there.
    """

    words: str
    types: frozenset[type]
    low: float | None = None
    high: float | None = None
    required: bool = True

    def accepts(self, value: Any) -> bool:
        """Tell whether a value is of this kind; a string has to hold something."""
        return self.accept_all([value])

    def accept_all(self, values: list[Any]) -> bool:
        """Tell whether all values are of this kind."""
        if not set(map(type, values)) <= self.types:
            return False
        if not values:
            return True
        if self.types == _TEXT:
            return all(map(str.strip, values))
        if float in self.types and not math.isfinite(math.fsum(values)):
            return False
        return (self.low is None or min(values) >= self.low) and (
            self.high is None or max(values) <= self.high
        )


_TEXT = frozenset({str})
_WHOLE = frozenset({int})
_BOTH = frozenset({int, str})
_SIGN = frozenset({int, bool})
_WHOLE_OR_TEXT = 'a number without a fraction, or a string'

ID = Kind(_WHOLE_OR_TEXT, _BOTH)
INTEGER = Kind('a number without a fraction', _WHOLE)
NAME = Kind('a string that is not empty', _TEXT)
LENGTH = Kind('a positive number of pixels, without a fraction', _WHOLE, low=1)
FLAG = Kind('0 or 1', _SIGN, low=0, high=1)
OPTIONAL_FLAG = Kind('0 or 1', _SIGN, low=0, high=1, required=False)
AREA = Kind('a number of pixels', frozenset({int, float}), low=0, required=False)
SEGMENT_ID = Kind(f'segment ids from 1 to {MAX_ID}', _WHOLE, low=1, high=MAX_ID)
PIXEL_VALUE = Kind('a pixel value from 0 to 65535', _WHOLE, low=0, high=65535)
LIST = Kind('a list', frozenset({list}))
OPTIONAL_ID = Kind(_WHOLE_OR_TEXT, _BOTH, required=False)

Table = Mapping[str, Kind]
IMAGE: Table = {'id': ID, 'file_name': NAME, 'height': LENGTH, 'width': LENGTH}
THING: Table = {'id': INTEGER, 'name': NAME}
STUFF: Table = {'id': PIXEL_VALUE, 'name': NAME}
CATEGORY: Table = {**THING, 'isthing': FLAG}
INSTANCE: Table = {
    'id': OPTIONAL_ID,
    'image_id': ID,
    'category_id': INTEGER,
    'iscrowd': OPTIONAL_FLAG,
}
PANOPTIC: Table = {'image_id': ID, 'file_name': NAME, 'segments_info': LIST}
SEGMENT: Table = {
    'id': SEGMENT_ID, 'category_id': INTEGER, 'iscrowd': OPTIONAL_FLAG, 'area': AREA,
}  # fmt: skip


def described(value: Any, limit: int = 100) -> str:
    """Return a value of a JSON file and its type, in JSON's words, for a message.

    Example:
        >>> described('480'), described(None), described([1, 2]), described(2.0)
        ("'480' (a string)", 'null', '[1, 2] (a list)', '2.0 (a number with a fraction)')
    """
    if value is None:
        return 'null'
    text = repr(value) if isinstance(value, str) else str(value)
    text = text if len(text) <= limit else f'{text[:limit]}...'
    words = {
        bool: 'true or false', int: 'a number', float: 'a number with a fraction',
        str: 'a string', list: 'a list', dict: 'an object',
    }  # fmt: skip
    return f'{text} ({words.get(type(value), type(value).__name__)})'


def check_records(
    records: Sequence[Any], table: Table, name: Callable[[int], str]
) -> dict[str, list[Any]]:
    """Check the types of records, and return the columns that all of them have to have.

    Args:
        records: The records, dicts if they are right.
        table: The kind of each key.
        name: Returns where the record at a position is, for the message.

    Raises:
        ValueError: If one is wrong; the message says where, which key, what was expected and
            what was found, with its type.
    """
    if not set(map(type, records)) <= {dict}:
        _find_fault(records, table, name)
    columns = {}
    for key, kind in table.items():
        try:
            if kind.required:
                column = list(map(itemgetter(key), records))
            else:
                column = [record[key] for record in records if key in record]
        except KeyError:
            _find_fault(records, table, name)
            raise
        if not kind.accept_all(column):
            _find_fault(records, table, name)
        if kind.required:
            columns[key] = column
    return columns


def _find_fault(records: Sequence[Any], table: Table, name: Callable[[int], str]) -> None:
    """Raise the error of the first record that is wrong."""
    for position, record in enumerate(records):
        if not isinstance(record, dict):
            raise ValueError(f'{name(position)}: expected an object, got {described(record)}')
        for key, kind in table.items():
            if key not in record:
                if kind.required:
                    raise ValueError(
                        f'{name(position)}: {key!r} is missing in {str(record)[:200]}; expected '
                        f'{kind.words}'
                    )
            elif not kind.accepts(value := record[key]):
                raise ValueError(
                    f'{name(position)}: {key}: expected {kind.words}, got {described(value)}'
                )


def read_sections(
    path: str | Path,
    sections: Sequence[str],
    *,
    expected: str,
    backend_args: dict[str, Any] | None = None,
) -> dict[str, list[Any]]:
    """Read a JSON file that has certain lists.

    Args:
        path: Path or URL of the file.
        sections: Names of the lists.
        expected: What the file should be, for messages.
        backend_args: Arguments of mmengine's file backend.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not JSON, or lacks one of the lists.
    """
    content = read_json(path, expected=expected, backend_args=backend_args)
    if not isinstance(content, dict):
        raise ValueError(
            f'annotation file {path}: expected {expected}, an object with the lists '
            f'{", ".join(sections)}, got {described(content)}'
        )
    for section in sections:
        if not isinstance(content.get(section), list):
            found = described(content[section]) if section in content else 'nothing'
            raise ValueError(
                f'annotation file {path} has no list {section!r}, got {found}; expected {expected} '
                f'with the lists {", ".join(sections)}'
            )
    return content


def read_json(
    path: str | Path,
    *,
    expected: str = 'annotations',
    backend_args: dict[str, Any] | None = None,
) -> Any:
    """Read a JSON file in UTF-8, with or without a byte order mark.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not JSON, has another encoding, or does not fit the memory.
    """
    path = str(path)
    _check_memory(path)
    try:
        content = fileio.get(path, backend_args=backend_args)
        return json.loads(_decoded(content, path))
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f'annotation file {path} does not exist; check data_root and ann_file of the dataset, '
            f'or the command'
        ) from error
    except IsADirectoryError as error:
        raise ValueError(
            f'annotation file {path}: this is a folder; expected {expected}'
        ) from error
    except json.JSONDecodeError as error:
        raise ValueError(
            f'annotation file {path} is not JSON ({error}); expected {expected}'
        ) from error
    except RecursionError as error:
        raise ValueError(
            f'annotation file {path} is nested too deeply; expected {expected}'
        ) from error
    except MemoryError as error:
        raise ValueError(
            f'annotation file {path} does not fit the memory; split it, or use another machine'
        ) from error


def _decoded(content: bytes, path: str) -> str:
    for start, found in _OTHER_FORMATS.items():
        if content.startswith(start):
            raise ValueError(f'annotation file {path} is {found}; expected JSON in UTF-8')
    try:
        return content.decode('utf-8-sig')
    except UnicodeDecodeError as error:
        even = content[1:2] == b'\0' or content[:1] == b'\0'
        raise ValueError(
            f'annotation file {path} is not in UTF-8 (byte {error.start}'
            f'{", it looks like UTF-16" if even else ""}); save it as UTF-8'
        ) from error


_OTHER_FORMATS = {
    b'\xff\xfe': 'in UTF-16; save it as UTF-8',
    b'\xfe\xff': 'in UTF-16; save it as UTF-8',
    b'{\0': 'in UTF-16; save it as UTF-8',
    b'[\0': 'in UTF-16; save it as UTF-8',
    b'\0{': 'in UTF-16; save it as UTF-8',
    b'\0[': 'in UTF-16; save it as UTF-8',
    b'\x1f\x8b': 'compressed; unpack it (gunzip)',
    b'PK\x03\x04': 'a zip file; unpack it (unzip)',
    b'version https://git-lfs': 'a pointer of Git LFS; get the file itself (git lfs pull)',
}


def _check_memory(path: str) -> None:
    """Raise before a file is read that cannot fit; killing the process would say nothing."""
    try:
        size = os.path.getsize(path)
    except (OSError, ValueError):
        return
    if size < _LARGE:
        return
    free = free_memory()
    if size * _MEMORY_PER_BYTE > free:
        raise ValueError(
            f'annotation file {path} has {size / 1e9:.1f} GB, and reading it takes more than '
            f'{size * _MEMORY_PER_BYTE / 1e9:.1f} GB of memory, of which {free / 1e9:.1f} GB are '
            f'free; split it'
        )


def free_memory() -> float:
    """Return the bytes of memory that this process may still take; infinity if nobody says."""
    free = [math.inf]
    try:
        text = Path('/proc/meminfo').read_text(encoding='ascii')
        found = re.search(r'^MemAvailable:\s+(\d+) kB', text, flags=re.M)
        free += [1024 * int(found.group(1))] if found else []
        limit = Path('/sys/fs/cgroup/memory.max').read_text(encoding='ascii').strip()
        free += [int(limit)] if limit != 'max' else []
    except (OSError, ValueError):
        pass
    return min(free)
