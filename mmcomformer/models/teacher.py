"""The frozen model of the previous step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class TeacherOutput:
    """What the teacher says of a batch.

    Attributes:
        cls_score: Class logits of the last level in learning order, (B, Q, K_old + 1).
        mask_pred: Mask logits of the last level, (B, Q, h, w).
        feats: Multi-scale features of its backbone, each (B, C_i, h_i, w_i).
    """

    cls_score: Tensor
    mask_pred: Tensor
    feats: tuple[Tensor, ...]


class FrozenTeacher:
    """A model that answers without learning: in eval mode and without gradients, for ever.

    It is an ordinary object, not a module. So a model that refers to it neither saves, moves,
    trains, averages nor synchronises it.

    Args:
        model: A :class:`.ContinualModel`, of which ``extract_feat`` and ``mask_head`` are called.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model: Any = model.eval().requires_grad_(False)

    def __deepcopy__(self, memo: dict[int, Any]) -> FrozenTeacher:
        """Share the teacher between copies of a student."""
        return self

    @torch.no_grad()
    def __call__(self, batch_inputs: Tensor, batch_data_samples: Sequence[Any]) -> TeacherOutput:
        """Return the outputs for a preprocessed batch.

        Args:
            batch_inputs: Normalised and padded images, (B, 3, H, W).
            batch_data_samples: The samples of the batch.
        """
        feats = self.model.extract_feat(batch_inputs)
        cls_scores, mask_preds = self.model.mask_head(feats, batch_data_samples)
        return TeacherOutput(cls_scores[-1], mask_preds[-1], tuple(feats))
