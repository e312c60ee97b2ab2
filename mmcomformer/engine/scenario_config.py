"""Scenarios inside a config: found, compared, and set to a step."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from ..recipe import find_scenarios, stale_values
from ..scenario import Scenario
from ..tasks import task_of


def scenario_of(cfg: Config) -> Scenario:
    """Return the scenario of a config, after checking that all its copies agree.

    Raises:
        TypeError: If there is none, or it has unknown keys.
        ValueError: If a component has another scenario or step than the config's top level.
    """
    scenario = Scenario.from_config(cfg.get('scenario'))
    for key, found in find_scenarios(dict(cfg.items())):
        if Scenario.from_config(found) != scenario:
            raise ValueError(
                f'{key}: it differs from the top-level scenario of the config (step '
                f'{scenario.step}); {_advice(cfg)}'
            )
    return scenario


def _advice(cfg: Config) -> str:
    """Tell what to do about a copy of the scenario that differs."""
    if 'derived' not in cfg:
        return (
            'choose the step with --step or STEP=, and write scenario=_base_.scenario in every '
            'component'
        )
    return (
        'change the top-level scenario only, choose the step with --step or STEP=, and let a '
        'component have scenario=dict(); a config that inherits another scenario is completed by '
        'tools/train.py (mim train mmcomformer), and other programs run the complete config that '
        'it leaves in the folder of the step'
    )


_OF_LENGTH = ('param_scheduler.', 'train_cfg.val_interval')
"""What follows from the number of iterations, which another program's options may have set."""


def check_derived(cfg: Config) -> None:
    """Check that what follows from scenario and schedule was derived after their last change.

    In a program that is not ours it may not be. Where another number of iterations was set and the
    end of the schedule is the former one, a warning says so.

    Raises:
        TypeError: If the scenario or the schedule has unknown keys.
        ValueError: If something else does not follow, such as the number of iterations.
    """
    stale = stale_values(cfg.to_dict())
    if not stale:
        return
    message = (
        f'{", ".join(stale)}: not what follows from the scenario and the schedule of the config; '
        f'run it with tools/train.py (mim train mmcomformer), or run the complete config that it '
        f'leaves in the folder of the step'
    )
    if not all(key.startswith(_OF_LENGTH) for key in stale):
        raise ValueError(message)
    print_log(message, logger='current', level=logging.WARNING)


def model_at_step(model_cfg: Mapping[str, Any], step: int) -> dict[str, Any]:
    """Return a copy of a model config for another step, without pretrained weights to fetch."""
    copied: Any = copy.deepcopy(model_cfg)
    for _, scenario in find_scenarios(copied):
        scenario['step'] = step
    copied['backbone'].pop('init_cfg', None)
    # mmseg has a place of its own for them
    copied.pop('pretrained', None)
    return copied


def default_scope_of(cfg: Config) -> str:
    """Return the library whose registries a config looks into first: its own, or its task's.

    Raises:
        ValueError: If it names none and its model is of no task.
    """
    return cfg.get('default_scope') or task_of(cfg.get('model')).default_scope


def has_memory(loader: Any) -> bool:
    """Tell whether a dataset in the config of a loader has a memory of earlier steps."""
    if isinstance(loader, Mapping):
        return loader.get('memory') is not None or any(map(has_memory, loader.values()))
    return isinstance(loader, (list, tuple)) and any(map(has_memory, loader))


def check_options(options: Mapping[str, Any] | None) -> None:
    """Refuse ``--cfg-options`` that set the step, or one copy of the scenario.

    Raises:
        ValueError: If an option does.
    """
    for key in options or {}:
        parts = key.split('.')
        if parts[-1] == 'step' or 'scenario' in parts[1:]:
            raise ValueError(
                f'--cfg-options {key}: every component holds a copy of the scenario, so this '
                f'would change only one of them; choose the step with --step (or STEP=), and '
                f'change the top-level scenario, as in --cfg-options scenario.setting=disjoint'
            )
        if parts[0] == 'derived':
            raise ValueError(f'--cfg-options {key}: it is a record of what was derived')


def step_dir_of(cfg: Config, scenario: Scenario) -> Path:
    """Return the folder of the current step, which ends in ``step<t>``.

    Raises:
        ValueError: If the config's ``work_dir`` does not, so that steps would share a folder.
    """
    work_dir = Path(cfg.work_dir)
    if work_dir.name != f'step{scenario.step}':
        raise ValueError(
            f'work_dir: expected a folder named step{scenario.step}, since each step has its own, '
            f"got {str(work_dir)!r}; write work_dir = f'./work_dirs/{{{{fileBasenameNoExtension}}}}"
            f"/step{{_base_.step}}' in the config"
        )
    return work_dir
