"""What the commands in tools/ share."""

from __future__ import annotations

import argparse
import errno
import io
import os
import re
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import cv2
from mmengine.config import DictAction

from ..compat.quiet import silence_warnings

_EXPECTED = (OSError, ValueError, TypeError, RuntimeError, ImportError, MemoryError, cv2.error)
_PACKAGE = os.path.join(os.path.dirname(os.path.dirname(__file__)), '')
_SYSTEM = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EISDIR),
    *(errno.ENOTDIR, errno.ENAMETOOLONG, errno.EMFILE, errno.EIO, errno.EFBIG),
)
"""What the system refuses whatever program asks; the user has to act, and no trace helps."""
_REMEDIES = {
    errno.ENOSPC: '; make room and run the command again (a training: with --resume)',
    errno.EDQUOT: '; make room and run the command again (a training: with --resume)',
    errno.EROFS: '; choose another folder (a training: --work-dir)',
    errno.EACCES: '; choose another folder (a training: --work-dir), or change the rights',
}


@contextmanager
def command_errors(*, debug: bool = False) -> Iterator[None]:
    """End a command with one line that says what is wrong.

    Args:
        debug: Whether to show where an error was raised, too; MMCOMFORMER_DEBUG=1 does the same.
    """
    _print_anything()
    silence_warnings()
    try:
        yield
    except KeyboardInterrupt:
        if debug:
            raise
        # as a shell reports a program that Ctrl-C has ended
        sys.exit(128 + signal.SIGINT)
    except _EXPECTED as error:
        message = _message_for_users(error)
        if debug or os.environ.get('MMCOMFORMER_DEBUG') == '1' or message is None:
            raise
        sys.exit(f'error: {message}\n(MMCOMFORMER_DEBUG=1 shows where it was raised)')


def _print_anything() -> None:
    """Let a name that the terminal cannot show be printed in another way than by an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors='backslashreplace')


def _message_for_users(error: BaseException) -> str | None:
    """Return the message of an error that our code raised on purpose; None of any other.

    What raises in a worker process of a DataLoader arrives as the text of its traceback; what
    raises in one of a pool has that text as its cause.
    """
    text = str(error)
    if isinstance(error, OSError) and error.errno in _SYSTEM:
        return (
            f'{error.filename or "a file"}: {error.strerror}{_REMEDIES.get(error.errno or 0, "")}'
        )
    if isinstance(error, MemoryError):
        return f'there is too little memory ({text or "none is left"}); use fewer --workers'
    if isinstance(error, cv2.error):
        return f'OpenCV could not work on a picture: {" ".join(text.split())}'
    match = re.match(r'Caught \w+ in \w+ worker process \d+\.\nOriginal Traceback', text)
    trace = text if match else _trace_in_pool(error)
    if trace is not None:
        # file and source line of the last frame, then the message
        frames = list(re.finditer(r'^  File "(.+)", line .+\n    (.*)\n', trace, flags=re.M))
        if not frames or not _raises(*frames[-1].groups()):
            return None
        start = text.rfind(f'\n{type(error).__name__}: ')
        return text[start:].split(': ', 1)[1].strip() if match and start >= 0 else text
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return text if _raises(frame.filename, frame.line or '') else None


def _trace_in_pool(error: BaseException) -> str | None:
    """Return the traceback in the process of a pool that raised an error; None if none did."""
    cause = error.__cause__
    return str(cause) if type(cause).__name__ == '_RemoteTraceback' else None


def _raises(filename: str, line: str) -> bool:
    """Tell whether a source line is a raise statement of this package."""
    return filename.startswith(_PACKAGE) and line.startswith('raise ')


def parse_options(options: Sequence[str]) -> dict[str, Any]:
    """Parse KEY=VALUE pairs as mmengine's ``--cfg-options`` does.

    Raises:
        ValueError: If one is no such pair, or its value is none that is read.
    """
    parsed: dict[str, Any] = {}
    for option in options:
        if '=' not in option or option.startswith('-'):
            raise ValueError(f'--cfg-options: expected KEY=VALUE, got {option!r}')
        parsed.update(_parsed(option))
    texts = dict(option.split('=', 1) for option in options)
    # mmengine takes the blanks out of a text too
    return {
        key: texts[key] if isinstance(value, str) and value == _bare(texts[key]) else value
        for key, value in parsed.items()
    }


def _parsed(option: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    parser.add_argument('--options', nargs='+', action=DictAction)
    try:
        found: dict[str, Any] = parser.parse_args(['--options', option]).options
    except (RecursionError, AssertionError, IndexError) as error:
        key = option.split('=', 1)[0]
        raise ValueError(
            f'--cfg-options: {option!r}: expected a number, a text, or a list such as [1,2]; write '
            f'a dict with a key for each value, such as {key}.type=... {key}.NAME=...'
        ) from error
    return found


def _bare(text: str) -> str:
    return text.replace(' ', '')
