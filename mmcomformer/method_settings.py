"""What the backbone and the method of a config set in it, by the recipe that was chosen.

A base of a backbone or method names what it changes without knowing the task or the scenario::

    method = dict(
        key='{{fileBasenameNoExtension}}',
        head=dict(loss_cls=dict(type='UnbiasedClassLoss')),  # merged into the head of the task
        model=dict(extra_losses=dict(distill=None)),  # merged into the model
        config=dict(crop_size=(512, 512)),  # merged into the top level
        scaled_by_classes=['extra_losses.feature.loss_weight'],
        at_once=True,  # the steps of the scenario are one, as in joint training
        panoptic=dict(head=..., model=...),  # for this task alone; also semantic and instance
        released=dict(head=..., model=..., config=dict(schedule=dict(later_lr=5e-5))),
    )

What stands in ``released`` holds with ``recipe='released'`` only: the schedule and whatever else
the program of the method uses as it was released. With ``recipe='fair'`` the schedule, the batch
and the images are those of the base of the data, the same for every method.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, SupportsIndex

from .config_tree import look_up, mark, merged, put
from .scenario import parse_step
from .spelling import check_keys
from .tasks import TASKS, task_of

PARTS = ('backbone', 'method')
"""Bases that hold settings of the model and of its head, wherever that is."""
RECIPES = ('released', 'fair')
"""The first one is the default."""
_SETTINGS = ('head', 'model', 'config', 'scaled_by_classes')
_KEYS = ('key', 'at_once', *_SETTINGS, 'released', *TASKS)


def recipe_of(config: Mapping[str, Any]) -> str:
    """Return the recipe of a config: its ``recipe``, or what RECIPE in the environment says.

    Raises:
        ValueError: If there is no such recipe; the message lists those that exist.
    """
    chosen = config.get('recipe')
    source = 'RECIPE' if chosen is None else 'recipe'
    if chosen is None:
        chosen = os.environ.get('RECIPE', RECIPES[0])
    if chosen not in RECIPES:
        raise ValueError(f'{source}: expected {" or ".join(RECIPES)}, got {chosen!r}')
    return chosen


def check_parts(config: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    """Check that what is built into the model of a config is what the config still says.

    Raises:
        ValueError: If a method, its recipe or a backbone is another than the recorded one.
    """
    for part in PARTS:
        if part in record and record[part] != mark_of(config, part):
            variable = 'choose another with METHOD= or RECIPE=, and ' if part == 'method' else ''
            raise ValueError(
                f'{part}: it is built into the model of the config already; {variable}change '
                f'settings of it in model and custom_hooks'
            )


def mark_of(config: Mapping[str, Any], part: str) -> Any:
    """Return what stands for the settings of a part where two configs are compared."""
    what = [config.get(part), _own_settings(config, part)]
    if part == 'method' and recipe_of(config) != RECIPES[0]:
        what.append(recipe_of(config))
    return mark(what)


def part_settings(config: Mapping[str, Any], part: str) -> dict[str, Any]:
    """Return the settings of a backbone or method, as a config to merge.

    Raises:
        TypeError: If the part has keys that are not read.
        ValueError: If there is no such recipe, or the method is written for another task.
    """
    settings, task = _settings_of(config, part), task_of(config['model'])
    model = {**settings.get('model', {}), task.head: settings.get('head', {})}
    result: dict[str, Any] = {**settings.get('config', {}), 'model': model}
    if part == 'method' and config.get('custom_hooks'):
        for hook in config['custom_hooks']:
            if hook.get('type') == 'SummaryHook' and hook.get('task', task.name) != task.name:
                raise ValueError(
                    f'custom_hooks: this method is one of {hook["task"]} segmentation, and the '
                    f'model is one of {task.name} segmentation; choose another METHOD, or a config '
                    f'for {hook["task"]} segmentation'
                )
        result['custom_hooks'] = [
            {**hook, 'task': task.name} if hook.get('type') == 'SummaryHook' else hook
            for hook in config['custom_hooks']
        ]
    if part == 'method':
        for key, value in scaled_weights(config).items():
            put(result, key, value)
    return result


def scaled_weights(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the loss weights that depend on the numbers of new and seen classes."""
    method = _settings_of(config, 'method')
    step, increments = step_of(config)
    share = increments[step] / sum(increments[: step + 1])
    return {
        f'model.{key}': look_up(method['model'], key) * share**0.5
        for key in method.get('scaled_by_classes', [])
    }


def step_of(config: Mapping[str, Any]) -> tuple[int, list[int]]:
    """Return the step and the increments.

    A step beyond the last is taken for the last: the config that inherits may have more steps. Who
    uses the config checks its step.

    Raises:
        TypeError: If the increments are no list of numbers.
    """
    increments = config['scenario']['increments']
    if not isinstance(increments, (list, tuple)) or not increments or not _are_counts(increments):
        raise TypeError(
            f'scenario.increments: expected a list of class counts such as [100, 50], got '
            f'{increments!r}'
        )
    step = parse_step(config['scenario'].get('step', 0))
    return min(step, len(increments) - 1), list(increments)


def _are_counts(increments: Sequence[Any]) -> bool:
    # what a count may be, Scenario says; here it is only counted with
    return all(isinstance(count, SupportsIndex) and int(count) > 0 for count in increments)


def _settings_of(config: Mapping[str, Any], part: str) -> dict[str, Any]:
    """Return the settings of a backbone or method, with what the config says for that method."""
    settings, own = dict(config.get(part, {})), dict(_own_settings(config, part))
    check_keys(part, settings, _KEYS)
    check_keys(f'per_method.{settings.get("key")}', own, _KEYS)
    released = [settings.pop('released', {}), own.pop('released', {})]
    for name, node in (('released', released[0]), ('per_method: released', released[1])):
        check_keys(name, node, _SETTINGS)
    settings, own = (_for_task(config, node) for node in (settings, own))
    if part == 'method' and recipe_of(config) == 'released':
        return merged(settings, *filter(None, (own, *released)))
    return merged(settings, own) if own else settings


def _for_task(config: Mapping[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings with those for the task of the config merged into the others."""
    of_tasks = {name: settings.pop(name, {}) for name in TASKS}
    for name, node in of_tasks.items():
        check_keys(name, node, _SETTINGS)
    own = of_tasks[task_of(config['model']).name]
    return merged(settings, own) if own else settings


def _own_settings(config: Mapping[str, Any], part: str) -> dict[str, Any]:
    """Return what a config says for its method alone."""
    if part != 'method':
        return {}
    return config.get('per_method', {}).get(config.get('method', {}).get('key'), {})
