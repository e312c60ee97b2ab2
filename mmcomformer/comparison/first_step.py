"""Whether two methods train the same model at step 0, where nothing can be forgotten."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from mmengine.registry import DefaultScope

from ..engine.hooks import SummaryHook
from ..engine.hooks.previous_step_hook import find_hooks
from ..engine.settings import settings_of
from ..registry import HOOKS, MODELS
from ..tasks import task_of


def first_step_settings(cfg: Config) -> dict[str, Any]:
    """Return what the result of step 0 depends on, but for the seed.

    Left out is what does nothing at step 0: hooks that start from the step before or say themselves
    that they are for later steps (``later_steps_only``), losses that need a teacher, frozen parts
    of later steps, how classes of later steps start, a memory, which is empty, and what tells a
    class loss from the one that it is as long as there are no old classes (its
    ``at_first_step``).

    Args:
        cfg: The config of step 0, after :func:`~mmcomformer.engine.launch.prepare_device`.
    """
    cfg = copy.deepcopy(cfg)
    inert = find_hooks(cfg)
    cfg.custom_hooks = [
        hook
        for hook in cfg.get('custom_hooks') or ()
        if hook not in inert and not _is_silent(hook['type'])
    ]
    settings = settings_of(cfg)
    settings.pop('randomness')
    settings['train_dataloader'] = _without_memory(settings['train_dataloader'])
    model = settings['model']
    losses = model.get('extra_losses') or {}
    model['extra_losses'] = {
        name: loss for name, loss in losses.items() if loss and not _needs_teacher(loss)
    }
    if (model.get('freeze') or {}).get('from_step', 1) > 0:
        model.pop('freeze', None)
    head = task_of(cfg.model).head
    model[head].pop('new_from_no_object', None)
    loss = cfg.model[head].get('loss_cls')
    if loss is not None:
        with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
            model[head]['loss_cls'] = _class_loss(loss)
    return settings


def _is_silent(kind: Any) -> bool:
    """Return whether hooks of a type leave what step 0 trains alone."""
    found = HOOKS.get(kind) if isinstance(kind, str) else kind
    return found is SummaryHook or getattr(found, 'later_steps_only', False)


def _without_memory(node: Any) -> Any:
    if isinstance(node, list):
        return [_without_memory(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {key: _without_memory(item) for key, item in node.items() if key != 'memory'}


def _needs_teacher(loss: Mapping[str, Any]) -> bool:
    return bool(getattr(MODELS.get(loss['type']), 'needs_teacher', False))


def _class_loss(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a class loss, with its defaults, as it is at step 0."""
    loss = MODELS.build(dict(settings))
    loss = loss.at_first_step() if hasattr(loss, 'at_first_step') else loss
    numbers = {
        key: value for key, value in vars(loss).items() if isinstance(value, (int, float, str))
    }
    numbers.pop('training', None)
    return {'type': type(loss).__name__, **numbers}
