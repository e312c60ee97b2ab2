"""What the trainings of a run logged, with all steps on one axis."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

Points = list[tuple[float, float]]
"""Iteration over all steps, and value."""

_LEVEL = re.compile(r'^d\d+\.')
MOST_POINTS = 400
"""More points than this are averaged, so that a page stays small."""


@dataclass(frozen=True)
class Curves:
    """Curves over the iterations of all steps.

    Attributes:
        losses: By term, summed over the levels of the decoder, and ``loss``, the total.
        others: By name as mmengine logs it: ``lr``, ``grad_norm``, ``time`` (seconds per
            iteration), ``memory`` (MB on the CUDA device).
        starts: The iteration at which each step begins, and that after the last one.
        missing: Steps without a log.
    """

    losses: Mapping[str, Points]
    others: Mapping[str, Points]
    starts: Sequence[int]
    missing: Sequence[int]


OTHERS = ('lr', 'grad_norm', 'time', 'memory')


def read_curves(run_dir: Path, steps: Sequence[Mapping[str, Any]]) -> Curves:
    """Read what the steps of a run logged into ``scalars.json``.

    Args:
        run_dir: Folder of the run.
        steps: The entries of the summary.
    """
    losses: dict[str, Points] = {}
    others: dict[str, Points] = {}
    starts, missing, start = [], [], 0
    for entry in steps:
        starts.append(start)
        lines = logged_lines(step_folder(run_dir, entry), entry['train_iters'])
        if not lines:
            missing.append(entry['step'])
        for iteration, line in lines.items():
            for name, value in _terms(line).items():
                losses.setdefault(name, []).append((start + iteration, value))
            for name in OTHERS:
                if _is_number(line.get(name)):
                    others.setdefault(name, []).append((start + iteration, float(line[name])))
        start += entry['train_iters']
    return Curves(
        {name: thinned(points) for name, points in losses.items()},
        {name: thinned(points) for name, points in others.items()},
        [*starts, start],
        missing,
    )


def step_folder(run_dir: Path, entry: Mapping[str, Any]) -> Path:
    """Return the folder of a step: of another run, if the step was taken over from that."""
    return Path(entry.get('of_run', run_dir)) / f'step{entry["step"]}'


def logged_lines(folder: Path, last: int) -> dict[int, dict[str, Any]]:
    """Return what the training of a step logged, by iteration, up to the last one.

    A training that went on after it was killed, or was begun anew, replaces what was logged from
    its first iteration on.

    Args:
        folder: Folder of the step.
        last: Iterations of the step.
    """
    found: dict[int, dict[str, Any]] = {}
    for path in sorted(folder.glob('*/vis_data/scalars.json')):
        lines = [line for line in _json_lines(path) if 'loss' in line and _is_number(line['iter'])]
        if lines:
            first = lines[0]['iter']
            found = {iteration: line for iteration, line in found.items() if iteration < first}
            found |= {int(line['iter']): line for line in lines}
    return {iteration: found[iteration] for iteration in sorted(found) if iteration <= last}


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        lines = path.read_text(encoding='utf-8').splitlines()
    except (OSError, UnicodeDecodeError):
        return
    for text in lines:
        try:
            line = json.loads(text)
        except ValueError:
            # a killed process leaves half a line
            continue
        if isinstance(line, dict):
            yield {'iter': line.get('step'), **line}


def _terms(line: Mapping[str, Any]) -> dict[str, float]:
    """Return the loss terms of a line, those of all levels added up."""
    sums: dict[str, float] = {}
    for key, value in line.items():
        if 'loss' in key and _is_number(value):
            name = _LEVEL.sub('', key)
            sums[name] = sums.get(name, 0.0) + float(value)
    return sums


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def thinned(points: Points, most: int = MOST_POINTS) -> Points:
    """Return at most ``most`` points, each the mean of some that follow each other.

    Example:
        >>> thinned([(1, 1.0), (2, 3.0), (3, 5.0), (4, 7.0)], most=2)
        [(1.5, 2.0), (3.5, 6.0)]
    """
    if len(points) <= most:
        return points
    bounds = [index * len(points) // most for index in range(most + 1)]
    parts = (points[low:high] for low, high in pairwise(bounds))
    return [(_mean(x for x, _ in part), _mean(y for _, y in part)) for part in parts]


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers)
