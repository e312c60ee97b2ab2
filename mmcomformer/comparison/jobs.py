"""Runs the jobs of a comparison, some at a time, and says how far they are."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import IO

from .plan import Job

_LOOK = 0.5
"""Seconds between two looks at the trainings."""


class JobRunner:
    """Runs jobs in processes of their own, each after the one that it needs.

    A job that is done is not run again. After a failure the jobs that need it are left out, and the
    others go on. If this process ends, for whatever reason, so do the trainings; the next call goes
    on with them.

    Args:
        jobs: The jobs, in an order in which they can be done.
        train: Path of ``tools/train.py``.
        at_a_time: How many run at a time.
        threads: Threads of each.
        report: What is told a line about every job that starts or ends, and how far all are.
        finished: Called after each job that has ended well.
        every: Seconds between two lines on how far all are.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        train: Path,
        *,
        at_a_time: int,
        threads: int,
        report: Callable[[str], None],
        finished: Callable[[], object],
        every: float = 60.0,
    ) -> None:
        self.jobs = list(jobs)
        self.train = train
        self.at_a_time = at_a_time
        self.threads = threads
        self.report = report
        self.finished = finished
        self.every = every
        self.failed: list[Job] = []
        self.left_out: list[Job] = []
        self._running: dict[Job, subprocess.Popen[bytes]] = {}
        self._begun = time.monotonic()
        self._iters_before = 0

    def run(self) -> bool:
        """Run all jobs; return whether all are done."""
        done = [job for job in self.jobs if job.state == 'done']
        waiting = [job for job in self.jobs if job not in done]
        self._iters_before = self._iterations()
        told = self._begun = time.monotonic()
        try:
            while waiting or self._running:
                self._collect(done)
                self._leave_out(waiting)
                self._start(waiting, done)
                if time.monotonic() - told >= self.every:
                    told = time.monotonic()
                    self.report(self._status(len(done)))
                time.sleep(_LOOK if self._running else 0)
        finally:
            self._stop()
        return not (self.failed or self.left_out)

    def _start(self, waiting: list[Job], done: Sequence[Job]) -> None:
        for job in list(waiting):
            if len(self._running) >= self.at_a_time:
                return
            # the steps of a run share a folder, which has one owner
            busy = any(other.run == job.run for other in self._running)
            if busy or not (job.needs is None or job.needs in done):
                continue
            waiting.remove(job)
            job.log.parent.mkdir(parents=True, exist_ok=True)
            with open(job.log, 'ab') as log:
                self._running[job] = self._process(job, log)
            goes_on = ', goes on' if job.state == 'begun' else ''
            self.report(f'started {job.name}{goes_on} (log: {job.log})')

    def _process(self, job: Job, log: IO[bytes]) -> subprocess.Popen[bytes]:
        threads = str(self.threads)
        names = ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS')
        return subprocess.Popen(
            job.command(self.train),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={
                **os.environ,
                **dict.fromkeys(names, threads),
                'METHOD': job.run.entry.method,
            },
            preexec_fn=_end_with_parent if sys.platform == 'linux' else None,
        )

    def _collect(self, done: list[Job]) -> None:
        for job, process in list(self._running.items()):
            if process.poll() is None:
                continue
            del self._running[job]
            if process.returncode == 0 and job.state == 'done':
                done.append(job)
                self.report(f'done    {job.name}; {self._status(len(done))}')
                self.finished()
            else:
                self.failed.append(job)
                self.report(f'FAILED  {job.name}: {_last_line(job.log)} (log: {job.log})')

    def _leave_out(self, waiting: list[Job]) -> None:
        for job in list(waiting):
            if job.needs in (*self.failed, *self.left_out):
                waiting.remove(job)
                self.left_out.append(job)
                self.report(f'left out {job.name}: it needs {job.needs.name if job.needs else ""}')

    def _stop(self) -> None:
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            process.wait()

    def _iterations(self) -> int:
        return sum(job.run.iterations(job.step) for job in self.jobs)

    def _status(self, done: int) -> str:
        """Return how far all jobs are, and how long the rest takes if it goes on like this."""
        text = f'{done} of {len(self.jobs)} steps'
        trained, seconds = self._iterations(), time.monotonic() - self._begun
        left = sum(job.iters for job in self.jobs) - trained
        if trained > self._iters_before:
            rate = (trained - self._iters_before) / seconds
            text += f', time left {timedelta(seconds=round(left / rate))}'
        return text


def _end_with_parent() -> None:
    """Let a process get SIGTERM when its parent ends, be it by SIGKILL."""
    import ctypes
    import signal

    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)


def _last_line(log: Path) -> str:
    """Return the last line of a log that is an error, or else the last one."""
    lines = log.read_text(encoding='utf-8', errors='replace').splitlines()
    errors = [line for line in lines if line.startswith('error: ') or 'Error: ' in line]
    return (errors or lines or ['it wrote nothing'])[-1].strip()


@contextmanager
def stopped_by_user(report: Callable[[str], None]) -> Iterator[None]:
    """Say after Ctrl-C how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        report('stopped; the same command goes on from the last checkpoints')
        raise SystemExit(130) from None
