"""Save checkpoints so that a kill at any moment leaves one that can be loaded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend
from mmengine.hooks import CheckpointHook
from mmengine.runner import BaseLoop, Runner

from ...atomic import replaced_file
from ...registry import HOOKS


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """mmengine's checkpoint hook, with another order of writing.

    A checkpoint is written under a temporary name and renamed; then ``last_checkpoint`` points to
    it; then the outdated ones are deleted. The stock hook deletes first and writes to the final
    name. Arguments are those of ``CheckpointHook``.
    """

    def before_train(self, runner: Runner) -> None:
        """Look for the checkpoints of before in the present folder.

        A checkpoint remembers the paths of the best and the last one. In a copied run these are
        files of the original, which are not ours to remove.
        """
        if self.out_dir is None:
            for key, value in dict(runner.message_hub.runtime_info).items():
                if key.startswith(('best_ckpt', 'last_ckpt')) and isinstance(value, str):
                    present = str(Path(runner.work_dir) / Path(value).name)
                    runner.message_hub.update_info(key, present)
        super().before_train(runner)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float]) -> None:
        """Save the best checkpoint; an evaluation alone has no training to save."""
        if isinstance(runner._train_loop, BaseLoop):
            super().after_val_epoch(runner, metrics)
        elif self.save_best:
            runner.logger.warning(
                'save_best: this evaluation belongs to no training, so that best checkpoints stay '
                'as they are'
            )

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict[str, Any]) -> None:
        # a point of the life cycle that mmengine lacks: its before_save_checkpoint is reached by
        # the first process alone, which cannot gather
        runner.call_hook('gather_for_checkpoint')
        if not isinstance(self.file_backend, LocalBackend):
            # object stores replace a file in one go
            super()._save_checkpoint_with_step(runner, step, meta)
            return
        outdated = self._outdated(runner, step)
        filename = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, filename)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        temporary = Path(self.out_dir) / f'{filename}.tmp'
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
        if is_main_process():
            os.replace(temporary, self.last_ckpt)
            with replaced_file(Path(runner.work_dir) / 'last_checkpoint') as pointer:
                pointer.write_text(self.last_ckpt, encoding='utf-8')
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
