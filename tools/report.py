"""Print the tables of finished or running trainings from the summaries that they left.

One folder: its table, step by step. Several folders: one comparison table per task (panoptic,
semantic, instance), a row per run; with --mean, a row per config and method with mean ± sample
standard deviation over its runs (seeds). With --html, a page to open in a browser instead: of one
run, or of several runs compared.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmcomformer.engine.cli import command_errors
from mmcomformer.evaluation.run_figures import COLUMNS, figures, group_key, seed_of, spreads
from mmcomformer.evaluation.summary import FILE_NAME, Summary, missing_steps, read_summary
from mmcomformer.evaluation.summary_tables import format_per_class, format_summary
from mmcomformer.tables import format_table, format_value
from mmcomformer.tasks import TASKS, task_named

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
    parser.add_argument(
        '--html',
        nargs='?',
        const='',
        metavar='FILE',
        help='write a page; of one run by default report.html in its folder',
    )
    parser.add_argument(
        '--overwrite', action='store_true', help='let --html replace a file of something else'
    )
    parser.add_argument('--debug', action='store_true', help='show where an error was raised')
    args = parser.parse_args(argv)
    if args.html is not None and (args.json or args.mean or args.per_class):
        parser.error('--html: leave out --json, --mean and --per-class; the page has all of them')
    if args.html == '' and len(args.work_dirs) > 1:
        parser.error('--html: the page of several runs needs a FILE to be written to')
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Print the report; return 1 if a summary is missing or damaged."""
    args = parse_args(argv)
    with command_errors(debug=args.debug):
        return _report(args) if args.html is None else _write_page(args)


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


def _write_page(args: argparse.Namespace) -> int:
    # matplotlib and jinja2 take a second
    from mmcomformer.report import write_comparison_page, write_run_page

    file = Path(args.html) if args.html else None
    try:
        if file is None or len(args.work_dirs) == 1:
            path = write_run_page(args.work_dirs[0], file, overwrite=args.overwrite)
        else:
            path = write_comparison_page(args.work_dirs, file, overwrite=args.overwrite)
    except FileNotFoundError as error:
        missing = [folder for folder in args.work_dirs if not (folder / FILE_NAME).is_file()]
        print(_missing_message(missing[0]) if missing else error, file=sys.stderr)
        return 1
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(path)
    return 0


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


def group_runs(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return, per task, config and method, mean and sample standard deviation of each figure.

    A figure that one of the runs lacks has no mean; a single run has no standard deviation.
    """
    groups: dict[tuple[Any, ...], list[Summary]] = {}
    for _, summary in runs:
        groups.setdefault(group_key(summary), []).append(summary)
    return [_group(members) for members in groups.values()]


def _group(members: Sequence[Summary]) -> dict[str, Any]:
    found = spreads(members)
    return {
        **{key: members[0][key] for key in ('task', 'config', 'method')},
        'runs': len(members),
        'seeds': [seed_of(summary) for summary in members],
        'mean': {column: spread.mean for column, spread in found.items()},
        'sd': {column: spread.sd for column, spread in found.items()},
    }


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
