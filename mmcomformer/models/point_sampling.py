"""Sampling of maps at random points, as PointRend and Mask2Former do it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from mmcv.ops import point_sample
from torch import Tensor


def sample_shared(maps: Tensor, points: Tensor) -> Tensor:
    """Sample every map of an image at the same points, bilinearly, zero outside the map.

    Args:
        maps: Shape (B, N, h, w), float.
        points: Shape (B, P, 2), xy in [0, 1], (0, 0) the outer corner of the first pixel.

    Returns:
        Shape (B, N, P), of the dtype of ``maps``.
    """
    return point_sample(maps, points.to(maps.dtype))


def corners(points: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return the four pixels around each point, and their bilinear weights.

    Args:
        points: Shape (P, 2), xy in [0, 1].
        height: Height of the map, pixels.
        width: Its width.

    Returns:
        Positions in the flattened map with a border of one pixel around it, int64, so that pixels
        outside the map have one too; and weights; both of shape (4, P).
    """
    # in the bordered map, the centre of whose first pixel is at 0
    x, y = points[:, 0] * width + 0.5, points[:, 1] * height + 0.5
    left, top = x.floor(), y.floor()
    right, lower = x - left, y - top
    stride = width + 2
    first = top.long() * stride + left.long()
    pixels = torch.stack([first, first + 1, first + stride, first + stride + 1])
    upper, left = 1 - lower, 1 - right
    return pixels, torch.stack([upper * left, upper * right, lower * left, lower * right])


def sample_each(maps: Tensor, points: Tensor) -> Tensor:
    """Sample each map at its own points.

    Args:
        maps: Shape (M, h, w), float.
        points: Shape (M, P, 2), as in :func:`sample_shared`.

    Returns:
        Shape (M, P).
    """
    return point_sample(maps.unsqueeze(1), points.to(maps.dtype)).squeeze(1)


@torch.no_grad()
def uncertain_points(
    maps: Tensor,
    uncertainty: Callable[[Tensor], Tensor],
    *,
    num_points: int,
    oversample_ratio: float,
    importance_ratio: float,
) -> Tensor:
    """Draw points, most of them where a map is uncertain (PointRend, section 3.3).

    The uncertainty is taken of the sampled values: sampling a map of uncertainties instead would
    differ at the border, where sampling pads with zeros.

    Args:
        maps: Shape (M, h, w), float.
        uncertainty: Elementwise; larger is less certain.
        num_points: Points P to draw for each map.
        oversample_ratio: Candidates per point.
        importance_ratio: Share in [0, 1] of the points that are the most uncertain candidates;
            the others are uniform.

    Returns:
        Shape (M, P, 2), xy in [0, 1].
    """
    num_maps = maps.shape[0]
    # int() as in PointRend: the share is rounded down
    num_uncertain = int(importance_ratio * num_points)
    candidates = random_points(num_maps, int(num_points * oversample_ratio), like=maps)
    # (M, P') -> (M, U), U the number of uncertain points
    order = uncertainty(sample_each(maps, candidates)).topk(num_uncertain, dim=1).indices
    chosen = candidates.gather(1, order.unsqueeze(-1).expand(-1, -1, 2))
    return torch.cat([chosen, random_points(num_maps, num_points - num_uncertain, like=maps)], 1)


def random_points(num_maps: int, num_points: int, *, like: Tensor) -> Tensor:
    """Draw uniform points of shape (num_maps, num_points, 2) on the device of ``like``."""
    return torch.rand(num_maps, num_points, 2, device=like.device)
