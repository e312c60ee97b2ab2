"""Modules that get new parameters at every step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn


@runtime_checkable
class Growing(Protocol):
    """A module of step t that has parameters which the module of step t-1 did not have.

    A module whose tensors change their shape with the steps also defines
    ``grow_state(state_dict, prefix)``, which replaces, in the weights of step t-1, its tensors by
    those of the present shape.
    """

    def newest_parameters(self, prefix: str) -> frozenset[str]:
        """Return the names, under ``prefix``, of parameters and buffers of the newest step."""

    def initialise_newest(self) -> None:
        """Set them, once the weights of step t-1 are loaded; not called when a step resumes."""


class StepwiseModule(nn.Module):
    """A module with one submodule per step, of which step t-1 lacks the newest.

    Args:
        steps: The submodules of the steps up to the current one.
    """

    def __init__(self, steps: Iterator[nn.Module]) -> None:
        super().__init__()
        self.steps = nn.ModuleList(steps)

    def newest_parameters(self, prefix: str) -> frozenset[str]:
        """Return the names, under ``prefix``, of what the newest step's submodule holds."""
        newest = len(self.steps) - 1
        names = self.steps[newest].state_dict()
        return frozenset(f'{prefix}steps.{newest}.{name}' for name in names)

    def initialise_newest(self) -> None:
        """Leave the newest submodule as it was constructed."""

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        """Refuse the weights of another step, which a load that is not strict would hide.

        Raises:
            RuntimeError: If they have more or fewer steps.
        """
        found = num_steps(state_dict, prefix)
        if found not in (0, len(self.steps)):
            raise RuntimeError(
                f'the checkpoint is of step {found - 1}, but the model was built for step '
                f'{len(self.steps) - 1}; set STEP={found - 1} (or pass --step), or load another '
                f'checkpoint'
            )
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def num_steps(state_dict: Mapping[str, Any], prefix: str) -> int:
    """Return how many steps a :class:`StepwiseModule` of a state dict has.

    Args:
        state_dict: Weights by name.
        prefix: What precedes ``steps.0``, such as ``panoptic_head.cls_embed.``.
    """
    start = f'{prefix}steps.'
    numbers = {name[len(start) :].split('.')[0] for name in state_dict if name.startswith(start)}
    return len({number for number in numbers if number.isdigit()})


def growing_modules(model: nn.Module) -> Iterator[tuple[str, Growing]]:
    """Yield each growing module of a model with the prefix of its parameters' names.

    Raises:
        TypeError: If a module has a part of the protocol only.
    """
    for name, module in model.named_modules():
        protocol = ('newest_parameters', 'initialise_newest')
        parts = [part for part in protocol if hasattr(module, part)]
        if len(parts) == 1:
            raise TypeError(
                f'{name} ({type(module).__name__}): it has {parts[0]} alone; a module that grows '
                f'defines newest_parameters(prefix) and initialise_newest()'
            )
        if isinstance(module, Growing):
            yield f'{name}.' if name else '', module


def newest_parameters(model: nn.Module) -> frozenset[str]:
    """Return the names of all parameters and buffers that the model's newest step added."""
    return frozenset().union(
        *(module.newest_parameters(prefix) for prefix, module in growing_modules(model))
    )


def grow_state(model: nn.Module, state_dict: MutableMapping[str, Tensor]) -> None:
    """Give tensors of step t-1 the shapes of step t, where a module defines how, in place."""
    for prefix, module in growing_modules(model):
        grow = getattr(module, 'grow_state', None)
        if grow is not None:
            grow(state_dict, prefix)


def load_previous_step(model: nn.Module, state_dict: Mapping[str, Tensor]) -> None:
    """Load the weights of step t-1 into a model of step t and initialise what is new.

    Args:
        model: The model of step t.
        state_dict: Weights of step t-1, after :func:`grow_state`.

    Raises:
        RuntimeError: If anything but the newest parameters is missing, or does not fit.
    """
    own = model.state_dict()
    newest = {name: own[name] for name in newest_parameters(model)}
    model.load_state_dict({**state_dict, **newest}, strict=True)
    for _, module in growing_modules(model):
        module.initialise_newest()
