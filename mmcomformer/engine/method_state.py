"""The state of a method, gathered from all processes and kept in checkpoints."""

from __future__ import annotations

from typing import Any

from mmengine.dist import all_gather_object
from torch import Tensor, nn

from ..models.method_state import stateful_modules

STATE_KEY = 'method_state'
"""Its key in a checkpoint."""


def gather_states(model: nn.Module) -> dict[str, dict[str, Tensor]]:
    """Merge the states of all processes, give each process the result, and return it.

    All processes have to call it.

    Args:
        model: A model, unwrapped.

    Returns:
        The merged state of each stateful module by its name, on the CPU; empty without any.
    """
    merged: dict[str, dict[str, Tensor]] = {}
    for name, module in stateful_modules(model):
        own = {key: value.detach().cpu() for key, value in module.method_state().items()}
        states: list[Any] = all_gather_object(own)
        state = module.merge_states(states)
        module.load_method_state(state)
        merged[name] = dict(state)
    return merged
