"""Run the steps of a scenario, one after the other, and go on where a killed run stopped."""

from __future__ import annotations

import gc
import logging
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
from .console import Console, build_runner, command_console, tell
from .hooks.console_hook import ConsoleHook
from .hooks.interrupt_hook import stopped_by_user
from .hooks.one_axis_hook import OneAxisHook
from .hooks.previous_step_hook import find_hooks
from .launch import prepare_device
from .memory import exhausted_memory_explained
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
    with command_console(verbose=request.verbose) as console:
        _run(request, console)


def _run(request: Request, console: Console) -> None:
    steps = _steps_to_run(request)
    cfg = _config_of(request, steps[0], request.teacher)
    run_dir = Path(cfg.work_dir).resolve().parent
    with lost_processes_explained(), _owned_by_first_process(run_dir):
        resume = not request.overwrite and (request.resume or bool(cfg.get('resume')))
        plans = _make_plans(request, steps, run_dir, resume=resume)
        if is_main_process():
            _check_results(cfg)
        # once, before the first step that trains
        begin = cache(partial(_begin, request, plans, run_dir, resume=resume))
        before = [load_config(request, step) for step in range(plans[0].step)]
        for index, plan in enumerate(plans):
            later = [other.cfg for other in plans[index + 1 :] if other.point.state != 'done']
            show = ConsoleHook(console, _count_iters(later))
            # what is only evaluated has no loop that counts its own
            done = plans[: index + (plan.point.state == 'evaluate')]
            axis = OneAxisHook(_count_iters([*before, *(other.cfg for other in done)]) or 0)
            with stopped_by_user(console, Path(plan.cfg.work_dir)) as interrupt:
                _run_step(plan, begin, console, [show, axis, interrupt])
            gc.collect()


def _check_results(cfg: Config) -> None:
    """Warn of a config whose results nobody would write down."""
    hooks = [hook.get('type') for hook in cfg.get('custom_hooks') or []]
    if not any(str(hook).rpartition('.')[2] == 'SummaryHook' for hook in hooks):
        print_log(
            'custom_hooks: there is no SummaryHook, so this run leaves no table and no '
            'summary.json; inherit a base of a method, such as _base_/methods/comformer.py',
            logger='current',
            level=logging.WARNING,
        )


def _count_iters(configs: Sequence[Config]) -> int | None:
    """Return how many iterations steps train; None if their epochs are counted."""
    loops = [cfg.get('train_cfg') or {} for cfg in configs]
    if any('max_iters' not in loop for loop in loops):
        return None
    return sum(loop['max_iters'] for loop in loops)


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


def _run_step(
    plan: _Plan, begin: Callable[[], None], console: Console, hooks: Sequence[Hook]
) -> None:
    """Do what there is to do for a step.

    Args:
        plan: The step.
        begin: Called when its training has a batch.
        console: What the user sees.
        hooks: What is added to those of the config.
    """
    step, cfg, point = plan
    if is_main_process():
        steps = scenario_of(cfg).num_steps
        tell(f'step {step} of 0..{steps - 1}: {point.message}')
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
        runner = build_runner(cfg, console)
        _register(runner, hooks)
        with exhausted_memory_explained(cfg, 'val_dataloader'):
            runner.val()
        return
    if cfg.resume and cfg.get('randomness', {}).get('seed') is None:
        # known from the start, so that the sampler has it too
        cfg.randomness = {**cfg.get('randomness', {}), 'seed': point.seed}
    _check_start(cfg)
    if step == 0 and point.state == 'new' and is_main_process():
        fetch_pretrained(cfg)
    runner = build_runner(cfg, console)
    _count_accumulation(runner)
    _register(runner, [_BeginHook(begin), *hooks])
    with exhausted_memory_explained(cfg):
        runner.train()


def _register(runner: Runner, hooks: Sequence[Hook]) -> None:
    for hook in hooks:
        runner.register_hook(hook)


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
