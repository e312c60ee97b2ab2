"""Print the tables of finished or running trainings from the summaries that they left.

One folder: its table, step by step. Several folders: one comparison table per task (panoptic,
semantic), a row per run; with --mean, a row per config and method with mean ± sample standard
deviation over its runs (seeds).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mmcomformer.engine.cli import command_errors
from mmcomformer.evaluation.summary import FILE_NAME, Summary, missing_steps, read_summary
from mmcomformer.evaluation.summary_tables import format_per_class, format_summary
from mmcomformer.tables import format_table, format_value
from mmcomformer.tasks import TASKS, task_named

COLUMNS = ('base after step 0', 'base', 'new', 'all', 'avg', 'forgetting')
Figures = dict[str, float | None]
Run = tuple[Path, Summary]


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'work_dirs',
        nargs='+',
        type=Path,
        metavar='WORK_DIR',
        help=f'folder of a run, such as work_dirs/comformer_shapes_6-3; it holds {FILE_NAME}',
    )
    parser.add_argument('--per-class', action='store_true', help='print the classes of each run')
    parser.add_argument(
        '--mean', action='store_true', help='mean ± sample sd over the runs of the same config'
    )
    parser.add_argument('--json', action='store_true', help='print JSON instead of tables')
    parser.add_argument('--debug', action='store_true', help='show where an error was raised')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the report; return 1 if a summary is missing or damaged."""
    args = parse_args(argv)
    with command_errors(debug=args.debug):
        return _report(args)


def _report(args: argparse.Namespace) -> int:
    runs: list[Run] = []
    for folder in args.work_dirs:
        try:
            runs.append((folder, read_summary(folder / FILE_NAME)))
        except FileNotFoundError:
            print(_missing_message(folder), file=sys.stderr)
        except (OSError, ValueError) as error:
            if args.debug:
                raise
            print(error, file=sys.stderr)
    print(_as_json(runs, args) if args.json else _as_text(runs, args), end='')
    for folder, summary in runs:
        if missing_steps(summary):
            print(_incomplete_message(folder, summary), file=sys.stderr)
    return int(len(runs) < len(args.work_dirs))


def _missing_message(folder: Path) -> str:
    if not folder.is_dir():
        return f'{folder}: no such folder; expected the work dir of a run'
    if (folder.parent / FILE_NAME).is_file():
        return f'{folder}: this is the folder of one step; give {folder.parent}, which has the run'
    return (
        f'{folder}: no {FILE_NAME} yet; it is written when the evaluation of a step ends. To '
        f'train and evaluate: {_command(folder, folder.resolve().name)}'
    )


def _incomplete_message(folder: Path, summary: Summary) -> str:
    steps = ', '.join(map(str, missing_steps(summary)))
    return (
        f'{folder}: no results of step {steps} of the steps 0 to '
        f'{max(len(summary.get("increments", [])) - 1, *missing_steps(summary))}. To continue: '
        f'{_command(folder, summary["config"])}'
    )


def _command(folder: Path, config: str) -> str:
    return f'python tools/train.py configs/{config}.py --resume --work-dir {folder}'


def _as_text(runs: Sequence[Run], args: argparse.Namespace) -> str:
    parts: list[str] = []
    if args.mean and runs:
        parts += map(_mean_table, _by_task(runs))
    elif len(runs) > 1:
        parts += map(_comparison_table, _by_task(runs))
    else:
        parts += [format_summary(summary) for _, summary in runs]
    if args.per_class:
        parts += [f'{folder}\n{format_per_class(summary)}' for folder, summary in runs]
    return ''.join(f'{part}\n\n' for part in parts)


def _by_task(runs: Sequence[Run]) -> list[list[Run]]:
    """Return the runs of each task; metrics of different tasks cannot be compared."""
    groups: dict[str, list[Run]] = {task: [] for task in TASKS}
    for run in runs:
        groups[run[1]['task']].append(run)
    return [group for group in groups.values() if group]


def _comparison_table(runs: Sequence[Run]) -> str:
    rows = [
        [
            str(folder),
            summary['config'],
            summary['method'],
            *map(format_value, figures(summary).values()),
        ]
        for folder, summary in runs
    ]
    return format_table(['run', 'config', 'method', *_headings(runs[0][1])], rows)


def _headings(summary: Summary) -> list[str]:
    return [f'{task_named(summary["task"]).measures[0]} {column}' for column in COLUMNS]


def figures(summary: Summary) -> Figures:
    """Return what a comparison shows of a run, in percent; None where it does not exist."""
    metric = task_named(summary['task']).measures[0]
    first = summary['steps'][0] if summary['steps'] else None
    known = first is not None and first['step'] == 0
    base_then = first['metrics'][metric]['base'] if first and known else None
    final = summary['final'][metric]
    return {COLUMNS[0]: base_then, **{column: final[column] for column in COLUMNS[1:]}}


def group_runs(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return, per task, config and method, mean and sample standard deviation of each figure.

    A figure that one of the runs lacks has no mean; a single run has no standard deviation.
    """
    groups: dict[tuple[str, str, str], list[Summary]] = {}
    for _, summary in runs:
        key = (summary['task'], summary['config'], summary['method'])
        groups.setdefault(key, []).append(summary)
    return [
        {
            'task': task,
            'config': config,
            'method': method,
            'runs': len(members),
            'seeds': [_seed(summary) for summary in members],
            'mean': _over_runs(members, statistics.fmean, at_least=1),
            'sd': _over_runs(members, statistics.stdev, at_least=2),
        }
        for (task, config, method), members in groups.items()
    ]


def _seed(summary: Summary) -> int | None:
    return summary['steps'][-1].get('seed') if summary['steps'] else None


def _over_runs(
    members: Sequence[Summary], statistic: Callable[[Sequence[float]], float], *, at_least: int
) -> Figures:
    result: Figures = {}
    for column in COLUMNS:
        values = [figures(summary)[column] for summary in members]
        known = [value for value in values if value is not None]
        enough = len(known) == len(values) >= at_least
        result[column] = statistic(known) if enough else None
    return result


def _mean_table(runs: Sequence[Run]) -> str:
    rows = []
    for group in group_runs(runs):
        cells = [
            f'{format_value(group["mean"][column])} ± {format_value(group["sd"][column])}'
            for column in COLUMNS
        ]
        seeds = ', '.join('?' if seed is None else str(seed) for seed in group['seeds'])
        rows.append([group['config'], group['method'], str(group['runs']), seeds, *cells])
    return format_table(['config', 'method', 'runs', 'seeds', *_headings(runs[0][1])], rows)


def _as_json(runs: Sequence[Run], args: argparse.Namespace) -> str:
    if args.mean:
        report: Any = group_runs(runs)
    else:
        report = [
            {'work_dir': str(folder), 'missing_steps': missing_steps(summary), **summary}
            for folder, summary in runs
        ]
    return json.dumps(report, indent=2, ensure_ascii=False) + '\n'


if __name__ == '__main__':
    sys.exit(main())
