"""Show the images of a step to the modules of a method before it is trained."""

from __future__ import annotations

import copy
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner

from ...models.method_state import DataObserver, stateful_modules
from ...random_state import kept_host_generators
from ...registry import HOOKS
from ..method_state import gather_states
from .previous_step_hook import unwrap_model


@HOOKS.register_module()
class DataPassHook(Hook):
    """Pass once over the training images of a step, in order, before its first iteration.

    Each module of the model that is a :class:`.DataObserver` sees every batch: its targets,
    completed by pseudo-labels, and the teacher's output. Images from memory are among them, and
    their targets say so. Afterwards the states of all processes
    are merged. A step that resumes has them in its checkpoint and is not passed over again. The
    random numbers of the training are those of a run without the pass.

    Args:
        from_step: The first step that is passed over.
    """

    # after the hooks that set the teacher
    priority = 'NORMAL'

    def __init__(self, from_step: int = 0) -> None:
        self.from_step = from_step

    def before_run(self, runner: Runner) -> None:
        """Check that somebody looks.

        Raises:
            TypeError: If no module of the model observes data.
        """
        modules = [module for _, module in stateful_modules(unwrap_model(runner.model))]
        if not any(isinstance(module, DataObserver) for module in modules):
            raise TypeError(
                'DataPassHook: no module of the model looks at the data; leave the hook out of '
                'custom_hooks, or define observe(targets, teacher) in a stateful module'
            )

    def before_train(self, runner: Runner) -> None:
        """Pass over the data, unless the step resumes."""
        student = unwrap_model(runner.model)
        if runner.iter > 0 or student.mask_head.scenario.step < self.from_step:
            return
        loader = _loader_in_order(runner)
        print_log(f'looking at {len(loader.dataset)} images first', logger='current')
        was_training = student.training
        student.eval()
        # neither augmentation nor anything else of the pass moves the training's generators
        with torch.no_grad(), kept_host_generators():
            for batch in loader:
                _show(student, student.data_preprocessor(batch, True))
        student.train(was_training)
        gather_states(student)


def _loader_in_order(runner: Runner) -> Any:
    """Return a loader of the training images, each once over all processes."""
    cfg = copy.deepcopy(runner.cfg.train_dataloader)
    cfg.pop('batch_sampler', None)
    cfg.sampler = dict(type='DefaultSampler', shuffle=False, round_up=False)
    cfg.persistent_workers = False
    cfg.dataset = runner.train_dataloader.dataset
    return Runner.build_dataloader(cfg, seed=runner.seed)


def _show(student: Any, batch: dict[str, Any]) -> None:
    targets, teacher = student.targets_and_teacher(batch['inputs'], batch['data_samples'])
    for _, module in stateful_modules(student):
        if isinstance(module, DataObserver):
            module.observe(targets, teacher)
