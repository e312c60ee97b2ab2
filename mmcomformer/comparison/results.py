"""The table of a comparison: a row per method, mean and spread over seeds."""

from __future__ import annotations

import csv
import io
import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..atomic import replaced_file
from ..evaluation.summary import FILE_NAME, Summary, read_summary
from ..tables import format_table, format_value
from ..tasks import task_named
from .plan import Comparison, Entry, Run

FIGURES = ('base after step 0', 'base', 'new', 'all', 'avg', 'forgetting')
COSTS = ('seconds per iteration',)
TABLE, NUMBERS, SHEET = 'table.md', 'results.json', 'results.csv'

Figures = dict[str, float | None]


def summary_of(run: Run) -> Summary | None:
    """Return the summary of a run whose last step is done; None of one that is not."""
    path = run.folder / FILE_NAME
    done = run.state(len(run.entry.iters) - 1) == 'done' and path.is_file()
    return read_summary(path) if done else None


def figures(summary: Summary) -> Figures:
    """Return the figures of a run, in percent or seconds; None where one does not exist."""
    metric = task_named(summary['task']).measures[0]
    final = summary['final'][metric]
    first = next((entry for entry in summary['steps'] if entry['step'] == 0), None)
    # joint training has base classes only by name
    base = first['metrics'][metric]['base'] if first and len(summary['steps']) > 1 else None
    last = summary['steps'][-1]
    values = {FIGURES[0]: base, **{name: final[name] for name in FIGURES[1:]}}
    return {**values, COSTS[0]: last['seconds'] / last['train_iters']}


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
    columns = (*FIGURES, *COSTS)
    return {
        'method': entry.method,
        'name': runs[0][1]['method'] if runs else entry.method,
        'seeds': list(by_seed),
        'runs': [{'seed': seed, **values} for seed, values in by_seed.items()],
        'mean': {name: _over(by_seed, name, statistics.fmean, 1) for name in columns},
        'sd': {name: _over(by_seed, name, statistics.stdev, 2) for name in columns},
        'images': [step['train_images'] for step in runs[0][1]['steps']] if runs else [],
        'iters': list(entry.iters),
    }


def _over(by_seed: Mapping[int, Figures], name: str, statistic: Any, at_least: int) -> float | None:
    values = [values[name] for values in by_seed.values()]
    known = [value for value in values if value is not None]
    return statistic(known) if len(known) == len(values) >= at_least else None


def format_results(comparison: Comparison, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the table as Markdown: mean, and ± the standard deviation where there are seeds."""
    header = ['method', 'seeds', *FIGURES, *COSTS]
    cells = [
        [
            row['name'],
            ', '.join(map(str, row['seeds'])) or '-',
            *(_cell(row, name, digits=1) for name in FIGURES),
            *(_cell(row, name, digits=3) for name in COSTS),
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
    writer = csv.DictWriter(target, ['method', 'seed', *FIGURES, *COSTS], lineterminator='\n')
    writer.writeheader()
    for row in rows:
        for run in row['runs']:
            writer.writerow({'method': row['method'], **run})
    return target.getvalue()
