"""What a summary or one evaluation holds, as tables in text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..tables import format_table, format_value
from ..tasks import task_named
from .groups import GROUPS
from .summary import FOREGROUND, Summary


def format_summary(summary: Summary) -> str:
    """Return the table of a run as text: a row per step, then average and forgetting.

    Metrics are in percent; ``-`` stands for a value that does not exist. Images from memory are
    told after those of the step, as in ``120 + 30``.
    """
    metrics = task_named(summary['task']).measures
    first = metrics[0]
    columns = [(first, group) for group in GROUPS] + [(metric, 'all') for metric in metrics[1:]]
    foreground = f'{first}{FOREGROUND}'
    if any(foreground in entry['metrics'] for entry in summary['steps']):
        columns.append((foreground, 'all'))
    header = ['step', 'classes', 'images', 'iters', 'minutes']
    rows = [
        [
            str(entry['step']),
            str(len(entry['classes'])),
            _images(entry),
            str(entry['train_iters']),
            f'{entry["seconds"] / 60:.1f}',
            *(
                format_value(entry['metrics'].get(metric, {}).get(group))
                for metric, group in columns
            ),
        ]
        for entry in summary['steps']
    ]
    final = summary['final'][first]
    table = format_table([*header, *(f'{metric} {group}' for metric, group in columns)], rows)
    return (
        f'{summary["config"]}: {summary["method"]}, {summary["setting"]} setting\n{table}\n'
        f'{first} avg over steps: {format_value(final["avg"])}   '
        f'forgetting: {format_value(final["forgetting"])}'
    )


def _images(entry: Mapping[str, Any]) -> str:
    replayed = entry.get('memory_images')
    return f'{entry["train_images"]} + {replayed}' if replayed else str(entry['train_images'])


def format_per_class(summary: Summary) -> str:
    """Return the table of the last step's classes as text, in learning order."""
    metrics = task_named(summary['task']).measures
    first = metrics[0]
    if not summary['steps']:
        return 'no step has been evaluated'
    last = summary['steps'][-1]
    taught = {name: entry for entry in summary['steps'] for name in entry['classes']}
    rows = []
    for name, values in last['per_class'].items():
        entry = taught.get(name)
        then = entry['per_class'].get(name, {}).get(first) if entry else None
        step = str(entry['step']) if entry else '-'
        rows.append([name, step, format_value(then), *(format_value(values[m]) for m in metrics)])
    return format_table(['class', 'taught at', f'{first} then', *metrics], rows)


def format_evaluation(
    groups: Mapping[str, Mapping[str, float | None]],
    per_class: Mapping[str, Mapping[str, float | None]],
) -> str:
    """Return the table of one evaluation as text: every class, then the groups.

    Args:
        groups: Percent by metric and by base, new and all; groups without the background class are
            shown if every metric has them.
        per_class: Percent by class name and by metric.

    Example:
        >>> print(
        ...     format_evaluation(
        ...         {'PQ': {'base': 50.0, 'new': None, 'all': 50.0}}, {'cat': {'PQ': 50.0}}
        ...     )
        ... )
        | class |    PQ |
        |:------|------:|
        | cat   | 50.00 |
        | base  | 50.00 |
        | new   |     - |
        | all   | 50.00 |
    """
    metrics = [metric for metric in groups if not metric.endswith(FOREGROUND)]
    foreground = [f'{metric}{FOREGROUND}' for metric in metrics]
    rows = [
        [name, *(format_value(values[metric]) for metric in metrics)]
        for name, values in per_class.items()
    ]
    rows += [[group, *(format_value(groups[m][group]) for m in metrics)] for group in GROUPS]
    if set(foreground) <= set(groups):
        rows += [
            [f'{group} without background', *(format_value(groups[m][group]) for m in foreground)]
            for group in GROUPS
            if group != 'new'
        ]
    return format_table(['class', *metrics], rows)
