"""Training on CUDA whose bits do not depend on the order in which threads add."""

from __future__ import annotations

import importlib
import os
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def enable_determinism() -> None:
    """Replace operators that have no deterministic form on CUDA, in this process.

    ``torch.use_deterministic_algorithms`` refuses the gradient of ``grid_sample``, with which masks
    are sampled at points and deformable attention reads its maps, and does not know that mmcv's
    compiled attention adds in no fixed order. Call it before anything is computed on CUDA.
    """
    # read when the first handle of cuBLAS is made
    os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
    attention: Any = importlib.import_module('mmcv.ops.multi_scale_deform_attn')
    attention.IS_CUDA_AVAILABLE = False
    functional.grid_sample = _grid_sample


_torch_grid_sample = functional.grid_sample


def _grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: str = 'bilinear',
    padding_mode: str = 'zeros',
    align_corners: bool | None = None,
) -> Tensor:
    """Do what torch's function does, on CUDA in a form with a deterministic gradient."""
    if (
        input.is_cuda
        and torch.are_deterministic_algorithms_enabled()
        and has_gathered_form(input, mode, padding_mode, align_corners)
    ):
        return gathered_grid_sample(input, grid)
    return _torch_grid_sample(input, grid, mode, padding_mode, align_corners)


def has_gathered_form(
    maps: Tensor, mode: str, padding_mode: str, align_corners: bool | None
) -> bool:
    """Return whether :func:`gathered_grid_sample` does what ``grid_sample`` is asked for."""
    default = mode == 'bilinear' and padding_mode == 'zeros' and not align_corners
    return default and maps.ndim == 4


def gathered_grid_sample(maps: Tensor, grid: Tensor) -> Tensor:
    """Sample maps at points, as ``grid_sample`` does by default, by mmcv's gather of four pixels.

    The gradient of a gather has a deterministic form on CUDA.

    Args:
        maps: Shape (B, C, h, w), float.
        grid: Shape (B, H, W, 2), xy, float; -1 and 1 are the outer edges of the maps, outside is
            zero.

    Returns:
        Shape (B, C, H, W), of the dtype that both are promoted to.
    """
    from mmcv.ops.point_sample import bilinear_grid_sample

    dtype = torch.promote_types(maps.dtype, grid.dtype)
    # half precision does not count the pixels of a row
    grid = grid.to(torch.promote_types(grid.dtype, torch.float32))
    return bilinear_grid_sample(maps, grid).to(dtype)
