"""Measure how time and memory of a CoMFormer step grow with each of its sizes.

One size is varied at a time, all values of it one after another in one process. The growth is
fitted to the medians: an exponent, which is the slope in log-log, and the cost of one more. The
last sweep cuts the same classes into ever more steps, and so into ever more small classifiers.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from measuring import (
    BenchmarkError,
    clock_of,
    in_child,
    one_line_errors,
    peak_megabytes,
    positive,
    quiet,
    report,
    time_in_turn,
)
from stepping import (
    Size,
    Training,
    add_size_arguments,
    check_memory,
    check_size,
    fitting,
    peak_of_steps,
    size_of,
)

NEW_CLASSES = 10


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add_size_arguments(parser)
    many: dict[str, Any] = {'type': positive, 'nargs': '+', 'metavar': 'N'}
    parser.add_argument('--batches', default=[1, 2, 4, 8], help='images', **many)
    parser.add_argument('--resolutions', default=[64, 128, 192, 256], help='pixels', **many)
    parser.add_argument('--many-queries', default=[20, 40, 80, 160], help='queries', **many)
    parser.add_argument('--old-classes', default=[10, 50, 100, 200], help='old classes', **many)
    parser.add_argument(
        '--steps', default=[2, 3, 6, 11, 21], help='steps with the same classes in all', **many
    )
    parser.add_argument(
        '--classes', type=positive, default=210, help='classes of the sweep over steps'
    )
    return parser.parse_args()


def cut(classes: int, steps: int) -> tuple[int, ...]:
    """Return how many classes each step adds: the last one 10, the others alike.

    Raises:
        BenchmarkError: If there are too many steps, or one alone, which has no teacher.
    """
    if not 2 <= steps <= classes - NEW_CLASSES + 1:
        raise BenchmarkError(
            f'--steps {steps}: expected 2 to {classes - NEW_CLASSES + 1} with {classes} classes'
        )
    share, more = divmod(classes - NEW_CLASSES, steps - 1)
    return (*(share + (index < more) for index in range(steps - 1)), NEW_CLASSES)


def sweeps_of(args: argparse.Namespace, size: Size) -> dict[str, dict[int, Size]]:
    """Return the sizes of each sweep by the value that varies."""
    return {
        'images': {n: replace(size, batch=n) for n in args.batches},
        'pixels of the side': {n: replace(size, resolution=n) for n in args.resolutions},
        'queries': {n: replace(size, queries=n) for n in args.many_queries},
        'old classes': {n: replace(size, increments=(n, NEW_CLASSES)) for n in args.old_classes},
        'steps': {n: replace(size, increments=cut(args.classes, n)) for n in args.steps},
    }


def exponent(values: Sequence[int], medians: Sequence[float]) -> float:
    """Return the slope in log-log: 1 for what grows in proportion, 0 for what does not grow."""
    return float(np.polyfit(np.log(values), np.log(medians), 1)[0])


def growth_of(name: str, values: Sequence[int], medians: Sequence[float]) -> dict[str, float]:
    """Return how medians grow with the values of a sweep."""
    if len(set(values)) < 2:
        return {}
    slope = float(np.polyfit(values, medians, 1)[0])
    return {
        f'{name}: exponent': exponent(values, medians),
        f'{name}: last / first': medians[-1] / medians[0],
        f'{name}: for one more, % of the first': 100 * slope / medians[0],
    }


def measure_memory(sizes: Mapping[int, Size], device: str, runs: int) -> dict[int, list[float]]:
    """Return the largest memory of each value of a sweep, in MB."""
    peaks: dict[int, list[float]] = {value: [] for value in sizes}
    for _ in range(runs):
        for value, size in sizes.items():
            peaks[value].append(peak_of_steps(size, device=device, with_teacher=True))
    return peaks


def measure_time(sizes: Mapping[int, Size], device: str, runs: int) -> dict[int, list[float]]:
    """Return the milliseconds of a step of each value of a sweep, in turn."""
    trainings = {
        str(value): Training(size, device=device, with_teacher=True)
        for value, size in sizes.items()
    }
    functions = {value: training.step for value, training in trainings.items()}
    # the first pass warms up
    times = time_in_turn(functions, runs=runs + 1, items=1, clock=clock_of(device))
    return {int(value): [1000 * s for s in seconds[1:]] for value, seconds in times.items()}


def series_of(
    name: str, what: str, values: Mapping[int, list[float]], base: float = 0.0
) -> dict[str, list[float]]:
    """Return the figures of a sweep, with their growth above a base at the end."""
    series = {f'{what}, {name} {value}': of_runs for value, of_runs in values.items()}
    medians = [statistics.median(of_runs) - base for of_runs in values.values()]
    growth = growth_of(f'{what}, {name}', list(values), medians)
    return {**series, **{key: [value] for key, value in growth.items()}}


def run(args: argparse.Namespace) -> None:
    """Measure and report."""
    sweeps = sweeps_of(args, size_of(args))
    for sizes in sweeps.values():
        for size in sizes.values():
            check_size(size)
        check_memory(sizes.values(), args.device)
    # what the libraries take does not grow
    base = in_child(peak_megabytes) if args.device == 'cpu' else 0.0
    series = {'MB before training': [base]}
    with fitting():
        # first, because forked processes inherit what this one holds
        peaks = {
            name: measure_memory(sizes, args.device, args.runs) for name, sizes in sweeps.items()
        }
        for name, sizes in sweeps.items():
            series.update(series_of(name, 'ms', measure_time(sizes, args.device, args.runs)))
            series.update(series_of(name, 'MB', peaks[name], base))
    report('scaling', series, arguments=args, checks={}, out=args.json)


def main() -> None:
    """Run the benchmark and print its table."""
    args = parse_args()
    with one_line_errors(), quiet():
        run(args)


if __name__ == '__main__':
    main()
