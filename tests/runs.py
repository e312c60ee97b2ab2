"""Real commands on tiny data: what tests need to start a training and to look at what it left."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmcomformer.evaluation.summary import TIMES

TESTS = Path(__file__).parent
ROOT = TESTS.parent
TOOLS = ROOT / 'tools'
CONFIGS = ROOT / 'configs'
SHAPES_CONFIG = CONFIGS / 'comformer_shapes_6-3.py'


def environment(**variables: str) -> dict[str, str]:
    """Return the environment of a command: on the CPU, with one thread, and with the sources."""
    inherited = {
        key: value
        for key, value in os.environ.items()
        if key not in ('STEP', 'LOCAL_RANK', 'RANK', 'WORLD_SIZE', 'MMCOMFORMER_DEBUG')
    }
    path = [str(ROOT), str(TESTS), *filter(None, [os.environ.get('PYTHONPATH')])]
    return {
        **inherited,
        'PYTHONPATH': os.pathsep.join(path),
        'PATH': os.pathsep.join([str(Path(sys.executable).parent), os.environ['PATH']]),
        # for the shell scripts
        'PYTHON': sys.executable,
        'CUDA_VISIBLE_DEVICES': '',
        'OMP_NUM_THREADS': '1',
        **variables,
    }


def shapes_options(
    root: str | Path, *, iters: int, batch_size: int = 2, interval: int | None = None
) -> list[str]:
    """Return ``--cfg-options`` that make a Shapes config small.

    Args:
        root: Folder of the Shapes set.
        iters: Iterations of each step.
        batch_size: Images per process and iteration.
        interval: Iterations between checkpoints and between lines of the log; by default as many
            as a step has.
    """
    splits = ('train', 'val', 'test')
    return [
        *(f'{split}_dataloader.dataset.dataset.data_root={root}' for split in splits),
        *(f'{split}_dataloader.batch_size={batch_size}' for split in splits),
        # saves a garbage collection, which takes long in a small program too
        *(f'{split}_dataloader.dataset.serialize_data=False' for split in splits),
        f'train_cfg.max_iters={iters}',
        f'train_cfg.val_interval={iters}',
        f'default_hooks.checkpoint.interval={interval or iters}',
        f'default_hooks.logger.interval={interval or iters}',
        'model.train_cfg.num_points=128',
        f'auto_scale_lr.base_batch_size={batch_size}',
        # its page takes longer than some iterations
        'default_hooks.report.enabled=False',
    ]


# each backend formats the whole config, which takes as long as some iterations
NO_VIS_BACKENDS = ['visualizer.vis_backends=[]']


def record_option(
    out: str | Path, *, pause: str | None = None, kill: str | None = None
) -> list[str]:
    """Return ``--cfg-options`` that add a :class:`recording.RecordHook`."""
    values = {'type': 'recording.RecordHook', 'out': out, 'pause': pause, 'kill': kill}
    return [f'default_hooks.record.{key}={value}' for key, value in values.items() if value]


def train_command(config: str | Path, *args: str, options: Sequence[str] = ()) -> list[str]:
    """Return the command line of ``tools/train.py``."""
    return _command('train.py', config, *args, options=options)


def test_command(
    config: str | Path, checkpoint: str | Path, *args: str, options: Sequence[str] = ()
) -> list[str]:
    """Return the command line of ``tools/test.py``."""
    return _command('test.py', config, checkpoint, *args, options=options)


# the name begins like that of a test
test_command.__test__ = False  # type: ignore[attr-defined]


def _command(script: str, *args: str | Path, options: Sequence[str]) -> list[str]:
    command = [sys.executable, str(TOOLS / script), *map(str, args)]
    return [*command, '--cfg-options', *options] if options else command


def run(
    command: Sequence[str | Path],
    *,
    cwd: str | Path,
    env: Mapping[str, str] | None = None,
    check: bool = True,
    timeout: float = 600,
) -> subprocess.CompletedProcess[str]:
    """Run a command and return its exit code and output, both streams in ``stdout``.

    Raises:
        AssertionError: If it fails and ``check`` is set; the message has the end of its output.
    """
    result = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment(**(env or {})),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )
    if check and result.returncode != 0:
        raise AssertionError(
            f'exit code {result.returncode} of {command}:\n{result.stdout[-5000:]}'
        )
    return result


def run_until(
    command: Sequence[str], marker: Path, *, cwd: str | Path, timeout: float = 600
) -> None:
    """Run a command until it has written a file, then kill it and its children with SIGKILL.

    Raises:
        AssertionError: If it ends before, or takes too long.
    """
    log = marker.with_suffix('.log')
    with open(log, 'w', encoding='utf-8') as output:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    limit = time.monotonic() + timeout
    try:
        while not marker.exists():
            if process.poll() is not None or time.monotonic() > limit:
                raise AssertionError(f'{marker} was not written:\n{log.read_text()[-5000:]}')
            time.sleep(0.05)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def run_forked(
    script: str,
    cases: Mapping[str, tuple[Sequence[str], Mapping[str, str]]],
    *,
    cwd: str | Path,
    timeout: float = 600,
) -> dict[str, tuple[int, str]]:
    """Run a script of ``tools`` with many command lines, importing the libraries only once.

    Args:
        script: Such as ``train.py``.
        cases: By name, the arguments and the environment variables of each.
        cwd: Folder to run in.
        timeout: For all of them, in seconds.

    Returns:
        Exit code and output of each, by name.
    """
    result = subprocess.run(
        [sys.executable, str(TESTS / 'forked.py'), str(TOOLS / script)],
        input=json.dumps(cases),
        cwd=cwd,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
        timeout=timeout,
        check=True,
    )
    return {name: tuple(outcome) for name, outcome in json.loads(result.stdout).items()}


def free_port() -> int:
    """Return a TCP port that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return listener.getsockname()[1]


def read_summary(work_dir: Path) -> dict[str, Any]:
    """Return what a run left in ``summary.json``."""
    return json.loads((work_dir / 'summary.json').read_text(encoding='utf-8'))


def timeless(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a step of a summary without what differs between two equal runs."""
    return {key: value for key, value in entry.items() if key not in TIMES}


def read_records(path: Path) -> list[dict[str, Any]]:
    """Return what a :class:`recording.RecordHook` has written."""
    return [json.loads(line) for line in path.read_text(encoding='utf-8').splitlines()]
