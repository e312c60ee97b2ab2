"""What a command shows while it works: few lines on the console, everything in the log file."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from rich.console import Console as RichConsole
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from ..compat.quiet import QUIET, silence_warnings

_FOR_USERS = 'for_users'
_REFRESH_SECONDS = 0.1
_LINE_SECONDS = 30.0
"""Time between two lines of progress where the output is no terminal."""


def tell(message: str) -> None:
    """Log a message that belongs on the console too."""
    MMLogger.get_current_instance().info(message, extra={_FOR_USERS: True})


class Console:
    """The output of a command.

    The loggers that are attached show warnings and what was told with :func:`tell`; the rest, such
    as mmengine's dumps of environment and config, is in their log files alone. On a terminal a bar
    shows progress.

    Args:
        verbose: Whether loggers show everything, as mmengine does by itself, and there is no bar.
    """

    def __init__(self, *, verbose: bool = False) -> None:
        self.verbose = verbose
        # rich by itself takes an environment variable's word for what is a terminal
        terminal = sys.stdout is not None and sys.stdout.isatty()
        self._rich = RichConsole(force_terminal=terminal, highlight=False, emoji=False)
        self._bar: Progress | None = None
        self._refreshed = 0.0

    @property
    def is_terminal(self) -> bool:
        """Whether somebody watches, so that there is a bar."""
        return bool(self._rich.is_terminal)

    def attach(self, logger: MMLogger) -> None:
        """Let a logger write to this console what is meant for users; its log file stays."""
        if self.verbose:
            return
        for index, handler in enumerate(logger.handlers):
            if type(handler) is logging.StreamHandler:
                logger.handlers[index] = _Handler(self, handler)

    def print(self, message: str) -> None:
        """Print lines, above the bar; on the first process only."""
        if is_main_process():
            self.write(message)

    def write(self, message: str) -> None:
        """Print lines, on whatever process."""
        self._rich.out(message, highlight=False)
        self._rich.file.flush()

    def progress(self, title: str, done: int, total: int, note: str = '') -> None:
        """Show how far something is: a bar on a terminal, elsewhere a line every 30 seconds.

        Args:
            title: What is being done.
            done: How much of it is.
            total: How much there is of it.
            note: What to say after the numbers.
        """
        if self.verbose or not is_main_process():
            return
        terminal = self.is_terminal
        now = time.monotonic()
        if done < total and now - self._refreshed < (
            _REFRESH_SECONDS if terminal else _LINE_SECONDS
        ):
            return
        if terminal:
            self._draw(title, done, total, note)
        elif self._refreshed and done < total:
            self.print(f'  {title} {done}/{total}  {note}'.rstrip())
        self._refreshed = now

    def _draw(self, title: str, done: int, total: int, note: str) -> None:
        if self._bar is None:
            columns = (
                TextColumn('{task.description}'),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn('{task.fields[note]}'),
            )
            # no thread: processes are forked from this one, and would inherit its lock
            self._bar = Progress(
                *columns,
                console=self._rich,
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._bar.add_task(title, completed=done, total=total, note=note)
            self._bar.start()
        task = self._bar.task_ids[0]
        self._bar.update(task, description=title, completed=done, total=total, note=note)
        self._bar.refresh()

    def end_progress(self) -> None:
        """Take the bar away."""
        self._refreshed = 0.0
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


class _Handler(logging.Handler):
    """Handler that prints warnings and what was told to users, without time and origin."""

    def __init__(self, console: Console, former: logging.Handler) -> None:
        super().__init__(former.level)
        self._console = console
        self.filters = [*former.filters, _is_for_users]

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        loud = record.levelno >= logging.WARNING
        prefix = f'{record.levelname.lower()}: ' if loud else ''
        self._console.write(f'{prefix}{self.format(record)}')


def _is_for_users(record: logging.LogRecord) -> bool:
    if record.levelno >= logging.WARNING:
        return not any(text.match(record.getMessage()) for text in QUIET)
    return bool(getattr(record, _FOR_USERS, False))


@contextmanager
def command_console(*, verbose: bool = False) -> Iterator[Console]:
    """Yield the console of a command, which loggers that are there write to already."""
    console = Console(verbose=verbose)
    if not verbose:
        silence_warnings()
    current = MMLogger.get_current_instance()
    before = list(current.handlers)
    console.attach(current)
    try:
        yield console
    finally:
        console.end_progress()
        current.handlers[:] = before


def build_runner(cfg: Config, console: Console) -> Runner:
    """Return mmengine's runner of a config, whose logger writes to a console.

    It logs environment, config and hooks while it is built, so that later would be too late.
    """

    def build_logger(self: Any, *args: Any, **kwargs: Any) -> MMLogger:
        logger = Runner.build_logger(self, *args, **kwargs)
        console.attach(logger)
        return logger

    return type('Runner', (Runner,), {'build_logger': build_logger}).from_cfg(cfg)  # type: ignore
