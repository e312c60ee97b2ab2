"""From a template to a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from ..outputs import check_outputs, output_file
from ..tables import format_value, join_names
from .plots import heat_colour


def render(template: str, content: Mapping[str, Any]) -> str:
    """Return a page; every text in it is escaped."""
    environment = Environment(
        loader=PackageLoader('mmcomformer.report'),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        value=format_value, minutes=_minutes, count=_count, listed=join_names
    )
    environment.globals.update(heat=heat_colour)
    return environment.get_template(template).render(**content)


def check_page(path: Path, *, overwrite: bool = False) -> None:
    """Check that a page may be written, before it is made.

    Raises:
        FileExistsError: If there is a file of something else, and ``overwrite`` is false.
        ValueError: If it is a folder.
    """
    check_outputs([path], overwrite=overwrite)


def write_page(path: Path, text: str) -> None:
    """Write a page; the file is the old or the new one, whatever happens.

    Raises:
        OSError: If it cannot be written.
    """
    with output_file(path) as temporary:
        # a name of a file may have bytes that are no text
        temporary.write_text(text, encoding='utf-8', errors='backslashreplace')


def _minutes(seconds: float | None) -> str:
    return '-' if seconds is None else f'{seconds / 60:.1f}'


def _count(number: int | None) -> str:
    return '-' if number is None else f'{number:,}'.replace(',', '\u202f')
