"""What the commands in tools/ share."""

from __future__ import annotations

import argparse
import os
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mmengine.config import DictAction

_EXPECTED = (FileNotFoundError, PermissionError, ValueError, TypeError, RuntimeError, ImportError)
_PACKAGE = os.path.join(os.path.dirname(os.path.dirname(__file__)), '')


@contextmanager
def command_errors() -> Iterator[None]:
    """End a command with one line that says what is wrong; MMCOMFORMER_DEBUG=1 adds the trace."""
    try:
        yield
    except _EXPECTED as error:
        message = _message_for_users(error)
        if os.environ.get('MMCOMFORMER_DEBUG') == '1' or message is None:
            raise
        sys.exit(f'error: {message}\n(MMCOMFORMER_DEBUG=1 shows where it was raised)')


def _message_for_users(error: BaseException) -> str | None:
    """Return the message of an error that our code raised on purpose; None of any other.

    What raises in a worker process of a DataLoader arrives as the text of its traceback.
    """
    text = str(error)
    if re.match(r'Caught \w+ in \w+ worker process \d+\.\nOriginal Traceback', text):
        # file and source line of the last frame, then the message
        frames = list(re.finditer(r'^  File "(.+)", line .+\n    (.*)\n', text, flags=re.M))
        start = text.rfind(f'\n{type(error).__name__}: ')
        if frames and start >= 0 and _raises(*frames[-1].groups()):
            return text[start:].split(': ', 1)[1].strip()
        return None
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return text if _raises(frame.filename, frame.line or '') else None


def _raises(filename: str, line: str) -> bool:
    """Tell whether a source line is a raise statement of this package."""
    return filename.startswith(_PACKAGE) and line.startswith('raise ')


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
