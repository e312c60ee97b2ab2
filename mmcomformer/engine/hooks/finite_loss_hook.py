"""Stop when a loss is no longer a number."""

from __future__ import annotations

import math
from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import Runner

from ...registry import HOOKS


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stop training when a loss becomes NaN or infinite, before that is saved.

    It reads the values that the logger has fetched from the device already. Each process sees its
    own losses; in an iteration after which a checkpoint is written, and in no other, they tell each
    other, so that none is written if any of them stops.
    """

    priority = 'ABOVE_NORMAL'

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict[str, Any] | None = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Check the losses of the iteration.

        Raises:
            RuntimeError: It gives the iteration, the losses and the images of the batch.
        """
        scalars = runner.message_hub.log_scalars
        losses = {
            key: float(scalars[f'train/{key}'].current())
            for key in outputs or {}
            if 'loss' in key and f'train/{key}' in scalars
        }
        wrong = {key: value for key, value in losses.items() if not math.isfinite(value)}
        elsewhere = False
        if get_world_size() > 1 and _is_saved(runner, batch_idx):
            flag = torch.tensor(float(bool(wrong)))
            all_reduce(flag, 'max')
            elsewhere = bool(flag) and not wrong
        if not wrong and not elsewhere:
            return
        samples = (data_batch or {}).get('data_samples', [])
        images = [getattr(sample, 'img_path', '?') for sample in samples]
        found = (
            f'losses {wrong} are not finite (all losses: {losses}); images of the batch: {images}'
            if wrong
            else 'losses of another process are not finite; its own message names them'
        )
        raise RuntimeError(
            f'iteration {runner.iter + 1}: {found}. The last checkpoint in {runner.work_dir} is '
            f'kept: look at these images, or train this step anew with a lower learning rate '
            f'(--overwrite)'
        )


def _is_saved(runner: Runner, batch_idx: int) -> bool:
    """Tell whether a checkpoint follows the iteration that has just ended."""
    return any(_saves(hook, runner, batch_idx) for hook in runner.hooks)


def _saves(hook: Hook, runner: Runner, batch_idx: int) -> bool:
    if not isinstance(hook, CheckpointHook):
        return False
    if hook.by_epoch:
        return hook.end_of_epoch(runner.train_dataloader, batch_idx)
    return hook.every_n_train_iters(runner, hook.interval, hook.save_begin) or (
        hook.save_last and hook.is_last_train_iter(runner)
    )
