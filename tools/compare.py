"""Train the methods of a scenario alike, with several seeds, and write one table.

What is done is not done again: a comparison that was stopped goes on with the same command, and
more methods or seeds can be added later. Step 0 is trained once for methods whose models do not
differ there. Logs and results are in the work dir, a folder per method and seed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmcomformer.comparison.plan import Comparison

ROOT = Path(__file__).resolve().parents[1]
METHODS = 'finetune,mib,plop,comformer,joint'


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'scenario',
        help='such as shapes_6-3: the config of a method is METHOD_shapes_6-3.py, or else '
        'comformer_shapes_6-3.py with METHOD set',
    )
    parser.add_argument(
        '--methods',
        default=METHODS,
        type=parse_methods,
        metavar='A,B,...',
        help=f'the methods, in the order of the table (default: {METHODS})',
    )
    parser.add_argument(
        '--seeds',
        type=parse_seeds,
        default='3',
        metavar='N or A,B,...',
        help='a number of seeds that count from 0, or the seeds (default: 3)',
    )
    parser.add_argument(
        '--recipe',
        choices=['fair', 'released'],
        default='fair',
        help='fair (default): one schedule, batch and image set for all methods; released: those '
        'of the program of each method',
    )
    parser.add_argument('--setting', help='which images a step sees; that of the configs if left')
    parser.add_argument('--jobs', type=positive, default=1, help='trainings at a time (default: 1)')
    parser.add_argument(
        '--threads', type=positive, default=1, help='CPU threads of each training (default: 1)'
    )
    parser.add_argument(
        '--work-dir', type=Path, help='default: work_dirs/compare/SCENARIO_SETTING_RECIPE'
    )
    parser.add_argument(
        '--configs', type=Path, default=ROOT / 'configs', help='folder of the configs'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        metavar='KEY=VALUE',
        default=[],
        help='settings that override those of all configs',
    )
    parser.add_argument('--dry-run', action='store_true', help='list what would be trained')
    parser.add_argument(
        '--print-commands',
        action='store_true',
        help='print the command of each training, as for a cluster, and train nothing; the same '
        'command without this option then writes the table',
    )
    parser.add_argument('--debug', action='store_true', help='show where an error was raised')
    return parser.parse_args(argv)


def positive(text: str) -> int:
    """Return a number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'expected a number of at least 1, got {text!r}')
    return int(text)


def parse_methods(text: str) -> list[str]:
    """Return the words of a list such as ``finetune, mib``."""
    words = [word.strip() for word in text.split(',') if word.strip()]
    if not words:
        raise argparse.ArgumentTypeError(f'expected methods such as finetune,mib, got {text!r}')
    return words


def parse_seeds(text: str) -> list[int]:
    """Return the seeds: ``3`` is 0, 1, 2; ``3,`` and ``5,7`` are seeds themselves."""
    try:
        numbers = [int(word) for word in text.split(',') if word]
    except ValueError:
        numbers = []
    twice = len(set(numbers)) < len(numbers)
    if not numbers or min(numbers) < 0 or twice or (',' not in text and numbers == [0]):
        raise argparse.ArgumentTypeError(
            f'expected a number of seeds such as 3, or seeds such as 0,5, got {text!r}'
        )
    return numbers if ',' in text else list(range(numbers[0]))


def main(argv: Sequence[str] | None = None) -> int:
    """Compare; return 1 if a training has failed."""
    args = parse_args(argv)
    from mmcomformer.engine.cli import command_errors

    with command_errors(debug=args.debug):
        comparison = make_comparison(args)
        if args.print_commands:
            # what these commands train is of this comparison
            comparison.begin()
            print_commands(comparison)
            return 0
        if args.dry_run:
            comparison.check()
            print_plan(comparison)
            return 0
        return compare(comparison, args)


def make_comparison(args: argparse.Namespace) -> Comparison:
    """Return the comparison that was asked for.

    Raises:
        TypeError: If a config has a value of a wrong type.
        ValueError: If there is no such scenario or method.
    """
    from mmcomformer.comparison.leaves import find_leaves
    from mmcomformer.comparison.plan import Comparison, choose, read_entry
    from mmcomformer.engine.cli import parse_options

    leaves = find_leaves(args.configs, args.scenario, args.methods)
    choose(args.recipe, args.setting)
    options = parse_options(args.cfg_options)
    entries = [read_entry(method, path, options) for method, path in leaves.items()]
    setting = entries[0].scenario.setting
    name = f'{args.scenario}_{setting}_{args.recipe}'
    folder = args.work_dir or Path('work_dirs') / 'compare' / name
    return Comparison(args.scenario, folder, entries, args.seeds, args.recipe, args.cfg_options)


def all_of_folder(comparison: Comparison, args: argparse.Namespace) -> Comparison:
    """Return the comparison with the other methods and seeds of its folder, for the table.

    A method whose config cannot be read with these options, or gives other settings than its runs
    have, is left out, and named.
    """
    from mmcomformer.comparison.leaves import find_leaves, methods_of
    from mmcomformer.comparison.plan import read_entry
    from mmcomformer.engine.cli import parse_options

    known, options = methods_of(args.configs, args.scenario), parse_options(args.cfg_options)
    noted = [name for name in comparison.noted_methods() if name not in args.methods]
    leaves = find_leaves(args.configs, args.scenario, [name for name in noted if name in known])
    entries = []
    for method, path in leaves.items():
        with suppress(TypeError, ValueError):
            entries.append(read_entry(method, path, options))
    shown = comparison.with_others(entries)
    left_out = sorted({*noted} - {entry.method for entry in shown.entries})
    if left_out:
        print(f'without {", ".join(left_out)}: other settings than these', file=sys.stderr)
    return shown


def print_plan(comparison: Comparison) -> None:
    """List what would be trained, and what is there."""
    from mmcomformer.tables import format_table

    states = {'done': 'done', 'begun': 'goes on', 'new': 'to train'}
    rows = [
        [
            job.run.entry.method,
            str(job.run.seed),
            str(job.step),
            str(job.iters),
            states[job.state],
            f'after {job.needs.name}' if job.needs and job.needs.run is not job.run else '',
        ]
        for job in comparison.jobs
    ]
    print(format_table(['method', 'seed', 'step', 'iterations', 'state', ''], rows))
    jobs = [job for job in comparison.jobs if job.state != 'done']
    left = sum(job.iters - job.run.iterations(job.step) for job in jobs)
    print(f'\n{len(jobs)} of {len(rows)} steps to train, {left} iterations, in {comparison.folder}')


def print_commands(comparison: Comparison) -> None:
    """Print a line per run: the commands of its steps, one after the other."""
    import shlex

    environment = f'RECIPE={comparison.recipe} SETTING={comparison.entries[0].scenario.setting}'
    for run in comparison.runs:
        jobs = [job for job in run.jobs if job.state != 'done']
        if not jobs:
            continue
        after = f', after step 0 of {run.shared.name}' if run.shared else ''
        print(f'# {run.name}{after}')
        train = ROOT / 'tools' / 'train.py'
        commands = [shlex.join(job.command(train, resolve=False)) for job in jobs]
        of_run = f'METHOD={run.entry.method} {environment}'
        print(' && '.join(f'{of_run} {command}' for command in commands))


def compare(comparison: Comparison, args: argparse.Namespace) -> int:
    """Train what is not there, and write the table; return 1 if a training has failed."""
    from mmcomformer.comparison.jobs import JobRunner, stopped_by_user
    from mmcomformer.comparison.results import write_page, write_results
    from mmcomformer.engine.run_lock import owned_run

    def report(line: str) -> None:
        print(line, flush=True)

    with owned_run(comparison.folder), stopped_by_user(report):
        comparison.begin()
        shown = all_of_folder(comparison, args)
        runner = JobRunner(
            comparison.jobs,
            ROOT / 'tools' / 'train.py',
            at_a_time=args.jobs,
            threads=args.threads,
            report=report,
            finished=lambda: write_results(shown),
        )
        complete = runner.run()
        print(f'\n{write_results(shown)}\nwritten to {comparison.folder}', flush=True)
        try:
            write_page(shown)
        except (OSError, ValueError) as error:
            print(f'without a page: {error}', file=sys.stderr)
    return int(not complete)


if __name__ == '__main__':
    sys.exit(main())
