"""Save checkpoints that survive a kill, and from which training goes on bit for bit."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mmengine.dist import all_gather_object, get_rank, is_main_process
from mmengine.fileio import LocalBackend
from mmengine.hooks import CheckpointHook
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from mmengine.runner import BaseLoop, IterBasedTrainLoop, Runner

from ...atomic import remove_leftovers, replaced_file
from ...random_state import random_state, restore_random_state
from ...registry import HOOKS
from ..resumed_data import data_position, resume_data
from .previous_step_hook import unwrap_model

LAST = 'last.pth'
"""Link in a step's folder to its last checkpoint."""
RANDOM_KEY = 'random_states'
DATA_KEY = 'data_position'


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """mmengine's checkpoint hook, with another order of writing, and more to continue from.

    A checkpoint is written under a temporary name, flushed to the disk and renamed; then
    ``last_checkpoint`` points to it; then the outdated ones are deleted. The stock hook deletes
    first and writes to the final name.

    A checkpoint also holds the random generators of every process and the position in the stream
    of images of a :class:`~mmcomformer.datasets.ContinualSampler`; a resumed training takes them
    up, and a validation leaves the generators as they were. While gradients are being accumulated,
    saving waits for the update that ends it.

    Arguments are those of ``CheckpointHook``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._saved_states: list[dict[str, Any]] | None = None
        self._before_val: dict[str, Any] | None = None
        self._resumed: dict[str, Any] = {}
        self._waiting = False
        self._saved_at = 0

    def before_run(self, runner: Runner) -> None:
        """Let a training that begins with the weights of another model load what fits."""
        if isinstance(runner._train_loop, BaseLoop) and not runner._resume:
            unwrap_model(runner.model).loads_others = True

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Keep what a training that resumes goes on with."""
        if not runner._resume:
            return
        self._resumed = {key: checkpoint.get(key) for key in (RANDOM_KEY, DATA_KEY)}
        if self._resumed[RANDOM_KEY] is None:
            print_log(
                'the checkpoint has no states of random generators, as those of earlier versions: '
                'training goes on, but with other random numbers than without the interruption',
                logger='current',
                level=logging.WARNING,
            )

    def before_train(self, runner: Runner) -> None:
        """Find the place in the stream of images, and tidy up after killed processes.

        A checkpoint remembers the paths of the best and the last one. In a copied run these are
        files of the original, which are not ours to remove.
        """
        if self.out_dir is None:
            for key, value in dict(runner.message_hub.runtime_info).items():
                if key.startswith(('best_ckpt', 'last_ckpt')) and isinstance(value, str):
                    present = str(Path(runner.work_dir) / Path(value).name)
                    runner.message_hub.update_info(key, present)
        super().before_train(runner)
        loop = runner.train_loop
        position = self._resumed.pop(DATA_KEY, None)
        if position is not None and isinstance(loop, IterBasedTrainLoop):
            resume_data(loop, position)
        if is_main_process() and isinstance(self.file_backend, LocalBackend):
            remove_leftovers(Path(self.out_dir))

    def before_train_epoch(self, runner: Runner) -> None:
        """Restore the generators of an epoch-based training, which begins an epoch here."""
        if not isinstance(runner.train_loop, IterBasedTrainLoop):
            self._restore_generators()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Restore the generators once the loader, which draws a seed for itself, has started."""
        self._restore_generators()

    def _restore_generators(self) -> None:
        states = self._resumed.pop(RANDOM_KEY, None)
        if states is not None:
            # all processes begin with the same seed, so more of them than before share states
            restore_random_state(states[get_rank() % len(states)])

    def before_val(self, runner: Runner) -> None:
        """Note the state of the generators."""
        self._before_val = random_state()

    def after_val(self, runner: Runner) -> None:
        """Give training the random numbers that it would have had without validation."""
        if self._before_val is not None:
            restore_random_state(self._before_val)
        self._before_val = None

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Save if a checkpoint is due, or one that had to wait can be written."""
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        if self._waiting and not _has_pending_gradients(runner):
            self._save_checkpoint(runner)

    def save_now(self, runner: Runner) -> bool | None:
        """Save after the current iteration, unless that has been done.

        Returns:
            Whether there is a checkpoint of it: False where they are written after epochs only,
            None while gradients are being accumulated.
        """
        if self.by_epoch:
            return False
        if self._saved_at != runner.iter + 1:
            self._save_checkpoint(runner)
        return None if self._waiting else True

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Add the states of the generators and the position in the stream of images."""
        if self._saved_states is not None:
            checkpoint[RANDOM_KEY] = self._saved_states
        position = data_position(runner.train_dataloader, checkpoint['meta']['iter'])
        if position is not None:
            checkpoint[DATA_KEY] = position

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float]) -> None:
        """Save the best checkpoint; an evaluation alone has no training to save."""
        if isinstance(runner._train_loop, BaseLoop):
            super().after_val_epoch(runner, metrics)
        elif self.save_best:
            runner.logger.warning(
                'save_best: this evaluation belongs to no training, so that best checkpoints stay '
                'as they are'
            )

    def _save_best_checkpoint(self, runner: Runner, metrics: dict[str, float]) -> None:
        """Save the best checkpoint as the others are saved, and remove the former one last."""
        if not self.save_best or not isinstance(self.file_backend, LocalBackend):
            super()._save_best_checkpoint(runner, metrics)
            return
        former: str | None = getattr(self, 'best_ckpt_path', None)
        self.best_ckpt_path = None
        formers = dict(getattr(self, 'best_ckpt_path_dict', {}))
        self.best_ckpt_path_dict = dict.fromkeys(formers)
        with _complete_best_files(runner):
            super()._save_best_checkpoint(runner, metrics)
        self.best_ckpt_path = self.best_ckpt_path or former
        new = {key: path for key, path in self.best_ckpt_path_dict.items() if path}
        self.best_ckpt_path_dict = {**formers, **new}
        kept = {self.best_ckpt_path, *self.best_ckpt_path_dict.values()}
        outdated = {former, *formers.values()} - kept - {None}
        for path in outdated if is_main_process() else ():
            Path(path).unlink(missing_ok=True)
            runner.logger.info(f'the former best checkpoint {path} was removed')

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict[str, Any]) -> None:
        self._waiting = not self.by_epoch and _has_pending_gradients(runner)
        if self._waiting:
            return
        # a point of the life cycle that mmengine lacks: its before_save_checkpoint is reached by
        # the first process alone, which cannot gather
        runner.call_hook('gather_for_checkpoint')
        self._saved_states = all_gather_object(self._before_val or random_state())
        if isinstance(self.file_backend, LocalBackend):
            self._replace_checkpoint(runner, step, meta)
        else:
            # object stores replace a file in one go
            super()._save_checkpoint_with_step(runner, step, meta)
        self._saved_states = None
        self._saved_at = step

    def _replace_checkpoint(self, runner: Runner, step: int, meta: dict[str, Any]) -> None:
        outdated = self._outdated(runner, step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(step))
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        if not is_main_process():
            return
        with replaced_file(self.last_ckpt) as temporary:
            runner.save_checkpoint(
                self.out_dir,
                temporary.name,
                self.file_client_args,
                save_optimizer=self.save_optimizer,
                save_param_scheduler=self.save_param_scheduler,
                meta=meta,
                by_epoch=self.by_epoch,
                backend_args=self.backend_args,
                **self.args,
            )
        with replaced_file(Path(runner.work_dir) / 'last_checkpoint') as pointer:
            pointer.write_text(self.last_ckpt, encoding='utf-8')
        _point_to(Path(self.last_ckpt))
        for path in outdated:
            path.unlink(missing_ok=True)

    def _outdated(self, runner: Runner, step: int) -> list[Path]:
        """Note that ``step`` is kept from now on, and return the files that no longer are."""
        if self.max_keep_ckpts <= 0 or step in self.keep_ckpt_ids:
            return []
        outdated = []
        while len(self.keep_ckpt_ids) >= self.max_keep_ckpts:
            outdated.append(self.filename_tmpl.format(self.keep_ckpt_ids.popleft()))
        self.keep_ckpt_ids.append(step)
        runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        return [Path(self.out_dir) / filename for filename in outdated]


@contextmanager
def _complete_best_files(runner: Runner) -> Iterator[None]:
    """Let the stock hook write best checkpoints so that they are complete or not there."""
    save = runner.save_checkpoint

    def save_completely(out_dir: str, filename: str, *args: Any, **kwargs: Any) -> None:
        # others come with a temporary name already
        if not filename.startswith('best_') or not is_main_process():
            save(out_dir, filename, *args, **kwargs)
            return
        with replaced_file(Path(out_dir) / filename) as temporary:
            save(out_dir, temporary.name, *args, **kwargs)

    vars(runner)['save_checkpoint'] = save_completely
    try:
        yield
    finally:
        del vars(runner)['save_checkpoint']


def _point_to(checkpoint: Path) -> None:
    """Let ``last.pth`` beside a checkpoint be that checkpoint, for users; nothing reads it here."""
    # where there are no links, as on some network file systems, there is no such name
    with suppress(OSError, NotImplementedError):
        temporary = checkpoint.with_name(f'.{LAST}.{os.getpid()}.tmp')
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(checkpoint.name)
        os.replace(temporary, checkpoint.with_name(LAST))


def _has_pending_gradients(runner: Runner) -> bool:
    """Tell whether gradients were computed that the next update adds to; no checkpoint has them."""
    wrapper = runner.optim_wrapper
    return isinstance(wrapper, OptimWrapper) and not wrapper.should_update()
