"""Stop when a loss is no longer a number."""

from __future__ import annotations

import math
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ...registry import HOOKS


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stop training when a loss becomes NaN or infinite, before that is saved.

    It reads the values that the logger has fetched from the device already.
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
        if not wrong:
            return
        samples = (data_batch or {}).get('data_samples', [])
        images = [getattr(sample, 'img_path', '?') for sample in samples]
        raise RuntimeError(
            f'iteration {runner.iter + 1}: losses {wrong} are not finite (all losses: {losses}); '
            f'images of the batch: {images}. The last checkpoint in {runner.work_dir} is kept: '
            f'resume from it with a lower learning rate, or look at these images'
        )
