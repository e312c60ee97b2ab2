"""The figures by which runs are compared, and their mean and spread over runs of one kind.

Pure Python.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..tasks import task_named
from .summary import Summary

COLUMNS = ('base after step 0', 'base', 'new', 'all', 'avg', 'forgetting')
Figures = dict[str, float | None]


def figures(summary: Summary) -> Figures:
    """Return what a comparison shows of a run, in percent; None where it does not exist.

    A scenario of one step has base classes by name only: nothing comes after its step 0.
    """
    metric = task_named(summary['task']).measures[0]
    first = summary['steps'][0] if summary['steps'] else None
    several = len(summary.get('increments') or (0, 0)) > 1
    known = first is not None and first['step'] == 0 and several
    base_then = first['metrics'][metric]['base'] if first and known else None
    final = summary['final'][metric]
    return {COLUMNS[0]: base_then, **{column: final[column] for column in COLUMNS[1:]}}


def seed_of(summary: Summary) -> int | None:
    """Return the seed of the last step, None if it is unknown."""
    return summary['steps'][-1].get('seed') if summary['steps'] else None


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation of a value over runs; None where there is none."""

    mean: float | None
    sd: float | None

    @classmethod
    def of(cls, values: Sequence[float | None]) -> Spread:
        """Summarise values; one that is None leaves no mean, a single one no deviation.

        Example:
            >>> Spread.of([1.0, 3.0]).mean, Spread.of([1.0, None]), Spread.of([2.0]).sd
            (2.0, Spread(mean=None, sd=None), None)
        """
        known = [value for value in values if value is not None]
        complete = len(known) == len(values)

        def statistic(function: Callable[[Sequence[float]], float], least: int) -> float | None:
            return function(known) if complete and len(known) >= least else None

        return cls(statistic(statistics.fmean, 1), statistic(statistics.stdev, 2))


def spreads(members: Sequence[Summary]) -> dict[str, Spread]:
    """Return mean and deviation of each figure over runs."""
    values = [figures(summary) for summary in members]
    return {column: Spread.of([of_run[column] for of_run in values]) for column in COLUMNS}


def group_key(summary: Summary) -> tuple[Any, ...]:
    """Return what runs that differ in their seed alone have in common."""
    scenario = (summary['setting'], summary['class_order'], summary.get('increments'))
    return summary['task'], summary['config'], summary['method'], repr(scenario)
