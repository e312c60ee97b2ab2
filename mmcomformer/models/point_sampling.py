"""Sampling of maps at random points, as PointRend and Mask2Former do it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from mmcv.ops import point_sample
from torch import Tensor
from torch.nn import functional


def sample_shared(maps: Tensor, points: Tensor) -> Tensor:
    """Sample every map of an image at the same points, bilinearly, zero outside the map.

    Args:
        maps: Shape (B, N, h, w), float.
        points: Shape (B, P, 2), xy in [0, 1], (0, 0) the outer corner of the first pixel.

    Returns:
        Shape (B, N, P), of the dtype of ``maps``.
    """
    points = points.to(maps.dtype)
    return (
        _sample_columns(maps, points)
        if _has_fast_columns(maps, points)
        else point_sample(maps, points)
    )


def _has_fast_columns(maps: Tensor, points: Tensor) -> bool:
    """Tell whether reading pixels pays: on a CPU, for maps with fewer pixels than points."""
    few_pixels = maps.shape[-2] * maps.shape[-1] < points.shape[1]
    several = maps.shape[0] > 0 and maps.shape[1] > 1
    return maps.device.type == 'cpu' and few_pixels and several and not maps.requires_grad


def _sample_columns(maps: Tensor, points: Tensor) -> Tensor:
    """Do as :func:`sample_shared`: a pixel of all maps of an image is read as one piece."""
    num_images, num_maps, height, width = maps.shape
    pixels, weights = zip(*corners(points, height, width), strict=True)
    # (B, N, h, w) -> (B * (h + 2) * (w + 2), N)
    columns = functional.pad(maps, (1, 1, 1, 1)).flatten(2).transpose(1, 2).reshape(-1, num_maps)
    first = torch.arange(num_images).view(-1, 1, 1) * (len(columns) // num_images)
    samples = functional.embedding_bag(
        (torch.stack(pixels, -1) + first).flatten(0, 1),
        columns,
        per_sample_weights=torch.stack(weights, -1).flatten(0, 1),
        mode='sum',
    )
    return samples.view(num_images, -1, num_maps).transpose(1, 2)


def sum_samples(maps: Tensor, points: Tensor, weights: Tensor) -> Tensor:
    """Sum weighted samples of every map at the same points, without taking the samples.

    A sample is a weighted sum of pixels. So the weights of the points are first spread over the
    pixels, and one product with the whole maps then reads each pixel once, in order.

    Args:
        maps: Shape (N, h, w), of the dtype of ``weights``.
        points: Shape (P, 2), as in :func:`sample_shared`.
        weights: One for each point in each of T sums, shape (T, P), float.

    Returns:
        ``weights @ samples.T`` with the samples (N, P) of :func:`sample_shared`, shape (T, N), up
        to rounding.
    """
    height, width = maps.shape[1:]
    pixels, shares = zip(*corners(points, height, width), strict=True)
    spread = weights.new_zeros(len(weights), (height + 2) * (width + 2))
    index = torch.cat(pixels).expand(len(weights), -1)
    spread.scatter_add_(1, index, (torch.stack(shares) * weights.unsqueeze(1)).flatten(1))
    inside = spread.view(-1, height + 2, width + 2)[:, 1:-1, 1:-1]
    return inside.flatten(1) @ maps.flatten(1).T


def corners(points: Tensor, height: int, width: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield, for each of the four pixels around each point, where it is and its bilinear weight.

    Args:
        points: Shape (..., P, 2), xy in [0, 1].
        height: Height of the map, pixels.
        width: Its width.

    Yields:
        Position in the flattened map with a border of one pixel around it, int64, so that pixels
        outside the map have one too; and weights; both of shape (..., P).
    """
    x, y = points[..., 0] * width + 0.5, points[..., 1] * height + 0.5
    left, top = x.floor(), y.floor()
    right_share, lower_share = x - left, y - top
    stride = width + 2
    first = top.long() * stride + left.long()
    for down, vertical in ((0, 1 - lower_share), (1, lower_share)):
        for across, horizontal in ((0, 1 - right_share), (1, right_share)):
            yield first + (down * stride + across), vertical * horizontal


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
    num_uncertain = int(importance_ratio * num_points)
    candidates = random_points(num_maps, int(num_points * oversample_ratio), like=maps)
    order = uncertainty(sample_each(maps, candidates)).topk(num_uncertain, dim=1).indices
    chosen = candidates.gather(1, order.unsqueeze(-1).expand(-1, -1, 2))
    return torch.cat([chosen, random_points(num_maps, num_points - num_uncertain, like=maps)], 1)


def random_points(num_maps: int, num_points: int, *, like: Tensor) -> Tensor:
    """Draw uniform points of shape (num_maps, num_points, 2) on the device of ``like``."""
    return torch.rand(num_maps, num_points, 2, device=like.device)
