"""The frozen model of the previous step."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .query_output import QueryOutput


class FrozenTeacher:
    """A model that answers without learning: in eval mode and without gradients, for ever.

    It is an ordinary object, not a module. So a model that refers to it neither saves, moves,
    trains, averages nor synchronises it.

    Args:
        model: A :class:`.ContinualModel`, of which ``query_output`` is called.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model: Any = model.eval().requires_grad_(False)

    def __deepcopy__(self, memo: dict[int, Any]) -> FrozenTeacher:
        """Share the teacher between copies of a student."""
        return self

    @torch.no_grad()
    def __call__(
        self,
        batch_inputs: Tensor,
        batch_data_samples: Sequence[Any],
        wanted: Collection[str] = (),
    ) -> QueryOutput:
        """Return the output for a preprocessed batch.

        Args:
            batch_inputs: Normalised and padded images, (B, 3, H, W).
            batch_data_samples: The samples of the batch.
            wanted: Optional parts that somebody reads, see :meth:`.QueryOutput.only`.
        """
        return self.model.query_output(batch_inputs, batch_data_samples).only(wanted)
