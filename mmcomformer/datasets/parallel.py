"""Running a function on many items, on all cores, with a progress display."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import Any, TextIO, TypeVar

import cv2

_Item = TypeVar('_Item')
_Result = TypeVar('_Result')
_LINE_SECONDS = 30.0
"""Time between two lines where the output is no terminal."""


class Progress:
    """Progress on stdout: one line that is rewritten on a terminal, else a line now and then.

    Args:
        title: What is being done.
        total: Number of items.
        stream: Where to write; stdout by default.
    """

    def __init__(self, title: str, total: int, *, stream: TextIO | None = None) -> None:
        self._title = title
        self._total = total
        self._stream = stream or sys.stdout
        self._terminal = self._stream.isatty()
        self._done = 0
        self._start = self._last = time.monotonic()

    def update(self) -> None:
        """Count one more item as done."""
        self._done += 1
        now = time.monotonic()
        finished = self._done == self._total
        if now - self._last < (0.2 if self._terminal else _LINE_SECONDS) and not finished:
            return
        self._last = now
        rate = self._done / max(now - self._start, 1e-6)
        left = (self._total - self._done) / rate
        text = f'{self._title}: {self._done}/{self._total}, {rate:.0f}/s, {left:.0f} s left'
        if self._terminal:
            self._stream.write(f'\r{text:<79}' + ('\n' if finished else ''))
        else:
            self._stream.write(f'{text}\n')
        self._stream.flush()


def default_workers() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def parallel(
    function: Callable[[_Item], _Result],
    items: Sequence[_Item],
    *,
    workers: int | None,
    title: str,
) -> Iterator[_Result]:
    """Yield the results of a function, in the order of the items.

    Args:
        function: A function that processes can share, so one of a module.
        items: Its arguments.
        workers: Number of processes; None for one per core, 1 for this process alone.
        title: What is being done, for the progress display.

    Raises:
        ValueError: If the number of processes is below 1.
        RuntimeError: If a process was killed.
    """
    workers = default_workers() if workers is None else workers
    if workers < 1:
        raise ValueError(f'workers: expected at least 1, got {workers}')
    workers = min(workers, len(items))
    progress = Progress(title, len(items))
    results = map(function, items) if workers <= 1 else _pooled(function, items, workers)
    for result in results:
        progress.update()
        yield result


def _pooled(
    function: Callable[[_Item], _Result], items: Sequence[_Item], workers: int
) -> Iterator[_Result]:
    executor = ProcessPoolExecutor(
        workers, mp_context=_context(), initializer=_start_worker, initargs=(os.getpid(),)
    )
    chunk = max(1, min(32, len(items) // (8 * workers)))
    try:
        yield from executor.map(partial(_call, function), items, chunksize=chunk)
    except BrokenProcessPool as error:
        raise RuntimeError(
            f'one of {workers} processes was killed, perhaps for want of memory; run the command '
            f'again, with fewer --workers: it goes on where it stopped'
        ) from error
    finally:
        executor.shutdown(cancel_futures=True)


def _call(function: Callable[[_Item], _Result], item: _Item) -> _Result:
    """Call a function in a worker; what it raises can be sent to the parent.

    Raises:
        RuntimeError: In place of an error that cannot, such as one that is constructed with other
            arguments than it keeps; it would end the whole pool.
    """
    try:
        return function(item)
    except Exception as error:
        try:
            pickle.loads(pickle.dumps(error))  # noqa: S301 - what this process made
        except Exception:  # noqa: BLE001 - a class may fail in any way
            raise RuntimeError(f'{item}: {type(error).__name__}: {error}') from None
        raise


def _context() -> Any:
    # a forked worker has the libraries loaded, which takes seconds otherwise
    on_linux = sys.platform.startswith('linux')
    return multiprocessing.get_context('fork' if on_linux else None)


def _start_worker(parent: int) -> None:
    cv2.setNumThreads(0)
    # Ctrl-C stops the parent, which lets the workers finish what they write
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process soon after its parent, which cannot say so if it was killed."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
