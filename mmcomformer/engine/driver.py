"""Run the steps of a scenario, one after the other, and go on where a killed run stopped."""

from __future__ import annotations

import gc
from collections.abc import Sequence

from mmengine.config import Config
from mmengine.dist import barrier
from mmengine.logging import print_log
from mmengine.runner import Runner

from .checkpoint import (
    check_previous_step,
    continual_meta,
    previous_checkpoint,
    read_checkpoint,
)
from .hooks.previous_step_hook import find_hooks
from .launch import is_first_process, prepare_device
from .pretrained import fetch_pretrained
from .request import Request, load_config, name_run, requested_step
from .scenario_config import scenario_of, step_dir_of
from .state import step_state


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
    name_run(cfg, request, step)
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
    if step == 0 and state == 'new' and is_first_process(request.launcher):
        fetch_pretrained(cfg)
    cfg.resume = state == 'resume'
    Runner.from_cfg(cfg).train()


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
