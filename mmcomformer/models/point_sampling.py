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


def sample_each(maps: Tensor, points: Tensor) -> Tensor:
    """Sample each map at its own points.

    Args:
        maps: Shape (M, h, w), float.
        points: Shape (M, P, 2), as in :func:`sample_shared`.

    Returns:
        Shape (M, P).
    """
    return sample_shared(maps.unsqueeze(1), points).squeeze(1)


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
    num_uncertain = int(importance_ratio * num_points)
    candidates = random_points(num_maps, int(num_points * oversample_ratio), like=maps)
    order = uncertainty(sample_each(maps, candidates)).topk(num_uncertain, dim=1).indices
    chosen = candidates.gather(1, order.unsqueeze(-1).expand(-1, -1, 2))
    return torch.cat([chosen, random_points(num_maps, num_points - num_uncertain, like=maps)], 1)


def random_points(num_maps: int, num_points: int, *, like: Tensor) -> Tensor:
    """Draw uniform points of shape (num_maps, num_points, 2) on the device of ``like``."""
    return torch.rand(num_maps, num_points, 2, device=like.device)
