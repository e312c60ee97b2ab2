"""Boxes of queries: proposals of the cells they come from, positions, and two losses."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...models.mask_losses import reduce_loss
from ...models.targets import ImageTargets
from ...registry import MODELS

_EPSILON = 1e-6


def cell_proposals(sizes: Sequence[tuple[int, int]]) -> tuple[Tensor, Tensor]:
    """Return the box that each cell of several maps proposes, row by row.

    The centre is the cell's, width and height are 0.05 * 2^j of the image for map j, so that the
    finest map, which comes last, has the largest boxes (as released). A cell with one of the four
    values outside (0.01, 0.99) proposes nothing.

    Args:
        sizes: Height and width of each map, coarsest first.

    Returns:
        Logits of centre x, centre y, width and height, (N, 4), float64, infinite where a cell
        proposes nothing; and whether it proposes one, (N,), bool.
    """
    boxes = []
    for index, (height, width) in enumerate(sizes):
        y, x = torch.meshgrid(
            (torch.arange(height, dtype=torch.float64) + 0.5) / height,
            (torch.arange(width, dtype=torch.float64) + 0.5) / width,
            indexing='ij',
        )
        side = torch.full_like(x, 0.05 * 2**index)
        boxes.append(torch.stack([x, y, side, side], -1).flatten(0, 1))
    box = torch.cat(boxes)
    valid = ((box > 0.01) & (box < 0.99)).all(-1)
    return torch.logit(box).masked_fill(~valid[:, None], torch.inf), valid


def inverse_sigmoid(box: Tensor) -> Tensor:
    """Return the logit of values in [0, 1], which and whose complements count as 1e-5 at least."""
    return (box.clamp(min=1e-5) / (1 - box).clamp(min=1e-5)).log()


def sine_of_boxes(box: Tensor, width: int) -> Tensor:
    """Return sines and cosines of boxes at many frequencies.

    Args:
        box: Centre x, centre y, width and height in [0, 1], shape (..., 4).
        width: Numbers for each coordinate, even.

    Returns:
        Shape (..., 4 * width): of centre y, centre x, width, height; sines at even places.
    """
    frequency = torch.arange(width, device=box.device).div(2, rounding_mode='floor') * 2 / width
    # (..., 4) -> (..., 4, width)
    angle = (box[..., [1, 0, 2, 3], None] * (2 * math.pi)) / 10000 ** frequency.to(box.dtype)
    return torch.stack([angle[..., ::2].sin(), angle[..., 1::2].cos()], -1).flatten(-3)


def target_boxes(target: ImageTargets) -> Tensor:
    """Return centre x, centre y, width and height of an image's targets, (N, 4), in [0, 1].

    They are shares of the padded image, as masks and predictions are.
    """
    height, width = target.masks.shape[-2:]
    x0, y0, x1, y1 = target.boxes.unbind(-1)
    centre = torch.stack([(x0 + x1) / (2 * width), (y0 + y1) / (2 * height)], -1)
    return torch.cat([centre, torch.stack([(x1 - x0) / width, (y1 - y0) / height], -1)], -1)


def generalized_iou(box: Tensor, other: Tensor) -> Tensor:
    """Return I / (U + 1e-6) - (H - U) / (H + 1e-6), with H the area around both boxes.

    Args:
        box: Centre x, centre y, width, height; shape (..., 4).
        other: The same, of a shape that broadcasts.
    """
    (low, high), (other_low, other_high) = (
        (part[..., :2] - part[..., 2:] / 2, part[..., :2] + part[..., 2:] / 2)
        for part in (box, other)
    )
    inner = (high.minimum(other_high) - low.maximum(other_low)).clamp(min=0).prod(-1)
    union = box[..., 2:].prod(-1) + other[..., 2:].prod(-1) - inner
    hull = (high.maximum(other_high) - low.minimum(other_low)).prod(-1)
    return inner / (union + _EPSILON) - (hull - union) / (hull + _EPSILON)


class _BoxLoss(nn.Module):
    """Base of the losses below.

    Args:
        loss_weight: Factor of the loss.
    """

    def __init__(self, loss_weight: float) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def per_box(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each box, shape (M,)."""
        raise TypeError(f'{type(self).__name__} is a base class; build one of its subclasses')

    def forward(
        self, pred: Tensor, target: Tensor, avg_factor: Tensor | float | None = None
    ) -> Tensor:
        """Return the scalar loss.

        Args:
            pred: Centre x, centre y, width and height of M boxes, (M, 4), in [0, 1].
            target: The same.
            avg_factor: What to divide the sum over boxes by; M if None.
        """
        return self.loss_weight * reduce_loss(self.per_box(pred, target), None, avg_factor)


@MODELS.register_module()
class BoxL1Loss(_BoxLoss):
    """Sum of the differences of centre, width and height."""

    def __init__(self, loss_weight: float = 5.0) -> None:
        super().__init__(loss_weight)

    def per_box(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each box, shape (M,)."""
        return (pred - target).abs().sum(-1)


@MODELS.register_module()
class BoxGIoULoss(_BoxLoss):
    """One minus :func:`generalized_iou`."""

    def __init__(self, loss_weight: float = 2.0) -> None:
        super().__init__(loss_weight)

    def per_box(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each box, shape (M,)."""
        return 1 - generalized_iou(pred, target)
