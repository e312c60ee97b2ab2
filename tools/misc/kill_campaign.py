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
    """When a process is killed.

    Attributes:
        event: ``time``; or a kind of event; or how the name of an event begins, such as
            ``rename step1/.iter_4.pth``.
        number: Seconds, or which of these events of the process it is, counted from 1.
    """

    event: str
    number: float


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
        self._met = 0
        self.last = multiprocessing.Array('c', 300, lock=False)

    def install(self) -> None:
        """Watch the hooks and the files of this process."""
        from mmengine.runner import Runner

        call_hook = Runner.call_hook

        def watched(runner: Any, name: str, **kwargs: Any) -> None:
            if name in _HOOKS:
                self.note(_HOOKS[name], f'{_HOOKS[name]} of {Path(runner.work_dir).name}')
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
            self.note('file', f'{verb} {path[len(self.folder) :]}')

    def note(self, kind: str, name: str) -> None:
        """Count an event, and end here if it is the one."""
        self.counts[EVENTS.index(kind)] += 1
        self.last.value = name.encode()[-299:]
        if self.kill and (self.kill.event == kind or name.startswith(self.kill.event)):
            self._met += 1
            if self._met == self.kill.number:
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
        trap = Trap(folder, kill)
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
        limit = kill.number if kill and kill.event == 'time' else None
        killed = _wait(ranks, begun, limit)
        return Outcome(
            killed=killed,
            failed=not killed and any(process.exitcode for process in ranks),
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


def _wait(ranks: Sequence[BaseProcess], begun: float, limit: float | None) -> bool:
    """Wait until all processes have ended; when one has, or it is time, kill the others.

    Returns:
        Whether one was killed on purpose.
    """
    broken = False
    while any(process.is_alive() for process in ranks):
        late = limit is not None and time.monotonic() - begun >= limit
        if late or any(process.exitcode for process in ranks):
            # of a killed process, others notice before its exit code is seen here
            time.sleep(0 if late else 0.3)
            broken = not late and not _any_killed(ranks)
            for process in ranks:
                process.kill()
            break
        ranks[0].join(0.01)
    for process in ranks:
        process.join()
    return not broken and _any_killed(ranks)


def _any_killed(ranks: Sequence[BaseProcess]) -> bool:
    return any(process.exitcode == -signal.SIGKILL for process in ranks)


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

    def run(self, kills: int, at: Sequence[Kill] = ()) -> bool:
        """Kill, and tell whether every run ended as the undisturbed one.

        Args:
            kills: How often to kill, at random.
            at: Where to kill a single run instead, each time it goes on.
        """
        self.random = random.Random(self.seed)
        self.whole = self.job.start(self.folder / 'undisturbed', resume=False)
        if self.whole.killed or self.whole.failed:
            sys.exit(_report('undisturbed run', self.folder / 'undisturbed'))
        self.show(f'undisturbed: {self.whole.seconds:.1f} s, {self.whole.counts}')
        self.show('| run | kills | killed at | result |\n| --- | --- | --- | --- |')
        if at:
            done, number = self._check_run(1, list(at)), 1
        else:
            done = number = 0
            while done < kills:
                number += 1
                done += self._check_run(number, min(kills - done, self.random.randint(1, 6)))
        self.show(f'{done} kills of {number} runs: {len(self.wrong)} runs differ {self.wrong}')
        return not self.wrong

    def _check_run(self, number: int, kills: int | list[Kill]) -> int:
        """Disturb and compare a run; return how often it was killed."""
        from mmcomformer.engine.run_comparison import compare_runs

        work_dir = self.folder / f'killed{number}'
        places = self._disturb(work_dir, kills)
        different = compare_runs(self.folder / 'undisturbed', work_dir)
        result = f'DIFFERENT: {", ".join(different[:5])}' if different else 'identical'
        self.show(f'| {number} | {len(places)} | {"; ".join(places)} | {result} |')
        if different:
            self.wrong.append(work_dir.name)
        else:
            shutil.rmtree(work_dir)
        return len(places)

    def _disturb(self, work_dir: Path, kills: int | list[Kill]) -> list[str]:
        """Run to the end, killed at most so often; return the places."""
        places: list[str] = []
        left = {'time': self.whole.seconds, **self.whole.counts}
        fixed = kills if isinstance(kills, list) else []
        number = kills if isinstance(kills, int) else len(kills)
        while True:
            kill = None
            if len(places) < number:
                kill = fixed[len(places)] if fixed else self._moment(left)
            trapped = 0 if fixed else self.random.randrange(self.job.processes)
            outcome = self.job.start(work_dir, resume=bool(places), kill=kill, trapped=trapped)
            if outcome.failed:
                sys.exit(_report(f'run after {places}', work_dir))
            if not outcome.killed:
                return places
            by_clock = kill is not None and kill.event == 'time'
            places.append(f'{"clock, after " if by_clock else ""}{outcome.last or "nothing"}')
            left['time'] -= outcome.seconds
            for kind, count in outcome.counts.items():
                left[kind] -= count

    def _moment(self, left: Mapping[str, float]) -> Kill:
        kind = self.random.choice(('time', *EVENTS))
        if kind == 'time':
            return Kill(kind, self.random.uniform(0, max(1.0, left['time'])))
        return Kill(kind, self.random.randint(1, max(1, int(left[kind]))))


def _report(what: str, work_dir: Path) -> str:
    logs = sorted(work_dir.parent.glob(f'{work_dir.name}.rank*.log'))
    ends = [f'{log}: ...\n{log.read_text(errors="replace")[-2000:]}' for log in logs]
    return '\n'.join([f'error: the {what} failed', *ends])


def _parse_kill(text: str) -> Kill:
    event, _, count = text.partition(':')
    return Kill(event, int(count or 1))


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='path of the config')
    parser.add_argument('--kills', type=int, default=20, help='number of kills')
    parser.add_argument('--seed', type=int, default=0, help='of the moments')
    parser.add_argument(
        '--at',
        nargs='+',
        type=_parse_kill,
        metavar='EVENT[:COUNT]',
        default=[],
        help='kill one run at these events instead, each time it goes on: "iteration of step0:4", '
        '"evaluation of step1", "step of step2", "write .summary.json", '
        '"rename step0/.iter_4.pth"',
    )
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
    parser.add_argument('--debug', action='store_true', help='show where an error was raised')
    return parser.parse_args()


def main() -> int:
    """Run the command."""
    args = parse_args()
    folder = Path(args.work_dir)
    if folder.exists():
        sys.exit(f'error: --work-dir {folder}: expected a new folder')
    # imported once; each run is a fork, which can use CUDA only if this process has not even asked
    # the driver how many devices there are
    os.environ.setdefault('PYTORCH_NVML_BASED_CUDA_CHECK', '1')
    import mmcomformer.engine.driver  # noqa: F401
    from mmcomformer.engine.cli import command_errors, parse_options

    with command_errors(debug=args.debug):
        job = Job(args.config, parse_options(args.cfg_options), args.processes)
        return int(not Campaign(job, folder, args.seed).run(args.kills, args.at))


if __name__ == '__main__':
    sys.exit(main())
