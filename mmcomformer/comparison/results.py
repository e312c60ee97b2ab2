"""The table of a comparison: a row per method, mean and spread over seeds."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..atomic import replaced_file
from ..evaluation.run_figures import COLUMNS, Figures, Spread
from ..evaluation.run_figures import figures as run_figures
from ..evaluation.summary import FILE_NAME, Summary, read_summary
from ..tables import format_table, format_value
from ..tasks import task_named
from .plan import Comparison, Entry, Run

COSTS = {
    'trained parameters': 'trainable_parameters',
    'seconds per iteration': 'seconds_per_iter',
    'peak memory (MB)': 'peak_memory_mb',
}
"""What the last step of a run cost, by heading, and its key in the summary."""
_DIGITS = {'seconds per iteration': 3, 'peak memory (MB)': 0}
_COSTS_SHOWN = tuple(_DIGITS)
_PER_STEP = ('images of each step', 'trained parameters of each step')
TABLE, NUMBERS, SHEET = 'table.md', 'results.json', 'results.csv'
PAGE = 'comparison.html'


def summary_of(run: Run) -> Summary | None:
    """Return the summary of a run whose last step is done; None of one that is not."""
    path = run.folder / FILE_NAME
    done = run.state(len(run.entry.iters) - 1) == 'done' and path.is_file()
    return read_summary(path) if done else None


def figures(summary: Summary) -> Figures:
    """Return the figures of a run, in percent, and its costs; None where one does not exist."""
    last = summary['steps'][-1]
    known = {**last, **last.get('machine', {})}
    return {**run_figures(summary), **{name: known.get(key) for name, key in COSTS.items()}}


def collect(comparison: Comparison) -> list[dict[str, Any]]:
    """Return the row of each method: its runs that are done, their figures, mean and spread.

    The spread is the sample standard deviation; None for less than two runs.
    """
    return [_row(entry, list(_done(comparison, entry))) for entry in comparison.entries]


def _done(comparison: Comparison, entry: Entry) -> Iterator[tuple[Run, Summary]]:
    for run in comparison.runs:
        summary = summary_of(run) if run.entry is entry else None
        if summary is not None:
            yield run, summary


def _row(entry: Entry, runs: Sequence[tuple[Run, Summary]]) -> dict[str, Any]:
    by_seed = {run.seed: figures(summary) for run, summary in runs}
    spreads = {
        name: Spread.of([values[name] for values in by_seed.values()])
        for name in (*COLUMNS, *COSTS)
    }
    steps = runs[0][1]['steps'] if runs else []
    return {
        'method': entry.method,
        'name': runs[0][1]['method'] if runs else entry.method,
        'seeds': list(by_seed),
        'runs': [{'seed': seed, **values} for seed, values in by_seed.items()],
        'mean': {name: spread.mean for name, spread in spreads.items()},
        'sd': {name: spread.sd for name, spread in spreads.items()},
        'images': [step['train_images'] for step in steps],
        'images_from_memory': [step.get('memory_images', 0) for step in steps],
        'trained_parameters': [step.get('trainable_parameters') for step in steps],
        'iters': list(entry.iters),
    }


def per_step(row: Mapping[str, Any]) -> dict[str, str]:
    """Return what the steps of a row's first run saw and trained, as text, by heading.

    Example:
        >>> per_step(
        ...     {
        ...         'images': [9, 5, 5],
        ...         'images_from_memory': [0, 2, 2],
        ...         'trained_parameters': [30, 4, 4],
        ...     }
        ... )['images of each step']
        '9, 5 + 2 (2 x)'
    """
    pairs = zip(row['images'], row['images_from_memory'], strict=True)
    images = [f'{own} + {memory}' if memory else str(own) for own, memory in pairs]
    trained = ['-' if value is None else str(value) for value in row['trained_parameters']]
    return dict(zip(_PER_STEP, map(_listed, (images, trained)), strict=True))


def _listed(values: Sequence[str]) -> str:
    runs = [(value, len(list(equal))) for value, equal in itertools.groupby(values)]
    return ', '.join(f'{value} ({k} x)' if k > 1 else value for value, k in runs) or '-'


def format_results(comparison: Comparison, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the table as Markdown: mean, and ± the standard deviation where there are seeds."""
    header = ['method', 'seeds', *COLUMNS, *_PER_STEP, *_COSTS_SHOWN]
    cells = [
        [
            row['name'],
            ', '.join(map(str, row['seeds'])) or '-',
            *(_cell(row, name, digits=1) for name in COLUMNS),
            *per_step(row).values(),
            *(_cell(row, name, digits=_DIGITS[name]) for name in _COSTS_SHOWN),
        ]
        for row in rows
    ]
    metric = _metric(comparison)
    return (
        f'{comparison.scenario}, {comparison.entries[0].scenario.setting} setting, recipe '
        f'{comparison.recipe}; {metric} in percent, mean ± standard deviation over seeds\n\n'
        f'{format_table(header, cells)}\n'
    )


def _metric(comparison: Comparison) -> str:
    found = filter(None, map(summary_of, comparison.runs))
    return next((task_named(summary['task']).measures[0] for summary in found), 'values')


def _cell(row: Mapping[str, Any], name: str, *, digits: int) -> str:
    mean, sd = row['mean'][name], row['sd'][name]
    if mean is None:
        return format_value(None)
    spread = '' if sd is None else f' ± {sd:.{digits}f}'
    return f'{mean:.{digits}f}{spread}'


def write_results(comparison: Comparison) -> str:
    """Write the table as Markdown, JSON and CSV into the folder of the comparison.

    Returns:
        The table.
    """
    rows = collect(comparison)
    text = format_results(comparison, rows)
    numbers = {
        'scenario': comparison.scenario,
        'setting': comparison.entries[0].scenario.setting,
        'recipe': comparison.recipe,
        'methods': rows,
    }
    files = {
        TABLE: text,
        NUMBERS: f'{json.dumps(numbers, indent=1, allow_nan=False)}\n',
        SHEET: _sheet(rows),
    }
    for name, content in files.items():
        with replaced_file(comparison.folder / name) as temporary:
            temporary.write_text(content, encoding='utf-8')
    return text


def _sheet(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a line per run: method, seed, figures."""
    target = io.StringIO()
    header = ['method', 'seed', *COLUMNS, *COSTS, *_PER_STEP]
    writer = csv.DictWriter(target, header, lineterminator='\n')
    writer.writeheader()
    for row in rows:
        for run in row['runs']:
            writer.writerow({'method': row['method'], **run, **per_step(row)})
    return target.getvalue()


def write_page(comparison: Comparison) -> Path | None:
    """Write the page that compares the runs that are done, into the folder of the comparison.

    Returns:
        The page; None if no run is done.

    Raises:
        FileExistsError: If there is a file of this name of something else.
        OSError: If it cannot be written.
        ValueError: If the tasks of the runs differ.
    """
    # matplotlib and jinja2 are not needed before
    from ..report import write_comparison_page

    folders = [run.folder for run in comparison.runs if summary_of(run) is not None]
    return write_comparison_page(folders, comparison.folder / PAGE) if folders else None
