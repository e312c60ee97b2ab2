"""Kill trainings at random moments, continue them with --resume, and compare what they end with.

The undisturbed run comes first. Then runs are killed with SIGKILL: by the clock, at an iteration,
within an evaluation, at the start of a step, or as a file of the run is opened, renamed or removed
(checkpoints, last_checkpoint, summary.json, logs). Weights, optimizer, schedules, random
generators, histories, losses and the summary have to be equal bit by bit, times aside. Exit code 0
if all are.

The config has to be small; a run of seconds, such as comformer_shapes_6-3.py with few iterations,
is killed a hundred times within the hour. With LocalVisBackend and
default_hooks.logger.interval=1 every single loss is compared.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

EVENTS = ('iteration', 'evaluation', 'step', 'file')
_HOOKS = {'before_train_iter': 'iteration', 'before_val_iter': 'evaluation', 'before_run': 'step'}


class Kill(NamedTuple):
    """When a process is killed: at the ``count``-th event of a kind, or after so many seconds."""

    kind: str
    count: float


class Trap:
    """Counts what happens in a process, and kills it where that was asked for.

    Args:
        folder: Folder of the run, whose files are watched.
        kill: When to kill the process; None only counts.
    """

    def __init__(self, folder: Path, kill: Kill | None) -> None:
        self.folder = os.path.join(os.path.abspath(folder), '')
        self.kill = kill
        # shared with the process that forks this one
        self.counts = multiprocessing.Array('q', len(EVENTS), lock=False)
        self.last = multiprocessing.Array('c', 300, lock=False)

    def install(self) -> None:
        """Watch the hooks and the files of this process."""
        from mmengine.runner import Runner

        call_hook = Runner.call_hook

        def watched(runner: Any, name: str, **kwargs: Any) -> None:
            if name in _HOOKS:
                self.count(_HOOKS[name], f'{_HOOKS[name]} of {Path(runner.work_dir).name}')
            call_hook(runner, name, **kwargs)

        Runner.call_hook = watched
        sys.addaudithook(self._audit)

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        if event == 'open' and isinstance(args[1], str) and args[1][:1] in 'wax':
            verb = 'write'
        elif event in ('os.rename', 'os.remove'):
            verb = event[3:]
        else:
            return
        path = os.path.abspath(os.fsdecode(args[0])) if isinstance(args[0], (str, bytes)) else ''
        path = os.path.abspath(args[0]) if isinstance(args[0], os.PathLike) else path
        if path.startswith(self.folder):
            self.count('file', f'{verb} {path[len(self.folder) :]}')

    def count(self, kind: str, what: str) -> None:
        """Count an event, and end here if it is the one."""
        number = EVENTS.index(kind)
        self.counts[number] += 1
        self.last.value = what.encode()[-299:]
        if self.kill == (kind, self.counts[number]):
            os.kill(os.getpid(), signal.SIGKILL)


@dataclass
class Job:
    """The run that is trained again and again.

    Attributes:
        config: Path of the config.
        options: Settings that override the config's.
        processes: Number of training processes.
    """

    config: str
    options: Mapping[str, Any]
    processes: int = 1

    def start(
        self, folder: Path, *, resume: bool, kill: Kill | None = None, trapped: int = 0
    ) -> Outcome:
        """Run it in forks of this process until it ends, or is killed.

        Args:
            folder: Work dir.
            resume: Whether to continue what is there.
            kill: When to kill it.
            trapped: Rank of the process that the kill hits first; the others follow.
        """
        trap = Trap(folder, kill if kill and kill.kind in EVENTS else None)
        idle = Trap(folder, None)
        port = _free_port()
        context = multiprocessing.get_context('fork')
        ranks = [
            context.Process(
                target=self._train,
                args=(folder, resume, rank, port, trap if rank == trapped else idle),
            )
            for rank in range(self.processes)
        ]
        begun = time.monotonic()
        for process in ranks:
            process.start()
        limit = kill.count if kill and kill.kind == 'time' else None
        _wait(ranks, begun, limit)
        codes = [process.exitcode for process in ranks]
        return Outcome(
            killed=-signal.SIGKILL in codes,
            failed=any(code not in (0, -signal.SIGKILL) for code in codes),
            seconds=time.monotonic() - begun,
            counts=dict(zip(EVENTS, trap.counts, strict=True)),
            last=trap.last.value.decode(),
        )

    def _train(self, folder: Path, resume: bool, rank: int, port: int, trap: Trap) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        log = os.open(
            folder.parent / f'{folder.name}.rank{rank}.log', os.O_CREAT | os.O_APPEND | os.O_WRONLY
        )
        os.dup2(log, 1)
        os.dup2(log, 2)
        launcher = 'none'
        if self.processes > 1:
            launcher = 'pytorch'
            os.environ.update(
                RANK=str(rank),
                LOCAL_RANK=str(rank),
                WORLD_SIZE=str(self.processes),
                MASTER_ADDR='127.0.0.1',
                MASTER_PORT=str(port),
            )
        trap.install()
        from mmcomformer.engine.driver import run
        from mmcomformer.engine.request import Request

        run(
            Request(
                config=self.config,
                work_dir=str(folder),
                resume=resume,
                launcher=launcher,
                cfg_options=dict(self.options),
            )
        )
        sys.stdout.flush()
        os._exit(0)


@dataclass
class Outcome:
    """How a run ended, and what had happened by then."""

    killed: bool
    failed: bool
    seconds: float
    counts: dict[str, int]
    last: str


def _wait(ranks: Sequence[BaseProcess], begun: float, limit: float | None) -> None:
    """Wait until all processes have ended; when one has been killed, or it is time, kill all."""
    while any(process.is_alive() for process in ranks):
        late = limit is not None and time.monotonic() - begun >= limit
        if late or any(process.exitcode not in (None, 0) for process in ranks):
            for process in ranks:
                process.kill()
        ranks[0].join(0.01)
    for process in ranks:
        process.join()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return listener.getsockname()[1]


@dataclass
class Campaign:
    """Runs that are killed, each several times, and compared with an undisturbed one.

    Args:
        job: The run.
        folder: Folder for all of them; what ends as it should is removed.
        seed: Of the random moments.
        show: Prints a line of the table.
    """

    job: Job
    folder: Path
    seed: int = 0
    show: Callable[[str], Any] = print
    wrong: list[str] = field(default_factory=list)

    def run(self, kills: int) -> bool:
        """Kill so often, and tell whether every run ended as the undisturbed one."""
        from mmcomformer.engine.run_comparison import compare_runs

        self.random = random.Random(self.seed)
        expected = self.folder / 'undisturbed'
        self.whole = self.job.start(expected, resume=False)
        if self.whole.killed or self.whole.failed:
            raise RuntimeError(f'the undisturbed run failed; see {expected}.rank0.log')
        self.show(f'undisturbed: {self.whole.seconds:.1f} s, {self.whole.counts}')
        self.show('| run | kills | killed at | result |\n| --- | --- | --- | --- |')
        done = number = 0
        while done < kills:
            number += 1
            work_dir = self.folder / f'killed{number}'
            places = self._disturb(work_dir, min(kills - done, self.random.randint(1, 6)))
            done += len(places)
            different = compare_runs(expected, work_dir)
            result = f'DIFFERENT: {", ".join(different[:5])}' if different else 'identical'
            self.show(f'| {number} | {len(places)} | {"; ".join(places)} | {result} |')
            if different:
                self.wrong.append(work_dir.name)
            else:
                shutil.rmtree(work_dir)
        self.show(f'{done} kills of {number} runs: {len(self.wrong)} runs differ {self.wrong}')
        return not self.wrong

    def _disturb(self, work_dir: Path, kills: int) -> list[str]:
        """Run to the end, killed at most so often; return the places."""
        places: list[str] = []
        left = {'time': self.whole.seconds, **self.whole.counts}
        while True:
            kill = self._moment(left) if len(places) < kills else None
            trapped = self.random.randrange(self.job.processes)
            outcome = self.job.start(work_dir, resume=bool(places), kill=kill, trapped=trapped)
            if outcome.failed:
                raise RuntimeError(f'a resumed run failed; see {work_dir}.rank{trapped}.log')
            if not outcome.killed:
                return places
            places.append(f'{kill.kind if kill else ""}: {outcome.last}')
            left['time'] -= outcome.seconds
            for kind, count in outcome.counts.items():
                left[kind] -= count

    def _moment(self, left: Mapping[str, float]) -> Kill:
        kind = self.random.choice(('time', *EVENTS))
        if kind == 'time':
            return Kill(kind, self.random.uniform(0, max(1.0, left['time'])))
        return Kill(kind, self.random.randint(1, max(1, int(left[kind]))))


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='path of the config')
    parser.add_argument('--kills', type=int, default=20, help='number of kills')
    parser.add_argument('--seed', type=int, default=0, help='of the moments')
    parser.add_argument(
        '--processes', type=int, default=1, help='number of training processes (on a CPU)'
    )
    parser.add_argument(
        '--work-dir', default='work_dirs/kill_campaign', help='new folder for the runs'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        metavar='KEY=VALUE',
        default=[],
        help='settings that override the config',
    )
    return parser.parse_args()


def main() -> int:
    """Run the command."""
    args = parse_args()
    # imported once; each run is a fork
    import mmcomformer.engine.driver  # noqa: F401
    from mmcomformer.engine.cli import command_errors, parse_options

    with command_errors():
        folder = Path(args.work_dir)
        if folder.exists():
            sys.exit(f'error: --work-dir {folder}: expected a new folder')
        job = Job(args.config, parse_options(args.cfg_options), args.processes)
        return int(not Campaign(job, folder, args.seed).run(args.kills))


if __name__ == '__main__':
    sys.exit(main())
