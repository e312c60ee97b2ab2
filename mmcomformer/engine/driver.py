"""Run the steps of a scenario, one after the other, and go on where a killed run stopped."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner

from ..processes import lost_processes_explained, on_first_process
from ..scenario import Scenario
from .checkpoint import (
    check_previous_step,
    check_seen_images,
    continual_meta,
    previous_checkpoint,
    read_checkpoint,
)
from .hooks.previous_step_hook import find_hooks
from .launch import prepare_device
from .pretrained import fetch_pretrained
from .request import Request, load_config, name_run, requested_step
from .run_lock import owned_run
from .scenario_config import has_memory, scenario_of, step_dir_of
from .state import ResumePoint, begun_with, discard, note_teacher, resume_point


class _Plan(NamedTuple):
    """A step that was asked for, its config, and where the work on it goes on."""

    step: int
    cfg: Config
    point: ResumePoint


def run(request: Request) -> None:
    """Train and evaluate the steps that were asked for.

    What is there of each of them is looked at before the first one starts.

    Raises:
        FileNotFoundError: If the config, a checkpoint or the data is missing.
        RuntimeError: If a checkpoint does not fit, what is there is of another run or not to be
            overwritten, or another process works in the run's folder.
        TypeError: If the config has no scenario.
        ValueError: If the request or the config contradicts itself.
    """
    if request.resume and request.overwrite:
        raise ValueError('--resume and --overwrite contradict each other; give one of them')
    steps = _steps_to_run(request)
    cfg = _config_of(request, steps[0], request.teacher)
    run_dir = Path(cfg.work_dir).resolve().parent
    with lost_processes_explained(), _owned_by_first_process(run_dir):
        resume = not request.overwrite and (request.resume or bool(cfg.get('resume')))
        plans = _make_plans(request, steps, run_dir, resume=resume)
        # once, before the first step that trains
        begin = cache(partial(_begin, request, plans, run_dir, resume=resume))
        for plan in plans:
            _run_step(plan, begin)
            gc.collect()


@contextmanager
def _owned_by_first_process(run_dir: Path) -> Iterator[None]:
    with ExitStack() as stack:
        on_first_process(lambda: stack.enter_context(owned_run(run_dir)))
        yield


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


def _config_of(request: Request, step: int, teacher: str | None) -> Config:
    """Return a step's config as it will run on this machine."""
    cfg = load_config(request, step)
    _check_loop(cfg)
    if teacher is not None:
        _set_teacher(cfg, teacher)
    prepare_device(cfg, launcher=request.launcher, amp=request.amp)
    name_run(cfg, request, step)
    return cfg


def _make_plans(
    request: Request, steps: Sequence[int], run_dir: Path, *, resume: bool
) -> list[_Plan]:
    """Decide for each step what there is to do."""
    teacher = request.teacher
    if resume and teacher is None and requested_step(request.step) is None:
        first, teacher = on_first_process(lambda: begun_with(run_dir))
        steps = range(first, steps[-1] + 1)
    configs = [_config_of(request, step, teacher if step == steps[0] else None) for step in steps]
    points = on_first_process(
        lambda: [resume_point(cfg, resume=resume, overwrite=request.overwrite) for cfg in configs]
    )
    return [_Plan(*plan) for plan in zip(steps, configs, points, strict=True)]


def _begin(request: Request, plans: Sequence[_Plan], run_dir: Path, *, resume: bool) -> None:
    """Let a run leave what its steps are begun with, and nothing of what it replaces."""
    if request.overwrite:
        discard(run_dir, [plan.step for plan in plans])
    if requested_step(request.step) is None and (not resume or request.teacher is not None):
        note_teacher(run_dir, plans[0].step, request.teacher)


def _run_step(plan: _Plan, begin: Callable[[], None]) -> None:
    """Do what there is to do for a step; ``begin`` is called when its training has a batch."""
    step, cfg, point = plan
    if is_main_process():
        steps = scenario_of(cfg).num_steps
        print_log(f'step {step} of 0..{steps - 1}: {point.message}', logger='current')
    if point.state == 'done':
        return
    if point.checkpoint is not None:
        # its present path; mmengine would follow the one under which it was written
        cfg.load_from = str(point.checkpoint)
    elif cfg.get('resume') and cfg.get('load_from'):
        raise ValueError(
            f'resume: it goes on with the checkpoint in {cfg.work_dir}, where there is none, and '
            f'load_from names {cfg.load_from}; leave resume out to start from its weights, or '
            f'put it there as a run of its own'
        )
    cfg.resume = point.state == 'resume'
    if point.state == 'evaluate':
        Runner.from_cfg(cfg).val()
        return
    if cfg.resume and cfg.get('randomness', {}).get('seed') is None:
        # known from the start, so that the sampler has it too
        cfg.randomness = {**cfg.get('randomness', {}), 'seed': point.seed}
    _check_start(cfg)
    if step == 0 and point.state == 'new' and is_main_process():
        fetch_pretrained(cfg)
    runner = Runner.from_cfg(cfg)
    _count_accumulation(runner)
    runner.register_hook(_BeginHook(begin))
    runner.train()


class _BeginHook(Hook):
    """Call a function when a training has its first batch, so when nothing is left to refuse it."""

    priority = 'VERY_HIGH'

    def __init__(self, begin: Callable[[], None]) -> None:
        self._begin: Callable[[], None] | None = begin

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Call the function once, on the first process; the others wait for it."""
        if self._begin is not None:
            on_first_process(self._begin)
            self._begin = None


def _count_accumulation(runner: Runner) -> None:
    """Let the scaling of the learning rate see the batch of an update, not of an iteration."""
    scaling = runner.auto_scale_lr
    count = (runner.cfg.get('optim_wrapper') or {}).get('accumulative_counts', 1)
    if count > 1 and scaling and scaling.get('enable'):
        base = scaling['base_batch_size']
        runner.logger.info(
            f'{count} iterations make one update, so the base batch of {base} is '
            f'{base / count:g} per iteration'
        )
        runner.auto_scale_lr = {**scaling, 'base_batch_size': base / count}


_ENDLESS = ('ContinualSampler', 'InfiniteSampler')


def _check_loop(cfg: Config) -> None:
    """Check that training by epochs has epochs.

    Raises:
        ValueError: If it would never end one, or save in the middle of one, where it cannot resume.
    """
    if 'max_epochs' not in (cfg.get('train_cfg') or {}):
        return
    sampler = cfg.train_dataloader.get('sampler') or {}
    if sampler.get('type') in _ENDLESS:
        raise ValueError(
            f'train_dataloader.sampler: {sampler["type"]} never ends an epoch, and train_cfg '
            f"counts epochs; set dict(type='DefaultSampler', shuffle=True), or train_cfg.max_iters"
        )
    checkpoint = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    if not checkpoint.get('by_epoch', True):
        raise ValueError(
            'default_hooks.checkpoint.by_epoch: expected True, since train_cfg counts epochs and '
            'training goes on at the start of one only, got False; set interval in epochs too'
        )


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
        RuntimeError: If it is not of the step before, or has not seen what is in memory.
    """
    scenario = scenario_of(cfg)
    if scenario.step == 0:
        return
    # the first process is the one that has written the step before
    on_first_process(lambda: _check_teachers(cfg, scenario))


def _check_teachers(cfg: Config, scenario: Scenario) -> None:
    for hook in find_hooks(cfg):
        default = step_dir_of(cfg, scenario).parent / f'step{scenario.step - 1}'
        path = hook.get('teacher_ckpt') or previous_checkpoint(default)
        continual = continual_meta(read_checkpoint(path, mmap=True), path)
        check_previous_step(continual, scenario, path)
        if has_memory(cfg.get('train_dataloader')):
            check_seen_images(continual, scenario, path)
