"""Start a step from the checkpoint of the step before."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import BaseLoop, Runner, find_latest_checkpoint
from torch import nn

from ...compat import skip_trained_batches
from ...models.extra_losses import check_needs
from ...models.growing import grow_state, load_previous_step, newest_parameters
from ...models.method_state import load_states
from ...registry import HOOKS
from ...scenario import Scenario
from ..checkpoint import (
    META_KEY,
    check_previous_step,
    check_seen_images,
    continual_meta,
    file_sha256,
    previous_checkpoint,
    raw_weights,
    read_checkpoint,
)
from ..checkpoint_fit import check_teacher, weight_faults
from ..method_state import STATE_KEY, gather_states
from ..scenario_config import check_derived, has_memory, scenario_of, step_dir_of
from ..settings import settings_of


@HOOKS.register_module()
class PreviousStepHook(Hook):
    """Initialise the student of step t with the checkpoint of step t-1.

    Everything is checked before the first iteration: that all copies of the scenario in the config
    agree, that the work dir belongs to the step, that no loss lacks the teacher that it needs, and
    that the checkpoint has the right step, classes, model and weights. At step 0 there is nothing
    to load. What a checkpoint needs to be the next teacher is written into its
    ``meta['continual']``.

    Args:
        teacher_ckpt: The checkpoint of step t-1. Defaults to the last one in ``../step<t-1>``.
    """

    priority = 'HIGH'
    gives: ClassVar[frozenset[str]] = frozenset()
    """What losses find at later steps: ``teacher``, ``pseudo-labels``."""

    def __init__(self, teacher_ckpt: str | None = None) -> None:
        self.teacher_ckpt = teacher_ckpt
        self.scenario: Scenario
        self._meta: dict[str, Any] = {}
        self._state_dict: dict[str, torch.Tensor] = {}
        # the same, in the shapes of this step
        self._grown_state: dict[str, torch.Tensor] = {}
        self._resumed = False
        self._method_state: dict[str, dict[str, torch.Tensor]] = {}

    def before_run(self, runner: Runner) -> None:
        """Check the config and the checkpoint of the step before.

        Raises:
            FileNotFoundError: If there is no such checkpoint.
            RuntimeError: If it does not fit.
            ValueError: If the config contradicts itself.
        """
        self.scenario = scenario_of(runner.cfg)
        if not isinstance(runner._train_loop, BaseLoop):
            return
        check_derived(runner.cfg)
        if self.scenario.num_steps > 1:
            losses = getattr(unwrap_model(runner.model), 'extra_losses', nn.ModuleDict())
            check_needs(losses, self.gives, type(self).__name__)
        step_dir = step_dir_of(runner.cfg, self.scenario)
        resumes = runner._resume and (runner._load_from or find_latest_checkpoint(str(step_dir)))
        if self.scenario.step > 0 or resumes:
            _drop_pretrained(runner.model)
        self._meta = dict(
            step=self.scenario.step,
            scenario=self.scenario.to_dict(),
            settings=settings_of(runner.cfg),
            teacher=None,
        )
        if self.scenario.step > 0:
            self._read_previous(runner, step_dir)

    def _read_previous(self, runner: Runner, step_dir: Path) -> None:
        step = self.scenario.step
        if runner._load_from is not None and not runner._resume:
            raise ValueError(
                f'load_from: step {step} starts from the checkpoint of step {step - 1}; pass it '
                f'as --teacher, or as teacher_ckpt of the {type(self).__name__}'
            )
        default = step_dir.parent / f'step{step - 1}'
        path = Path(self.teacher_ckpt) if self.teacher_ckpt else previous_checkpoint(default)
        checkpoint = read_checkpoint(path)
        continual = continual_meta(checkpoint, path)
        check_previous_step(continual, self.scenario, path)
        if has_memory(runner.cfg.train_dataloader):
            check_seen_images(continual, self.scenario, path)
        self._check_finished(checkpoint['meta'], path)
        check_teacher(runner.cfg, checkpoint, path)
        student = unwrap_model(runner.model)
        self._state_dict = raw_weights(checkpoint, (name for name, _ in student.named_parameters()))
        self._grown_state = {**self._state_dict}
        grow_state(student, self._grown_state)
        _check_weights(student, self._grown_state, path)
        load_states(student, checkpoint.get(STATE_KEY, {}), f'checkpoint {path}')
        self._meta['teacher'] = dict(
            path=str(path.resolve()), sha256=file_sha256(path), step=step - 1
        )
        print_log(f'step {step} starts from {path}', logger='current')

    def _check_finished(self, meta: dict[str, Any], path: Path) -> None:
        done, planned = meta.get('iter'), meta[META_KEY].get('max_iters')
        if done is None or planned is None or done >= planned:
            return
        message = f'checkpoint {path}: its training stopped at iteration {done} of {planned}'
        if self.teacher_ckpt is None:
            raise RuntimeError(
                f'{message}; finish it with --step {self.scenario.step - 1} --resume'
            )
        print_log(message, logger='current', level=logging.WARNING)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Remember that training resumes, so that the student keeps what it has learned."""
        self._resumed = bool(runner._resume)
        if self._resumed:
            states = checkpoint.get(STATE_KEY, {})
            load_states(unwrap_model(runner.model), states, 'the checkpoint to resume')

    def before_train(self, runner: Runner) -> None:
        """Initialise the student, unless it was resumed."""
        self._meta['max_iters'] = runner.max_iters
        skip_trained_batches(runner.train_loop)
        if self.scenario.step > 0 and not self._resumed:
            load_previous_step(unwrap_model(runner.model), self._grown_state)
        self._state_dict, self._grown_state = {}, {}

    def gather_for_checkpoint(self, runner: Runner) -> None:
        """Gather the state of the method: all processes come here before a checkpoint."""
        self._method_state = gather_states(unwrap_model(runner.model))

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Write step, scenario, settings and teacher into the meta, and the method's state."""
        checkpoint['meta'].setdefault(META_KEY, {}).update(self._meta)
        if self._method_state:
            checkpoint[STATE_KEY] = self._method_state


def find_hooks(cfg: Config) -> list[dict[str, Any]]:
    """Return the configs of the hooks that start from the checkpoint of the step before."""
    candidates = [*cfg.get('custom_hooks', []), *cfg.get('default_hooks', {}).values()]
    found = []
    for hook in candidates:
        kind = HOOKS.get(hook['type']) if hook and isinstance(hook.get('type'), str) else None
        if kind is not None and issubclass(kind, PreviousStepHook):
            found.append(hook)
    return found


def unwrap_model(model: nn.Module) -> Any:
    """Return the detector or segmentor inside a data-parallel wrapper, or the model itself."""
    return model.module if is_model_wrapper(model) else model


def _drop_pretrained(model: nn.Module) -> None:
    """Forget pretrained weights, which the step before or a resume replaces anyway."""
    modules: Iterable[Any] = model.modules()
    for module in modules:
        init_cfg = getattr(module, 'init_cfg', None)
        if isinstance(init_cfg, dict) and init_cfg.get('type') == 'Pretrained':
            module.init_cfg = None


def _check_weights(student: nn.Module, state_dict: dict[str, torch.Tensor], path: Path) -> None:
    """Check that a checkpoint has every weight but those of the newest step, in the right shape.

    Raises:
        RuntimeError: If a weight is missing, unexpected or of another shape.
    """
    found = weight_faults(student.state_dict(), state_dict, newest_parameters(student))
    if found:
        raise RuntimeError(
            f'checkpoint {path}: its weights do not fit the model of this config ('
            f'{"; ".join(found)}); use the model config that trained it. What a step adds is left '
            f'out where its module defines newest_parameters and initialise_newest'
        )
