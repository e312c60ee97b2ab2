"""Which query owns which pixel: the rule behind pseudo-labels and inference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from .mask_activation import MaskActivation

# pixels of a block: 100 queries of it are 3 MB
_BLOCK = 8192
# pixels of a row
_NARROW = 128


@dataclass(frozen=True)
class MaskLogits:
    """Mask probabilities that are computed from logits block by block, where they are used.

    On a CPU no map of all queries is made at full size: its way through memory takes longer than
    what is computed. The result has the same bits as resizing and activating whole maps.

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

    @property
    def device(self) -> torch.device:
        """Device of the logits."""
        return self.logits.device

    def blocks(self) -> Iterator[Tensor]:
        """Yield probabilities of consecutive pixels, each (Q, P), P pixels of one or many rows."""
        # torch has another kernel for small maps
        in_bands = self.logits.device.type == 'cpu' and self.size[1] > _NARROW
        resize = _resize_in_bands if in_bands else _resize
        for band in resize(self.logits.float(), self.size):
            yield self.activation.probability(band).flatten(1)


Masks = Tensor | MaskLogits
"""Mask probabilities at full size: a tensor (Q, H, W) in [0, 1], or logits that give them."""


def _resize(logits: Tensor, size: tuple[int, int]) -> Iterator[Tensor]:
    """Yield one band, the whole of the resized maps (Q, H, W)."""
    yield functional.interpolate(logits[None], size, mode='bilinear', align_corners=False)[0]


def _resize_in_bands(logits: Tensor, size: tuple[int, int]) -> Iterator[Tensor]:
    """Yield bands of rows (Q, R, W) of the resized maps.

    Columns are resized by torch. Rows are blended as torch's own kernel does it on a CPU: the
    source row in one rounding, and product and sum in another.
    """
    height, width = size
    num_rows = max(1, _BLOCK // width)
    if size == logits.shape[1:]:
        yield from logits.split(num_rows, dim=1)
        return
    low, high, weight = _source_rows(logits.shape[1], height)
    for start in range(0, height, num_rows):
        rows = slice(start, start + num_rows)
        first, last = int(low[start]), int(high[rows][-1])
        part = logits[None, :, first : last + 1]
        columns = functional.interpolate(
            part, (part.shape[2], width), mode='bilinear', align_corners=False
        )[0]
        of_high = weight[rows, None]
        band = columns[:, high[rows] - first].mul_(of_high)
        yield band.addcmul_(columns[:, low[rows] - first], 1 - of_high)


def _source_rows(source: int, height: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the two source rows of each row, (H,) int64, and the weight of the second, (H,)."""
    # torch divides in float32; then double precision rounds once, like a fused multiply-add
    scale = torch.tensor(source / height, dtype=torch.float32).double()
    position = ((torch.arange(height, dtype=torch.float64) + 0.5) * scale - 0.5).float()
    position = position.clamp(min=0)
    low = position.long().clamp(max=source - 1)
    return low, (low + 1).clamp(max=source - 1), (position - low).clamp(max=1)


def _blocks_of(masks: Masks) -> Iterator[Tensor]:
    """Yield masks of consecutive pixels, each (Q, P): on a CPU as many as stay in its cache."""
    if isinstance(masks, MaskLogits):
        yield from masks.blocks()
    elif masks.device.type == 'cpu':
        yield from masks.flatten(1).split(_BLOCK, dim=1)
    else:
        yield masks.flatten(1)


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
        ratio = self.area.double() / self.original.clamp(min=1)
        return kept & (self.original > 0) & (self.covered > 0) & (ratio >= iou_thr)

    def restrict(self, valid: Tensor) -> Tensor:
        """Return the owner of each pixel, (H, W), -1 unless it is strong there and valid (Q,)."""
        is_valid = valid[self.owner.clamp(min=0)]
        return self.owner.masked_fill(~(self.strong & is_valid), -1)


def assign_pixels(
    scores: Tensor, kept: Tensor, masks: Masks, excluded: Tensor | None = None
) -> PixelOwners:
    """Give each pixel to the kept query with the largest score x mask.

    No loop over pixels or queries, and on an accelerator no value is read back to the host.

    Args:
        scores: Shape (Q,), in [0, 1].
        kept: Queries that take part, shape (Q,), bool.
        masks: Mask probabilities of size (Q, H, W).
        excluded: Pixels that nobody may own, shape (H, W), bool.
    """
    num_queries, *size = masks.shape
    find = _owners_on_cpu if masks.device.type == 'cpu' else _owners
    found = [find(scores, kept, block) for block in _blocks_of(masks)]
    owner, strong = (torch.cat(parts).view(size) for parts in list(zip(*found, strict=True))[:2])
    original = torch.stack([reached for _, _, reached in found]).sum(0)
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


def _owners_on_cpu(scores: Tensor, kept: Tensor, masks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Do the same as :func:`_owners`, in the operations that torch vectorises on a CPU.

    Those are maxima without an index, and comparisons that give floats. So the index comes from a
    second maximum, over ranks of the queries that reach the first one.
    """
    original = torch.zeros(masks.shape[0], dtype=torch.long)
    chosen = kept.nonzero().squeeze(1)
    if len(chosen) == 0:
        nobody = torch.full(masks.shape[1:], -1)
        return nobody, nobody >= 0, original
    if len(chosen) < len(kept):
        masks = masks[chosen]
    strength = masks * scores[chosen, None]
    # the first of several equal queries has the highest rank
    rank = torch.arange(len(chosen), 0, -1, dtype=strength.dtype)[:, None]
    highest = strength.eq_(strength.amax(0)).mul_(rank).amax(0)
    # NaN equals nothing: rank 0 must not leave the table
    position = len(chosen) - highest.clamp_(min=1).long()
    reached = torch.ge(masks, 0.5, out=strength)
    original[chosen] = reached.sum(1).long()
    return chosen[position], reached.gather(0, position[None])[0] > 0, original
