"""What is left to do for a step: read from what earlier runs left in its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..evaluation.summary import FILE_NAME, read_summary
from .checkpoint import (
    META_KEY,
    continual_meta,
    file_sha256,
    previous_checkpoint,
    read_checkpoint,
)


def step_state(cfg: Config, teacher: str | None = None) -> str:
    """Find out what is left to do for a step.

    Args:
        cfg: Its config.
        teacher: The teacher that was asked for; None is the last checkpoint of the step before.

    Returns:
        ``new``, ``resume``, ``evaluate`` (trained, not evaluated) or ``done``.

    Raises:
        RuntimeError: If the step was trained from another checkpoint of the step before than the
            one that is there now.
    """
    work_dir = Path(cfg.work_dir)
    if not (work_dir / 'last_checkpoint').is_file():
        return 'new'
    path = previous_checkpoint(work_dir)
    checkpoint = read_checkpoint(path, mmap=True)
    _check_same_teacher(checkpoint, path, teacher)
    if checkpoint['meta']['iter'] < cfg.train_cfg.max_iters:
        return 'resume'
    summary_file = work_dir.parent / FILE_NAME
    step = checkpoint['meta'][META_KEY]['step']
    if summary_file.is_file():
        evaluated = [entry['step'] for entry in read_summary(summary_file)['steps']]
        return 'done' if step in evaluated else 'evaluate'
    return 'evaluate'


def _check_same_teacher(checkpoint: dict[str, Any], path: Path, teacher: str | None) -> None:
    continual = continual_meta(checkpoint, path)
    if continual['step'] == 0 or not continual.get('teacher'):
        return
    default = path.parent.parent / f'step{continual["step"] - 1}'
    if teacher is None and not (default / 'last_checkpoint').is_file():
        return
    present = Path(teacher) if teacher else previous_checkpoint(default)
    if file_sha256(present) != continual['teacher']['sha256']:
        raise RuntimeError(
            f'--resume: {path} was trained from {continual["teacher"]["path"]}, which is not the '
            f'present {present}; move {path.parent} away to train this step anew'
        )
