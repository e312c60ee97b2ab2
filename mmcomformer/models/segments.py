"""Which query owns which pixel: the rule behind pseudo-labels and inference."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor
from torch.nn import functional

from .mask_activation import MaskActivation
from .targets import to_device


@dataclass(frozen=True)
class MaskLogits:
    """Mask probabilities that are computed from logits block by block, where they are used.

    No map of all queries is made at full size: a photograph of 12 megapixels would take 5 GB for
    each with 100 queries, and on a CPU the way through memory would take longer than what is
    computed.

    Attributes:
        logits: Shape (Q, h, w).
        activation: Turns logits into probabilities, each pixel for itself.
        size: Height and width (H, W) to which the logits are resized before, pixels.
    """

    logits: Tensor
    activation: MaskActivation
    size: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Queries, height and width (Q, H, W)."""
        return (self.logits.shape[0], *self.size)

    def blocks(self) -> Iterator[Tensor]:
        """Yield probabilities of consecutive pixels, each (Q, P), P pixels of one or many rows."""
        logits = self.logits.float()
        height, width = self.size
        low, high, weight = _source_rows(logits.shape[1], height)
        on_device = [to_device(part, logits.device) for part in (low, high, weight)]
        num_rows = max(1, _pixels_of_block(logits.device) // width)
        for start in range(0, height, num_rows):
            rows = slice(start, start + num_rows)
            first, end = int(low[start]), int(high[rows][-1]) + 1
            # (Q, r, w) -> (Q, r, W): columns first, of the few source rows of this block
            columns = functional.interpolate(
                logits[None, :, first:end],
                (end - first, width),
                mode='bilinear',
                align_corners=False,
            )[0]
            above, below, share = (part[rows] for part in on_device)
            # (Q, r, W) -> (Q, R, W)
            band = torch.lerp(columns[:, above - first], columns[:, below - first], share[:, None])
            yield self.activation.probability(band).flatten(1)


Masks = Tensor | MaskLogits
"""Mask probabilities at full size: a tensor (Q, H, W) in [0, 1], or logits that give them."""


def _pixels_of_block(device: torch.device) -> int:
    """Return how many pixels to look at together.

    With 100 queries a map of a block takes 3 MB on a CPU, in whose cache it stays, and 105 MB
    elsewhere, where few large operations are faster.
    """
    return 2**13 if device.type == 'cpu' else 2**18


def _source_rows(source: int, height: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the two source rows of each row, (H,) int64, and the weight of the second, (H,).

    As torch resizes without aligned corners: the outer edges of both maps meet.
    """
    position = (torch.arange(height, dtype=torch.float64) + 0.5) * (source / height) - 0.5
    position = position.clamp(0, source - 1)
    low = position.long()
    return low, (low + 1).clamp(max=source - 1), (position - low).float()


def blocks_of(masks: Masks) -> Iterator[Tensor]:
    """Yield masks of consecutive pixels, each (Q, P)."""
    if isinstance(masks, MaskLogits):
        return masks.blocks()
    return iter(masks.flatten(1).split(_pixels_of_block(masks.device), dim=1))


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

    def segments(self, kept: Tensor, iou_thr: float) -> Tensor:
        """Return which queries make a segment at inference, shape (Q,), bool.

        Args:
            kept: Queries that took part, shape (Q,), bool.
            iou_thr: Smallest share of a mask's own pixels that its query has to own.
        """
        # the mask of a query that other queries cover is smaller than it says: not a segment
        enough = share_above(self.area, self.original, iou_thr) >= 0
        return kept & (self.original > 0) & (self.covered > 0) & enough

    def restrict(self, valid: Tensor) -> Tensor:
        """Return the owner of each pixel, (H, W), -1 unless it is strong there and valid (Q,)."""
        is_valid = valid[self.owner.clamp(min=0)]
        return self.owner.masked_fill(~(self.strong & is_valid), -1)


def share_above(part: Tensor, whole: Tensor, share: float) -> Tensor:
    """Compare parts of counts with a share of them, exactly and without float64, which MPS lacks.

    Args:
        part: Counts, int64.
        whole: Counts of the same shape, int64.
        share: In [0, 1]; a decimal such as 0.8 is taken for 4 / 5.

    Returns:
        Of the shape of the counts, int64: above 0 where ``part / whole`` is more than the share, 0
        where it is equal.
    """
    fraction = Fraction(share).limit_denominator(10**6)
    return part * fraction.denominator - whole * fraction.numerator


def assign_pixels(
    scores: Tensor,
    kept: Tensor,
    masks: Masks,
    excluded: Tensor | Callable[[Tensor], Tensor] | None = None,
) -> PixelOwners:
    """Give each pixel to the kept query with the largest score x mask.

    Block by block, so that memory does not grow with the image times the queries. No loop over
    pixels or queries, and no value is read back to the host.

    Args:
        scores: Shape (Q,), in [0, 1].
        kept: Queries that take part, shape (Q,), bool.
        masks: Mask probabilities of size (Q, H, W).
        excluded: Pixels that nobody may own, shape (H, W), bool; or what returns those that their
            owner, a query or -1, (H, W) int64, may not own.
    """
    num_queries, *size = masks.shape
    found = [_owners(scores, kept, block) for block in blocks_of(masks)]
    owner, strong = (torch.cat(parts).view(size) for parts in list(zip(*found, strict=True))[:2])
    original = torch.stack([reached for _, _, reached in found]).sum(0)
    if callable(excluded):
        excluded = excluded(owner)
    if excluded is not None:
        owner, strong = owner.masked_fill(excluded, -1), strong & ~excluded
    counts = scores.new_zeros(2, num_queries + 1, dtype=torch.long)
    index = owner.flatten() + 1
    counts[0].scatter_add_(0, index, torch.ones_like(index))
    counts[1].scatter_add_(0, index, strong.flatten().long())
    return PixelOwners(owner, strong, counts[0, 1:], original, counts[1, 1:])


def _owners(scores: Tensor, kept: Tensor, masks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Find the owners of a block of pixels.

    Args:
        scores: Shape (Q,).
        kept: Shape (Q,), bool.
        masks: Shape (Q, P).

    Returns:
        Owner of each pixel, or -1, shape (P,), int64; whether its mask reaches 0.5 there, shape
        (P,), bool; and the pixels that each kept mask reaches, shape (Q,), int64.
    """
    best, owner = (scores[:, None] * masks).masked_fill(~kept[:, None], -1).max(0)
    owned = best >= 0
    strong = masks.gather(0, owner[None])[0] >= 0.5
    return owner.masked_fill(~owned, -1), strong & owned, (masks >= 0.5).sum(1) * kept
