"""Run the steps of a scenario, one after the other, and go on where a killed run stopped."""

from __future__ import annotations

import gc
import logging
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import barrier
from mmengine.logging import MMLogger, print_log
from mmengine.runner import Runner

from ..evaluation.summary import FILE_NAME, format_evaluation, read_summary
from ..scenario import parse_step, step_from_environment
from .checkpoint import (
    META_KEY,
    check_previous_step,
    check_seen_classes,
    continual_meta,
    file_sha256,
    previous_checkpoint,
    read_checkpoint,
)
from .launch import is_first_process, prepare_device
from .scenario_config import check_options, find_hooks, is_semantic, scenario_of, step_dir_of


@dataclass(frozen=True)
class Request:
    """What the user asked for on the command line.

    Attributes:
        config: Path of the config.
        step: The step to run; None runs all of them.
        work_dir: Folder for the folders of the steps; None takes the config's.
        resume: Whether to skip finished steps and continue the unfinished one.
        amp: Whether to train with automatic mixed precision.
        teacher: Checkpoint of the step before the first one that runs.
        launcher: ``none``, ``pytorch``, ``slurm`` or ``mpi``.
        cfg_options: Settings that override the config's, by dotted key.
    """

    config: str
    step: int | None = None
    work_dir: str | None = None
    resume: bool = False
    amp: bool = False
    teacher: str | None = None
    launcher: str = 'none'
    cfg_options: Mapping[str, Any] = field(default_factory=dict)


def requested_step(step: int | None) -> int | None:
    """Combine ``--step`` with the environment variable STEP.

    Raises:
        TypeError: If STEP is not a number.
        ValueError: If one is negative, or both are given and differ.
    """
    if step is not None:
        parse_step(step, source='--step')
    from_environment = step_from_environment()
    if step is not None and from_environment not in (None, step):
        raise ValueError(
            f'--step {step} and STEP={from_environment} contradict each other; give one of them'
        )
    return from_environment if step is None else step


def load_config(request: Request, step: int) -> Config:
    """Parse the config for a step, and set in it what the user asked for.

    Raises:
        FileNotFoundError: If there is no such config.
        TypeError: If it has no scenario.
        ValueError: If an option or the config contradicts the step.
    """
    if not Path(request.config).is_file():
        raise FileNotFoundError(f'config {request.config}: no such file')
    check_options(request.cfg_options)
    cfg = _parse(request.config, step)
    cfg.merge_from_dict(dict(request.cfg_options))
    # without a scenario this raises, before anything else can fail for lack of one
    scenario = scenario_of(cfg)
    stem = Path(request.config).stem
    root = request.work_dir or (None if cfg.get('work_dir') else f'./work_dirs/{stem}')
    if root is not None:
        cfg.work_dir = str(Path(root) / f'step{scenario.step}')
    step_dir_of(cfg, scenario)
    return cfg


def _parse(path: str, step: int) -> Config:
    logger = MMLogger.get_current_instance()
    logger.addFilter(_is_warning)
    try:
        with environment_step(step):
            return Config.fromfile(path)
    except (OSError, SyntaxError) as error:
        raise ValueError(f'config {path}: it cannot be read ({error})') from error
    finally:
        logger.removeFilter(_is_warning)


def _is_warning(record: logging.LogRecord) -> bool:
    """Hold back mmengine's note, at every parsing, that STEP is set."""
    return record.levelno >= logging.WARNING


@contextmanager
def environment_step(step: int) -> Iterator[None]:
    """Set STEP, which ``{{'$STEP:0'}}`` in a config reads, and restore it."""
    before = os.environ.get('STEP')
    os.environ['STEP'] = str(step)
    try:
        yield
    finally:
        if before is None:
            del os.environ['STEP']
        else:
            os.environ['STEP'] = before


def run(request: Request) -> None:
    """Train and evaluate the steps that were asked for.

    Raises:
        FileNotFoundError: If the config, a checkpoint or the data is missing.
        RuntimeError: If a checkpoint does not fit.
        TypeError: If the config has no scenario.
        ValueError: If the request or the config contradicts itself.
    """
    steps = _steps_to_run(request)
    for step in steps:
        teacher = request.teacher if step == steps[0] else None
        _run_step(request, step, teacher)
        gc.collect()


def _steps_to_run(request: Request) -> Sequence[int]:
    step = requested_step(request.step)
    first = 0
    if request.teacher is not None:
        taught = continual_meta(read_checkpoint(request.teacher, mmap=True), request.teacher)
        first = taught['step'] + 1
        if step is not None and step != first:
            raise ValueError(
                f'--teacher {request.teacher} is of step {taught["step"]}, so it teaches step '
                f'{first}, but step {step} was asked for'
            )
    if step is not None:
        load_config(request, step)
        return [step]
    num_steps = scenario_of(load_config(request, 0)).num_steps
    if first >= num_steps:
        raise ValueError(
            f'--teacher {request.teacher} is of step {first - 1}, and the scenario has '
            f'{num_steps} steps: there is nothing left to train'
        )
    return range(first, num_steps)


def _run_step(request: Request, step: int, teacher: str | None) -> None:
    cfg = load_config(request, step)
    num_steps = scenario_of(cfg).num_steps
    if teacher is not None:
        _set_teacher(cfg, teacher)
    prepare_device(cfg, launcher=request.launcher, amp=request.amp)
    _name_run(cfg, request, step)
    state = step_state(cfg, teacher) if request.resume else 'new'
    if is_first_process(request.launcher):
        print_log(f'step {step} of 0..{num_steps - 1}: {_MESSAGES[state]}', logger='current')
    if state == 'done':
        return
    if state == 'evaluate':
        cfg.load_from = str(previous_checkpoint(cfg.work_dir))
        Runner.from_cfg(cfg).val()
        return
    _check_start(cfg)
    cfg.resume = state == 'resume'
    Runner.from_cfg(cfg).train()


def _name_run(cfg: Config, request: Request, step: int) -> None:
    """Give a run a name of its own in this process."""
    # two steps may start within the second that mmengine's default name resolves
    cfg.experiment_name = f'{Path(request.config).stem}_step{step}_{uuid.uuid4().hex[:8]}'
    if 'visualizer' in cfg:
        # a name that is taken would give this run the visualizer, and the folder, of the last one
        cfg.visualizer.name = cfg.experiment_name


_MESSAGES = {
    'new': 'training',
    'resume': 'resuming its training',
    'evaluate': 'trained already, evaluating',
    'done': 'finished already, skipped',
}


def _set_teacher(cfg: Config, teacher: str) -> None:
    hooks = find_hooks(cfg)
    if not hooks:
        raise ValueError(
            '--teacher: the config has no hook that loads one; add dict(type="PseudoLabelHook") '
            'or another PreviousStepHook to custom_hooks'
        )
    for hook in hooks:
        hook['teacher_ckpt'] = teacher


def _check_start(cfg: Config) -> None:
    """Check the checkpoint that a step starts from before anything is built or written.

    Raises:
        FileNotFoundError: If there is none.
        RuntimeError: If it is not of the step before.
    """
    scenario = scenario_of(cfg)
    if scenario.step == 0:
        return
    # the first process may still be writing the step before
    barrier()
    for hook in find_hooks(cfg):
        default = step_dir_of(cfg, scenario).parent / f'step{scenario.step - 1}'
        path = hook.get('teacher_ckpt') or previous_checkpoint(default)
        check_previous_step(continual_meta(read_checkpoint(path, mmap=True), path), scenario, path)


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


def evaluate(
    request: Request, checkpoint: str, *, show_dir: str | None = None, tta: bool = False
) -> dict[str, float]:
    """Evaluate a checkpoint on the test set of a config.

    Args:
        request: Config and options; without a step, that of the checkpoint is used.
        checkpoint: Path of the checkpoint.
        show_dir: Folder for pictures of the predictions.
        tta: Whether to average the predictions for the variants of an image that the config's
            ``tta_pipeline`` makes.

    Returns:
        The metrics by name.

    Raises:
        FileNotFoundError: If a file is missing.
        RuntimeError: If the checkpoint is not one of ours or does not fit.
        ValueError: If the step that was asked for is not the checkpoint's, or the config has no
            test-time augmentation.
    """
    continual = continual_meta(read_checkpoint(checkpoint, mmap=True), checkpoint)
    step = requested_step(request.step)
    if step is not None and step != continual['step']:
        raise ValueError(
            f'checkpoint {checkpoint} is of step {continual["step"]}, but step {step} was asked '
            f'for; leave --step and STEP out, or pass another checkpoint'
        )
    cfg = load_config(request, continual['step'])
    check_seen_classes(continual, scenario_of(cfg), checkpoint)
    prepare_device(cfg, launcher=request.launcher)
    _name_run(cfg, request, continual['step'])
    cfg.load_from = checkpoint
    if show_dir is not None:
        _draw_into(cfg, str(Path(show_dir).resolve()))
    if tta:
        _augment_tests(cfg)
    runner = Runner.from_cfg(cfg)
    metrics = runner.test()
    for metric in runner.test_loop.evaluator.metrics:
        # on the main process only
        if getattr(metric, 'groups', None):
            runner.logger.info(f'\n{format_evaluation(metric.groups, metric.per_class)}')
    return metrics


def _draw_into(cfg: Config, folder: str) -> None:
    """Let the test loop write a picture of every prediction into a folder."""
    if is_semantic(cfg):
        # mmseg's hook leaves the place to the backend; a path that is absolute stays what it is
        cfg.default_hooks.visualization = dict(type='SegVisualizationHook', draw=True, interval=1)
        cfg.visualizer.vis_backends = [dict(type='LocalVisBackend', img_save_dir=folder)]
    else:
        cfg.default_hooks.visualization = dict(
            type='DetVisualizationHook', draw=True, interval=1, test_out_dir=folder
        )


def _augment_tests(cfg: Config) -> None:
    """Let the test loop average the predictions for several variants of each image."""
    if not is_semantic(cfg):
        raise ValueError(
            '--tta: panoptic predictions cannot be averaged; leave it out, or use a semantic config'
        )
    missing = [key for key in ('tta_model', 'tta_pipeline') if not cfg.get(key)]
    if missing:
        raise ValueError(
            f'--tta: the config has no {" and no ".join(missing)}, which say how to vary an image '
            f'and how to average; expected them as in configs/_base_/datasets/semantic.py'
        )
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
    cfg.model = {**cfg.tta_model, 'module': cfg.model}
