"""A linear classifier that grows by one layer per step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .growing import StepwiseModule


class IncrementalClassifier(StepwiseModule):
    """Classify queries with one linear layer per step, and one for no-object.

    The logits are ``[step 0, step 1, ..., step t, no-object]``. The layers of earlier steps keep
    their parameter names, so that a step t-1 checkpoint lacks nothing but the newest layer.

    Args:
        in_channels: Width C of a query.
        increments: Classes that each step up to the current one adds.
        no_object: Whether there is a no-object.
        new_from_no_object: Whether new classes start from the weights of no-object, see
            :meth:`initialise_newest`.
    """

    def __init__(
        self,
        in_channels: int,
        increments: Sequence[int],
        no_object: bool = True,
        new_from_no_object: bool = False,
    ) -> None:
        super().__init__(nn.Linear(in_channels, count) for count in increments)
        self.increments = tuple(increments)
        self.no_object = nn.Linear(in_channels, 1) if no_object else None
        self.new_from_no_object = new_from_no_object

    def initialise_newest(self) -> None:
        """Leave the new classes as they were constructed, or divide no-object among them (MiB).

        To the model of the step before the n new classes are no-object. Where they start from it,
        they and no-object get its weights, and its bias minus ``log(n + 1)``: the softmax gives
        each of them an equal share of what it gave no-object, and the old classes what it gave
        them (MiB, section 3.3).
        """
        if not self.new_from_no_object or self.no_object is None:
            return
        newest: Any = self.steps[-1]
        none: Any = self.no_object
        with torch.no_grad():
            none.bias -= math.log(newest.out_features + 1)
            newest.weight.copy_(none.weight.expand_as(newest.weight))
            newest.bias.copy_(none.bias.expand_as(newest.bias))

    def forward(self, query: Tensor) -> Tensor:
        """Return class logits.

        Args:
            query: Shape (..., C), float.

        Returns:
            Shape (..., K + 1), K the number of seen classes, no-object last; (..., K) without it.
        """
        layers = [*self.steps, *filter(None, [self.no_object])]
        weight = torch.cat([layer.weight for layer in layers])
        bias = torch.cat([layer.bias for layer in layers])
        return functional.linear(query, weight, bias)

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        """Refuse a checkpoint of another step or scenario, which a non-strict load would hide.

        Raises:
            RuntimeError: If the checkpoint's increments are not this classifier's.
        """
        found = classifier_increments(state_dict, prefix)
        if found and found != self.increments:
            raise RuntimeError(
                f'the checkpoint is of step {len(found) - 1} (increments {list(found)}), but the '
                f'model was built for step {len(self.increments) - 1} (increments '
                f'{list(self.increments)}); set STEP={len(found) - 1} (or pass --step) if the '
                f'scenario is right, or load another checkpoint'
            )
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def classifier_increments(state_dict: Mapping[str, Any], prefix: str) -> tuple[int, ...]:
    """Read from a state dict how many classes each step added.

    Args:
        state_dict: Parameters by name.
        prefix: What precedes ``steps.0.weight``, such as ``panoptic_head.cls_embed.``.

    Returns:
        One count per step; empty if there is no incremental classifier under the prefix.
    """
    counts: list[int] = []
    while (key := f'{prefix}steps.{len(counts)}.weight') in state_dict:
        counts.append(int(state_dict[key].shape[0]))
    return tuple(counts)
