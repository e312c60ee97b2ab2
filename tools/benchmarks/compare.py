"""Compare the CoMFormer step of this checkout with that of another one, in turn.

    git worktree add ../before COMMIT
    python tools/benchmarks/compare.py ../before

Each checkout trains in a process of its own, with its own package and benchmarks; a step of the one
follows a step of the other. Measured is the processor time of a step, which other programs disturb
less than the time on the clock. So it compares what a CPU does, with one thread.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from measuring import BenchmarkError, one_line_errors, positive, ratios, report

HERE = Path(__file__).parents[2]
# arguments: model, batch, resolution, ground-truth segments, pseudo-labels
_WORKER = """
import sys, time
from dataclasses import replace
import stepping
from measuring import quiet
model, *numbers = sys.argv[1:]
names = ('batch', 'resolution', 'truth', 'pseudo')
size = replace(stepping.SIZES[model], **dict(zip(names, map(int, numbers))))
with quiet():
    training = stepping.Training(size, device='cpu', with_teacher=True)
    for _ in sys.stdin:
        start = time.process_time()
        training.step()
        print('seconds', time.process_time() - start, flush=True)
"""
RECIPES = {
    'tiny': ('tiny', 4, 128, 5, 10),
    # batch and size of the quickstart
    'shapes': ('tiny', 8, 96, 3, 3),
    'r50': ('r50', 2, 256, 5, 10),
}


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('checkout', type=Path, help='the other checkout')
    parser.add_argument('--model', choices=RECIPES, default='tiny', help='which step (tiny)')
    parser.add_argument('--runs', type=positive, default=20, help='steps of each checkout (20)')
    parser.add_argument('--json', metavar='FILE', help='write the figures into this file')
    return parser.parse_args()


class Worker:
    """A process that does a training step of a checkout when it is asked to.

    Args:
        checkout: Folder of the checkout.
        recipe: A key of :data:`RECIPES`.
    """

    def __init__(self, checkout: Path, recipe: str) -> None:
        self.checkout = checkout
        folders = (checkout.resolve(), checkout.resolve() / 'tools' / 'benchmarks')
        self.process = subprocess.Popen(
            [sys.executable, '-c', _WORKER, *map(str, RECIPES[recipe])],
            env={
                **os.environ,
                'PYTHONPATH': os.pathsep.join(map(str, folders)),
                'OMP_NUM_THREADS': '1',
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def step(self) -> float:
        """Return the processor seconds of a step.

        Raises:
            BenchmarkError: If the process has ended; it has said why.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write('\n')
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        for line in self.process.stdout:
            if line.startswith('seconds '):
                return float(line.split()[1])
        raise BenchmarkError(f'{self.checkout}: its training step failed')

    def close(self) -> None:
        """End the process."""
        self.process.communicate()


def run(args: argparse.Namespace) -> None:
    """Measure and report."""
    if not (args.checkout / 'tools' / 'benchmarks' / 'stepping.py').is_file():
        raise BenchmarkError(f'{args.checkout}: expected a checkout of this repository')
    workers = [Worker(folder, args.model) for folder in (HERE, args.checkout)]
    try:
        # the first steps find the allocator in another state
        times = [[worker.step() for worker in workers] for _ in range(args.runs + 2)][2:]
    finally:
        for worker in workers:
            worker.close()
    here, there = ([1000 * of_run[way] for of_run in times] for way in (0, 1))
    args.checkout = str(args.checkout)
    report(
        'compare',
        {'here, ms': here, 'there, ms': there, 'here / there': ratios(here, there)},
        arguments=args,
        checks={},
        out=args.json,
    )


def main() -> None:
    """Run the benchmark and print its table."""
    args = parse_args()
    with one_line_errors():
        run(args)


if __name__ == '__main__':
    main()
