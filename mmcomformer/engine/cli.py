"""What the commands in tools/ share."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mmengine.config import DictAction

_EXPECTED = (FileNotFoundError, PermissionError, ValueError, TypeError, RuntimeError, ImportError)


@contextmanager
def command_errors() -> Iterator[None]:
    """End a command with one line that says what is wrong; MMCOMFORMER_DEBUG=1 adds the trace."""
    try:
        yield
    except _EXPECTED as error:
        if os.environ.get('MMCOMFORMER_DEBUG') == '1' or not _is_ours(error):
            raise
        sys.exit(f'error: {error}\n(MMCOMFORMER_DEBUG=1 shows where it was raised)')


def _is_ours(error: BaseException) -> bool:
    """Tell whether our code raised it, so that its message is written for the user."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and f'{os.sep}mmcomformer{os.sep}' in frames[-1].filename


def parse_options(options: Sequence[str]) -> dict[str, Any]:
    """Parse KEY=VALUE pairs as mmengine's ``--cfg-options`` does.

    Raises:
        ValueError: If one has no ``=``.
    """
    for option in options:
        if '=' not in option:
            raise ValueError(f'--cfg-options: expected KEY=VALUE, got {option!r}')
    parser = argparse.ArgumentParser()
    parser.add_argument('--options', nargs='+', action=DictAction)
    parsed = parser.parse_args(['--options', *options]).options if options else {}
    return dict(parsed)
