"""Which query owns which pixel: the rule behind pseudo-labels and inference."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class PixelOwners:
    """The outcome of :func:`assign_pixels`.

    Attributes:
        owner: Query with the largest score x mask, shape (H, W), int64; -1 where excluded or where
            no query is kept.
        strong: Whether the owner's own mask reaches 0.5 there, shape (H, W), bool.
        area: Pixels that each query owns, shape (Q,), int64.
        original: Pixels where each query's mask reaches 0.5, excluded ones included, shape (Q,).
        covered: Pixels that each query owns and where its mask reaches 0.5, shape (Q,), int64.
    """

    owner: Tensor
    strong: Tensor
    area: Tensor
    original: Tensor
    covered: Tensor

    def restrict(self, valid: Tensor) -> Tensor:
        """Return the owner of each pixel, (H, W), -1 unless it is strong there and valid (Q,)."""
        is_valid = valid[self.owner.clamp(min=0)]
        return self.owner.masked_fill(~(self.strong & is_valid), -1)


def score_queries(cls_score: Tensor, score_thr: float) -> tuple[Tensor, Tensor, Tensor]:
    """Find each query's class, and which queries count.

    Args:
        cls_score: Class logits, shape (Q, K + 1), no-object last.
        score_thr: A query is kept when its probability is larger than this.

    Returns:
        Scores (Q,) in [0, 1], classes (Q,) int64, and kept (Q,) bool: not no-object, and score
        above the threshold.
    """
    scores, classes = cls_score.float().softmax(-1).max(-1)
    return scores, classes, (classes != cls_score.shape[-1] - 1) & (scores > score_thr)


def assign_pixels(
    scores: Tensor, kept: Tensor, masks: Tensor, excluded: Tensor | None = None
) -> PixelOwners:
    """Give each pixel to the kept query with the largest score x mask.

    No loop, and no value is read back to the host.

    Args:
        scores: Shape (Q,), in [0, 1].
        kept: Queries that take part, shape (Q,), bool.
        masks: Mask probabilities, shape (Q, H, W), in [0, 1].
        excluded: Pixels that nobody may own, shape (H, W), bool.
    """
    num_queries = masks.shape[0]
    strength = (scores[:, None, None] * masks).masked_fill(~kept[:, None, None], -1)
    best, owner = strength.max(0)
    unowned = best < 0 if excluded is None else (best < 0) | excluded
    own_mask = masks.gather(0, owner.unsqueeze(0)).squeeze(0)
    owner = owner.masked_fill(unowned, -1)
    strong = (own_mask >= 0.5) & ~unowned
    counts = scores.new_zeros(2, num_queries + 1, dtype=torch.long)
    index = owner.flatten() + 1
    counts[0].scatter_add_(0, index, torch.ones_like(index))
    counts[1].scatter_add_(0, index, strong.flatten().long())
    original = (masks >= 0.5).flatten(1).sum(1)
    return PixelOwners(owner, strong, counts[0, 1:], original, counts[1, 1:])
