"""Let Ctrl-C end a training where it can go on."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from mmengine.dist import is_distributed
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..console import Console
from .safe_checkpoint_hook import SafeCheckpointHook


class InterruptHook(Hook):
    """Save at the end of the iteration in which the user presses Ctrl-C, and stop then.

    A second Ctrl-C stops at once. In a distributed training, where the launcher ends the other
    processes meanwhile, and in one that saves after epochs, nothing is saved: what is lost is what
    came after the last checkpoint.

    Args:
        console: Where to say so.
    """

    # after everything that belongs to the iteration
    priority = 'LOWEST'

    def __init__(self, console: Console) -> None:
        self.console = console
        self._asked = False
        self._former: Any = None
        self._pid = os.getpid()

    def before_train(self, runner: Runner) -> None:
        """Take over Ctrl-C, which only the main thread of a program can."""
        self._asked = False
        if not is_distributed() and threading.current_thread() is threading.main_thread():
            self._former = signal.signal(signal.SIGINT, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._pid:
            # a process that loads images for this one, and goes on with it
            return
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        self.console.write('Ctrl-C: stopping after this iteration; press it again to stop at once')

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Save and stop, if that was asked for.

        Raises:
            KeyboardInterrupt: When the checkpoint is written, or cannot be in this training.
        """
        if not self._asked:
            return
        saved = [
            hook.save_now(runner) for hook in runner.hooks if isinstance(hook, SafeCheckpointHook)
        ]
        # while gradients accumulate it saves after the update that ends that
        if not saved or None not in saved:
            raise KeyboardInterrupt

    def before_val(self, runner: Runner) -> None:
        """Let Ctrl-C stop a validation at once; the training before it is saved."""
        self.give_back()
        if self._asked:
            raise KeyboardInterrupt

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Take over again after a validation."""
        if self._former is None:
            self.before_train(runner)

    def give_back(self) -> None:
        """Let Ctrl-C do what it did before."""
        if self._former is not None:
            signal.signal(signal.SIGINT, self._former)
            self._former = None


@contextmanager
def stopped_by_user(console: Console, folder: Path) -> Iterator[InterruptHook]:
    """Yield the hook, and say how a training that is stopped goes on.

    Args:
        console: Where to say so.
        folder: The step's folder.

    Raises:
        KeyboardInterrupt: If the user presses Ctrl-C.
    """
    hook = InterruptHook(console)
    try:
        yield hook
    except KeyboardInterrupt:
        console.end_progress()
        pointer = folder / 'last_checkpoint'
        saved = Path(pointer.read_text(encoding='utf-8')).name if pointer.is_file() else None
        where = f'{folder} has {saved}' if saved else f'{folder} has no checkpoint of this step yet'
        console.print(f'stopped; {where}. Go on with the same command and --resume')
        raise
    finally:
        hook.give_back()
