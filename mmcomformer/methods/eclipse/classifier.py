"""The classifier: an MLP per step, and one for no-object that all steps share and train."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...models.growing import StepwiseModule


def mlp(in_channels: int, out_channels: int) -> nn.Sequential:
    """Return two hidden layers of the input's width with ReLU, and an output layer.

    The layers that have weights are 0, 2 and 4, as in mmdet's ``mask_embed``.
    """
    return nn.Sequential(
        nn.Linear(in_channels, in_channels),
        nn.ReLU(),
        nn.Linear(in_channels, in_channels),
        nn.ReLU(),
        nn.Linear(in_channels, out_channels),
    )


class PromptClassifier(StepwiseModule):
    """Classify queries with one MLP per step, and one for no-object.

    The logits are ``[step 0, step 1, ..., step t, no-object]``. The MLP of a later step starts as
    the one of no-object, whose output row each new class repeats.

    Args:
        in_channels: Width C of a query.
        increments: Classes that each step up to the current one adds.
    """

    def __init__(self, in_channels: int, increments: Sequence[int]) -> None:
        super().__init__(mlp(in_channels, count) for count in increments)
        self.increments = tuple(increments)
        self.no_object = mlp(in_channels, 1)

    def forward(self, query: Tensor) -> Tensor:
        """Return class logits.

        Args:
            query: Shape (..., C), float.

        Returns:
            Shape (..., K + 1), K the number of seen classes, no-object last.
        """
        return torch.cat([layer(query) for layer in (*self.steps, self.no_object)], -1)

    @torch.no_grad()
    def initialise_newest(self) -> None:
        """Start the newest MLP as the one of no-object."""
        newest, count = self.steps[len(self.steps) - 1], self.increments[-1]
        for own, source in zip(newest.parameters(), self.no_object.parameters(), strict=True):
            same = own.shape == source.shape
            own.copy_(source if same else source.expand(count, *source.shape[1:]))
