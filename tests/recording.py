"""A hook that writes down what a training does, and stops it where a test wants to kill it."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmcomformer.engine.scenario_config import scenario_of


class RecordHook(Hook):
    """Append a JSON line per iteration, training and validation image to a file.

    Args:
        out: The file; other ranks than 0 add their number to its name.
        pause: ``STEP:ITERATION`` before which to write ``out`` + ``.paused`` and wait for a kill.
        kill: ``STEP``, before whose final validation the process kills itself.
    """

    priority = 'VERY_LOW'

    def __init__(self, out: str, pause: str | None = None, kill: str | int | None = None) -> None:
        self.out = Path(out if get_rank() == 0 else f'{out}.rank{get_rank()}')
        self.pause = pause
        self.kill = None if kill is None else int(kill)

    def _write(self, runner: Runner, **values: Any) -> None:
        values['step'] = scenario_of(runner.cfg).step
        with open(self.out, 'a', encoding='utf-8') as file:
            file.write(json.dumps(values) + '\n')

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Wait to be killed."""
        if self.pause == f'{scenario_of(runner.cfg).step}:{runner.iter}':
            Path(f'{self.out}.paused').touch()
            time.sleep(600)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Write the images of an iteration."""
        images = [Path(sample.img_path).name for sample in data_batch['data_samples']]
        self._write(runner, event='train', iter=runner.iter, images=images)

    def before_val(self, runner: Runner) -> None:
        """Kill the process."""
        if self.kill == scenario_of(runner.cfg).step:
            os.kill(os.getpid(), signal.SIGKILL)

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Write the images of a batch of the validation."""
        images = [Path(sample.img_path).name for sample in outputs]
        self._write(runner, event='val', images=images)

    def after_train(self, runner: Runner) -> None:
        """Write a hash of the trained weights."""
        digest = hashlib.sha256()
        finite = True
        model = runner.model.module if hasattr(runner.model, 'module') else runner.model
        for name, value in sorted(model.state_dict().items()):
            digest.update(name.encode() + value.numpy().tobytes())
            finite = finite and bool(torch.isfinite(value.float()).all())
        self._write(runner, event='trained', sha256=digest.hexdigest(), finite=finite)
