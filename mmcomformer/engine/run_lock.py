"""One run, one owner: a file in the run's folder names the process that works in it."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from mmengine.logging import print_log

from ..atomic import machine

FILE_NAME = 'run.lock'
BEAT = 10.0
"""Seconds between two signs of life of an owner."""
PATIENCE = 60.0
"""Seconds without a sign of life after which an owner on another machine counts as gone."""


class RunLock:
    """The right to train in a folder, held by one process on any of the machines that share it.

    The file is created with ``O_EXCL``, which shared file systems do in one go, and touched every
    ten seconds. The lock of a process that was killed does not block: on the same machine its
    process id is gone or belongs to a process that started at another time; on another one the
    file is no longer touched.

    Args:
        folder: The run's folder; it is created, and removed again if nothing was put into it.
        beat: See :data:`BEAT`.
        patience: See :data:`PATIENCE`.
    """

    def __init__(
        self, folder: str | Path, *, beat: float = BEAT, patience: float = PATIENCE
    ) -> None:
        self.path = Path(folder) / FILE_NAME
        self.beat = beat
        self.patience = patience
        self._content = b''
        self._pid = os.getpid()
        self._made: list[Path] = []
        self._released = threading.Event()

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            RuntimeError: If another process holds it (the message says which one), or the folder
                cannot be written.
        """
        folder = self.path.parent
        self._made = [path for path in (folder, *folder.parents) if not path.exists()]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            while not self._create():
                found = _read(self.path)
                if found is not None:
                    self._take_from(*found)
        except OSError as error:
            raise RuntimeError(
                f'{self.path} cannot be written ({error.strerror or error}); choose a --work-dir '
                f'that can'
            ) from error
        threading.Thread(target=self._keep_alive, daemon=True).start()

    def _create(self) -> bool:
        since = time.strftime('%Y-%m-%d %H:%M:%S')
        content = json.dumps({**_identity(self._pid), 'since': since}).encode()
        try:
            descriptor = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            return False
        with os.fdopen(descriptor, 'wb') as file:
            file.write(content)
        self._content = content
        return True

    def _take_from(self, content: bytes, touched: int) -> None:
        """Remove the lock of a process that is gone.

        Raises:
            RuntimeError: If its process lives.
        """
        owner = _parse(content)
        held = _is_alive(owner) or (not _is_local(owner) and self._shows_life(content, touched))
        if held and not owner:
            # it was being written; now it tells whose it is
            return
        if held:
            raise RuntimeError(
                f'{self.path.parent}: another training works in it: process {owner.get("pid")} on '
                f'{owner.get("host")}, since {owner.get("since")}. Wait for it, end it, or choose '
                f'another --work-dir; if it is certain that it no longer runs, remove {self.path}'
            )
        # the name is unique: of several processes that see the same stale lock one gets it
        aside = self.path.with_name(f'{FILE_NAME}.{uuid.uuid4().hex}')
        try:
            os.rename(self.path, aside)
        except FileNotFoundError:
            return
        taken = _read(aside)
        if taken is not None and taken[0] != content and not self.path.exists():
            # a new owner was faster
            os.rename(aside, self.path)
            return
        aside.unlink()
        print_log(
            f'{self.path}: process {owner.get("pid")} on {owner.get("host")} is gone; its lock '
            f'was removed',
            logger='current',
            level=logging.WARNING,
        )

    def _shows_life(self, content: bytes, touched: int) -> bool:
        """Watch a lock whose process cannot be asked; its clock may differ from ours."""
        limit = time.monotonic() + self.patience
        while time.monotonic() < limit:
            time.sleep(min(1.0, self.patience / 10))
            found = _read(self.path)
            if found is None:
                return False
            if found != (content, touched):
                return True
        return False

    def _keep_alive(self) -> None:
        while not self._released.wait(self.beat):
            found = _read(self.path)
            if found is None or found[0] != self._content:
                return
            with suppress(OSError):
                os.utime(self.path)

    def release(self) -> None:
        """Give the lock back."""
        # a worker process that was forked meanwhile is not the owner, whatever ends it
        if os.getpid() != self._pid:
            return
        self._released.set()
        found = _read(self.path)
        if found is not None and found[0] == self._content:
            self.path.unlink(missing_ok=True)
        for path in self._made:
            with suppress(OSError):
                path.rmdir()


@contextmanager
def owned_run(folder: str | Path, **timing: float) -> Iterator[None]:
    """Hold the lock of a run's folder; SIGTERM, by which clusters end jobs, gives it back too.

    Args:
        folder: The run's folder.
        **timing: See :class:`RunLock`.

    Raises:
        RuntimeError: If another process works in it.
    """
    lock = RunLock(folder, **timing)
    lock.acquire()

    def end(signum: int, frame: FrameType | None) -> None:
        lock.release()
        signal.signal(signum, signal.SIG_DFL)
        os.kill(os.getpid(), signum)

    handled = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    )
    if handled:
        signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        if handled:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        lock.release()


def _read(path: Path) -> tuple[bytes, int] | None:
    """Return a lock's content and when it was touched, ns; None if there is none."""
    try:
        # opening it asks a file server for the present state; a stat may be answered from a cache
        with open(path, 'rb') as file:
            return file.read(), os.fstat(file.fileno()).st_mtime_ns
    except FileNotFoundError:
        return None


def _parse(content: bytes) -> dict[str, Any]:
    """Return what a lock says of its owner; nothing if it was not written completely."""
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _identity(pid: int) -> dict[str, Any]:
    return {
        'host': socket.gethostname(),
        'machine': machine(),
        'pid': pid,
        'started': _start_of(pid),
    }


def _is_local(owner: dict[str, Any]) -> bool:
    # Windows has no harmless way to ask for a process
    return sys.platform != 'win32' and owner.get('machine') == machine()


def _is_alive(owner: dict[str, Any]) -> bool:
    """Tell whether the owner is a living process of this machine."""
    if not _is_local(owner):
        return False
    started = _start_of(owner.get('pid'))
    return started is not None and started == owner.get('started')


def _start_of(pid: int | None) -> str | None:
    """Return when a process started, in the words of the system; None if it does not live."""
    stat = Path(f'/proc/{pid}/stat')
    if Path('/proc/self/stat').exists():
        try:
            # the command in parentheses may hold anything
            fields = stat.read_text().rsplit(')', 1)[1].split()
        except OSError:
            return None
        return None if fields[0] in ('Z', 'X') else fields[19]
    if sys.platform == 'win32':
        return None
    command = ['ps', '-o', 'lstart=', '-p', str(pid)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip() or None
