"""What the benchmarks share: timing in turn, spread, memory, and how figures are reported."""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import logging
import multiprocessing
import os
import platform
import resource
import shutil
import statistics
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MEGABYTE = 2**20
_LIBRARIES = ('numpy', 'cv2', 'torch', 'mmengine', 'mmcv', 'mmdet', 'mmseg')


class BenchmarkError(Exception):
    """A benchmark cannot be run, or what it compares is not equal."""


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End the command with one line and exit code 1 after a :class:`BenchmarkError`."""
    try:
        yield
    except BenchmarkError as error:
        sys.exit(f'error: {error}')


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back what the libraries log when they build models and datasets."""
    from mmengine.logging import MMLogger

    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for message in ('torch.meshgrid', '`broadcast_buffers` is deprecated'):
                warnings.filterwarnings('ignore', message=message)
            yield
    finally:
        logger.setLevel(level)


def positive(text: str) -> int:
    """Return a number above 0 of the command line."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f'expected at least 1, got {number}')
    return number


def available_megabytes() -> float:
    """Return the memory that processes can still use."""
    for line in Path('/proc/meminfo').read_text(encoding='utf-8').splitlines():
        if line.startswith('MemAvailable:'):
            return int(line.split()[1]) / 1024
    raise BenchmarkError('/proc/meminfo has no MemAvailable; expected Linux 3.14 or newer')


def require(folder: Path, *, memory: float = 0, disk: float = 0) -> None:
    """Check that a size fits this machine.

    Args:
        folder: Where files will be written.
        memory: Megabytes needed.
        disk: Megabytes needed.

    Raises:
        BenchmarkError: If it does not; the message says what is needed and what is there.
    """
    _require('memory', memory, available_megabytes())
    _require('disk', disk, shutil.disk_usage(folder).free / MEGABYTE)


def require_device(device: str, *, memory: float) -> None:
    """Check that a device is there and has so many megabytes.

    Raises:
        BenchmarkError: If it is not, or has not; the message says what to do.
    """
    if device == 'cpu':
        _require('memory', memory, available_megabytes())
        return
    import torch

    if not torch.cuda.is_available():
        raise BenchmarkError(
            f'--device {device}: this machine has no CUDA device; use --device cpu'
        )
    _require('device memory', memory, torch.cuda.mem_get_info()[0] / MEGABYTE)


def _require(name: str, needed: float, free: float) -> None:
    if needed > free:
        raise BenchmarkError(
            f'this size does not fit: about {needed:.0f} MB of {name} are needed and '
            f'{free:.0f} MB are free; choose a smaller one'
        )


def waiting(function: Callable[..., Any], device: str) -> Callable[..., Any]:
    """Return a function that also waits for what was started on a device."""
    if device == 'cpu':
        return function
    import torch

    def call_and_wait(*args: Any) -> Any:
        result = function(*args)
        torch.cuda.synchronize()
        return result

    return call_and_wait


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Return the ratio of two figures in each run."""
    return [a / b for a, b in zip(above, below, strict=True)]


def in_child(function: Callable[[], Any]) -> Any:
    """Return what a function returns in a forked process, whose memory does not count here.

    It computes with one thread.

    Raises:
        BenchmarkError: If it raises or is killed.
    """

    def send() -> None:
        # what the parent has left to collect is not for this process to finalize
        gc.freeze()
        if torch := sys.modules.get('torch'):
            # threads do not survive a fork, and OpenMP would wait for them for ever
            torch.set_num_threads(1)
        try:
            sender.send((function(), None))
        except Exception as error:  # noqa: BLE001  (told to the parent)
            traceback.print_exc()
            sender.send((None, f'{type(error).__name__}: {error}'))

    context = multiprocessing.get_context('fork')
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=send)
    process.start()
    sender.close()
    try:
        result, message = receiver.recv()
    except EOFError as error:
        raise BenchmarkError('a process was killed, perhaps for want of memory') from error
    finally:
        process.join()
    if message is not None:
        raise BenchmarkError(message)
    return result


def peak_megabytes() -> float:
    """Return the largest memory that this process had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MEGABYTE


def private_megabytes(process: int | str = 'self') -> float:
    """Return the memory that a process shares with no other (its USS)."""
    return _smaps(process, ('Private_Clean', 'Private_Dirty'))


def proportional_megabytes(process: int | str = 'self') -> float:
    """Return the memory of a process, shared pages in equal parts (its PSS)."""
    return _smaps(process, ('Pss',))


def _smaps(process: int | str, names: Sequence[str]) -> float:
    lines = Path(f'/proc/{process}/smaps_rollup').read_text(encoding='utf-8').splitlines()
    fields = [line.split() for line in lines]
    return sum(int(field[1]) for field in fields if field[0].rstrip(':') in names) / 1024


def seconds_of(function: Callable[[], Any]) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def clock_of(device: str) -> Callable[[], float]:
    """Return the clock, in seconds, that a device is measured with.

    For a CPU that of the processor time of this process, which other programs disturb less.
    """
    return time.process_time if device == 'cpu' else time.perf_counter


def time_in_turn(
    functions: Mapping[str, Callable[[int], Any]],
    *,
    runs: int,
    items: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Time functions one after another on each item, so that other load meets them alike.

    Args:
        functions: They get the number of the call, the same number for all.
        runs: How many passes over the items.
        items: Calls of a pass.
        clock: Returns seconds.

    Returns:
        For each function the seconds per item of each pass.
    """
    times: dict[str, list[float]] = {name: [] for name in functions}
    for run in range(runs):
        total = dict.fromkeys(functions, 0.0)
        for call in range(run * items, (run + 1) * items):
            for name, function in functions.items():
                start = clock()
                function(call)
                total[name] += clock() - start
        for name, seconds in total.items():
            times[name].append(seconds / items)
    return times


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return median, smallest and largest value, and how many there are."""
    return {
        'median': statistics.median(values),
        'min': min(values),
        'max': max(values),
        'runs': len(values),
    }


def machine() -> dict[str, Any]:
    """Describe the machine, without names of host, user or paths."""
    return {
        'processor': _processor(),
        'cores': len(os.sched_getaffinity(0)),
        'memory_gb': round(os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9, 1),
        'system': platform.system(),
        'python': platform.python_version(),
        'omp_num_threads': os.environ.get('OMP_NUM_THREADS'),
        'load_average': round(os.getloadavg()[0], 2),
        'libraries': {
            name: getattr(importlib.import_module(name), '__version__', None) for name in _LIBRARIES
        },
    }


def _processor() -> str:
    path = Path('/proc/cpuinfo')
    lines = path.read_text(encoding='utf-8').splitlines() if path.exists() else []
    names = [line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.machine()


def report(
    benchmark: str,
    series: Mapping[str, Sequence[float]],
    *,
    arguments: argparse.Namespace,
    checks: Mapping[str, bool],
    out: str | None,
) -> None:
    """Print the figures as a table, and write them as JSON if a file is given.

    Args:
        benchmark: Name of the benchmark.
        series: The values of each figure, one per run.
        arguments: The command line.
        checks: What was compared, and whether it was equal.
        out: The JSON file; its parent folder is created.
    """
    from mmcomformer.atomic import replaced_file
    from mmcomformer.tables import format_table
    from mmcomformer.version import __version__

    figures = {name: spread(values) for name, values in series.items()}
    keys = ('median', 'min', 'max')
    rows = [[name, *(f'{of[key]:.2f}' for key in keys)] for name, of in figures.items()]
    print(format_table(['figure', *keys], rows))
    if out is None:
        return
    content = {
        'benchmark': benchmark,
        'version': __version__,
        # a path says nothing about a figure
        'arguments': {name: value for name, value in vars(arguments).items() if name != 'json'},
        'figures': figures,
        'checks': dict(checks),
        'machine': machine(),
    }
    with replaced_file(out) as temporary:
        temporary.write_text(f'{json.dumps(content, indent=2)}\n', encoding='utf-8')
