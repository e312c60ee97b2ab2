"""Evaluate a checkpoint, with pictures or test-time augmentation."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config

from ..evaluation.summary_tables import format_evaluation
from ..tasks import TASKS, task_of
from .checkpoint import continual_meta, read_checkpoint
from .checkpoint_fit import check_fit
from .console import build_runner, command_console, tell
from .hooks.console_hook import ConsoleHook
from .launch import prepare_device
from .request import Request, load_config, name_run, requested_step


def evaluate(
    request: Request,
    checkpoint: str,
    *,
    show_dir: str | None = None,
    out: str | None = None,
    overwrite: bool = False,
    tta: bool = False,
) -> dict[str, float]:
    """Evaluate a checkpoint on the test set of a config.

    Args:
        request: Config and options; without a step, that of the checkpoint is used.
        checkpoint: Path of the checkpoint.
        show_dir: Folder for pictures of the predictions.
        out: Folder for the predictions themselves, see :class:`.PredictionFilesHook`.
        overwrite: Whether files there that something else wrote are replaced.
        tta: Whether to average the predictions for the variants of an image that the config's
            ``tta_pipeline`` makes.

    Returns:
        The metrics by name.

    Raises:
        FileNotFoundError: If a file is missing.
        RuntimeError: If the checkpoint is not one of ours or does not fit.
        ValueError: If the step that was asked for is not the checkpoint's, or the config has no
            test-time augmentation.
        FileExistsError: If a folder holds a file of the same name of something else.
    """
    cfg = prepare_evaluation(request, checkpoint)
    if show_dir is not None:
        folder = str(Path(show_dir).resolve())
        cfg.default_hooks.visualization = dict(
            type='PredictionPicturesHook', folder=folder, overwrite=overwrite
        )
    if out is not None:
        folder = str(Path(out).resolve())
        cfg.default_hooks.predictions = dict(
            type='PredictionFilesHook', folder=folder, overwrite=overwrite
        )
    if tta:
        _augment_tests(cfg)
    with command_console(verbose=request.verbose) as console:
        runner = build_runner(cfg, console)
        runner.register_hook(ConsoleHook(console))
        metrics = runner.test()
        for metric in runner.test_loop.evaluator.metrics:
            # on the main process only
            if getattr(metric, 'groups', None):
                tell(f'\n{format_evaluation(metric.groups, metric.per_class)}')
        if out is not None:
            console.print(f'predictions in {out}')
    return metrics


def prepare_evaluation(request: Request, checkpoint: str) -> Config:
    """Return the config that evaluates a checkpoint, which fits it.

    Args:
        request: See :func:`evaluate`.
        checkpoint: Path of the checkpoint.

    Raises:
        FileNotFoundError: If a file is missing.
        RuntimeError: If the checkpoint is not one of ours or does not fit.
        ValueError: If the step that was asked for is not the checkpoint's.
    """
    content = read_checkpoint(checkpoint, mmap=True)
    continual = continual_meta(content, checkpoint)
    step = requested_step(request.step)
    if step is not None and step != continual['step']:
        raise ValueError(
            f'checkpoint {checkpoint} is of step {continual["step"]}, but step {step} was asked '
            f'for; leave --step and STEP out, or pass another checkpoint'
        )
    cfg = load_config(request, continual['step'])
    check_fit(cfg, content, checkpoint)
    prepare_device(cfg, launcher=request.launcher)
    name_run(cfg, request, continual['step'])
    cfg.load_from = checkpoint
    return cfg


def _augment_tests(cfg: Config) -> None:
    """Let the test loop average the predictions for several variants of each image."""
    task = task_of(cfg.model)
    if not task.averages:
        others = ' or '.join(other.name for other in TASKS.values() if other.averages)
        raise ValueError(
            f'--tta: {task.name} predictions cannot be averaged; leave it out, or use a {others} '
            f'config'
        )
    missing = [key for key in ('tta_model', 'tta_pipeline') if not cfg.get(key)]
    if missing:
        raise ValueError(
            f'--tta: the config has no {" and no ".join(missing)}, which say how to vary an image '
            f'and how to average; expected them as in configs/_base_/datasets/semantic.py'
        )
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
    cfg.model = {**cfg.tta_model, 'module': cfg.model}
