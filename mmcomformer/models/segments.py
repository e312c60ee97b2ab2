"""Which query owns which pixel: the rule behind pseudo-labels and inference."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# pixels of a block: 100 queries of it are 3 MB
_BLOCK = 8192
_PACKED = 1024


@dataclass(frozen=True)
class PixelOwners:
    """The outcome of :func:`assign_pixels`.

    Attributes:
        owner: Query with the largest score x mask, shape (H, W), int64; -1 where excluded or where
            no query is kept.
        strong: Whether the owner's own mask reaches 0.5 there, shape (H, W), bool.
        area: Pixels that each query owns, shape (Q,), int64.
        original: Pixels where each kept query's mask reaches 0.5, excluded ones included, shape
            (Q,), int64; 0 for the other queries.
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

    No loop over pixels or queries, and on an accelerator no value is read back to the host.

    Args:
        scores: Shape (Q,), in [0, 1].
        kept: Queries that take part, shape (Q,), bool.
        masks: Mask probabilities, shape (Q, H, W), in [0, 1].
        excluded: Pixels that nobody may own, shape (H, W), bool.
    """
    find = _owners_in_blocks if masks.device.type == 'cpu' else _owners_at_once
    owner, original = find(scores, kept, masks.flatten(1))
    owner = owner.view(masks.shape[1:])
    if excluded is not None:
        owner = owner.masked_fill(excluded, -1)
    own_mask = masks.gather(0, owner.clamp(min=0).unsqueeze(0)).squeeze(0)
    strong = (own_mask >= 0.5) & (owner >= 0)
    counts = scores.new_zeros(2, masks.shape[0] + 1, dtype=torch.long)
    index = owner.flatten() + 1
    counts[0].scatter_add_(0, index, torch.ones_like(index))
    counts[1].scatter_add_(0, index, strong.flatten().long())
    return PixelOwners(owner, strong, counts[0, 1:], original, counts[1, 1:])


def _owners_at_once(scores: Tensor, kept: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Return the owner of each pixel, or -1, and the pixels that each kept mask reaches.

    Args:
        scores: Shape (Q,).
        kept: Shape (Q,), bool.
        masks: Shape (Q, P).

    Returns:
        Shape (P,), int64, and shape (Q,), int64.
    """
    best, owner = (scores[:, None] * masks).masked_fill(~kept[:, None], -1).max(0)
    return owner.masked_fill(best < 0, -1), (masks >= 0.5).sum(1) * kept


def _owners_in_blocks(scores: Tensor, kept: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Do as :func:`_owners_at_once`, for a CPU: blocks of pixels that stay in its cache.

    Arguments and results are the same. torch's ``max`` with indices and its sum of booleans are
    slow on a CPU, so the index comes from a second maximum, over ranks of the queries that reach
    the first one, and the sum from :func:`_count_true`.
    """
    chosen = kept.nonzero().squeeze(1)
    owner = torch.full(masks.shape[1:], -1, dtype=torch.long)
    original = torch.zeros(masks.shape[0], dtype=torch.long)
    if len(chosen) == 0:
        return owner, original
    weight = scores[chosen, None]
    dtype = torch.uint8 if len(chosen) < 256 else torch.int32
    # the first of several equal queries has the highest rank
    rank = torch.arange(len(chosen), 0, -1, dtype=dtype)[:, None]
    for start in range(0, masks.shape[1], _BLOCK):
        block = masks[:, start : start + _BLOCK][chosen]
        original[chosen] += _count_true(block >= 0.5)
        strength = block.mul_(weight)
        reaches = (strength == strength.amax(0)).to(dtype)
        # NaN reaches nothing: rank 0 must not leave the table
        first = (reaches * rank).amax(0).clamp(min=1).long()
        owner[start : start + _BLOCK] = chosen[len(chosen) - first]
    return owner, original


def _count_true(flags: Tensor) -> Tensor:
    """Count the set flags of each row, shape (N, P), bool -> (N,), int64."""
    if flags.shape[1] % _PACKED or not flags.is_contiguous():
        return flags.sum(1)
    # eight flags to an integer; a byte holds the sum of 128 of them
    packed = flags.view(torch.int64).view(flags.shape[0], -1, _PACKED // 8).sum(2)
    return packed.view(torch.uint8).view(flags.shape[0], -1).sum(1)
