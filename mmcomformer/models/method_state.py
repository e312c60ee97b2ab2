"""What a method remembers besides weights: counts of classes, a bank of queries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from .query_output import QueryOutput
from .targets import ImageTargets

State = Mapping[str, Tensor]


@runtime_checkable
class Stateful(Protocol):
    """A module of a model with a state that each process changes on its own.

    Before a checkpoint is written the states of all processes are merged, and every process gets
    the result; so a run that resumes is the one that was not interrupted. A state holds tensors
    alone.
    """

    def method_state(self) -> State:
        """Return the state of this process: what it was given last, and what came since."""

    def merge_states(self, states: Sequence[State]) -> State:
        """Return one state out of those of all processes, in the order of their ranks."""

    def load_method_state(self, state: State) -> None:
        """Take over a merged state, of the same step or, at the start of a step, of step t-1."""


@runtime_checkable
class DataObserver(Stateful, Protocol):
    """A stateful module that sees the images of a step once before it is trained."""

    def observe(self, targets: Sequence[ImageTargets], teacher: QueryOutput | None) -> None:
        """Look at a batch.

        Args:
            targets: The targets of each image, pseudo-labels included.
            teacher: The last level of the teacher's output; None if there is no teacher.
        """


def stateful_modules(model: nn.Module) -> Iterator[tuple[str, Stateful]]:
    """Yield the name and each stateful module of a model."""
    for name, module in model.named_modules():
        if isinstance(module, Stateful):
            yield name, module


def load_states(model: nn.Module, states: Mapping[str, State], source: str) -> None:
    """Give each stateful module its state.

    Args:
        model: The model.
        states: State of each module by its name.
        source: Where they come from, for messages.

    Raises:
        RuntimeError: If a module has none, there is one of a module that does not exist, or a
            module refuses its own.
    """
    modules = dict(stateful_modules(model))
    if set(modules) != set(states):
        raise RuntimeError(
            f'{source}: it has the method state of {sorted(states)}, but the model of this config '
            f'keeps one of {sorted(modules)}; use the checkpoint of the same method'
        )
    for name, module in modules.items():
        try:
            module.load_method_state(states[name])
        except RuntimeError as error:
            raise RuntimeError(f'{source}: {error}') from error
