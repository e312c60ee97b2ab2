"""Compare the CoMFormer step of this checkout with that of another one, in turn.

    git worktree add ../before COMMIT
    python tools/benchmarks/compare.py ../before

Each checkout trains in a process of its own, with its own package and benchmarks; a step of the one
follows a step of the other. Measured is the processor time of a step, which other programs disturb
less than the time on the clock. So it compares what a CPU does, with one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from measuring import BenchmarkError, one_line_errors, positive, ratios, report
from stepping import SIZES, Size

HERE = Path(__file__).parents[2]
_WORKER = """
import json, sys, time
import stepping
from measuring import quiet
with quiet():
    size = stepping.Size(**json.loads(sys.argv[1]))
    training = stepping.Training(size, device='cpu', with_teacher=True)
    for _ in sys.stdin:
        start = time.process_time()
        training.step()
        print('seconds', time.process_time() - start, flush=True)
"""


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('checkout', type=Path, help='the other checkout')
    parser.add_argument('--model', choices=sorted(SIZES), default='tiny', help='which step (tiny)')
    parser.add_argument('--runs', type=positive, default=20, help='steps of each checkout (20)')
    parser.add_argument('--json', metavar='FILE', help='write the figures into this file')
    return parser.parse_args()


class Worker:
    """A process that does a training step of a checkout when it is asked to.

    Args:
        checkout: Folder of the checkout.
        size: The size of the step.
    """

    def __init__(self, checkout: Path, size: Size) -> None:
        self.checkout = checkout.resolve()
        folders = (self.checkout, self.checkout / 'tools' / 'benchmarks')
        self.process = subprocess.Popen(
            [sys.executable, '-c', _WORKER, json.dumps(asdict(size))],
            env={
                **os.environ,
                'PYTHONPATH': os.pathsep.join(map(str, folders)),
                'OMP_NUM_THREADS': '1',
            },
            # where this process runs there may be a package too, and it would come first
            cwd=self.checkout,
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
        with suppress(BrokenPipeError):
            self.process.stdin.write('\n')
            self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith('seconds '):
                return float(line.split()[1])
        raise BenchmarkError(f'{self.checkout}: its training step failed')

    def close(self) -> None:
        """End the process."""
        with suppress(BrokenPipeError):
            self.process.communicate()


def run(args: argparse.Namespace) -> None:
    """Measure and report."""
    if not (args.checkout / 'tools' / 'benchmarks' / 'stepping.py').is_file():
        raise BenchmarkError(f'{args.checkout}: expected a checkout of this repository')
    workers = [Worker(folder, SIZES[args.model]) for folder in (HERE, args.checkout)]
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
        {
            'here, ms': here,
            'there, ms': there,
            'here / there, %': [100 * ratio for ratio in ratios(here, there)],
        },
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
