"""Distillation of features, pooled along rows and columns of windows of several sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...models.query_output import QueryOutput
from ...registry import MODELS


def pooled_windows(feature: Tensor, scales: Sequence[int]) -> Tensor:
    """Return the row and column means of all windows of a map.

    PLOP, "Multi-scale local distillation".

    For each scale s the map is cut into s x s windows of ``h // s`` by ``w // s`` cells; what is
    left at the end of an axis is in no window. A map with fewer than s rows or columns has no
    window of that scale.

    Note:
        The released program takes ``w // s`` for both sides: the same for square maps, but rows
        are left out where h > w, and windows are empty and the loss is NaN where h < w.

    Args:
        feature: Shape (B, C, h, w).
        scales: Numbers of windows along an axis.

    Returns:
        Shape (B, D).
    """
    height, width = feature.shape[-2:]
    pooled = []
    for scale in scales:
        rows, columns = height // scale, width // scale
        if rows and columns:
            cut = feature[..., : rows * scale, : columns * scale]
            # (B, C, s * rows, s * columns) -> (B, C, s, rows, s, columns)
            windows = cut.unflatten(-1, (scale, columns)).unflatten(-3, (scale, rows))
            pooled += [windows.mean(-1).flatten(1), windows.mean(-3).flatten(1)]
    return torch.cat(pooled, 1) if pooled else feature.new_zeros(feature.shape[0], 0)


def pod_loss(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    *,
    scales: Sequence[int] = (1, 2, 4),
    normalize: bool = False,
) -> Tensor:
    """Return the distance of pooled features, averaged over images and layers.

    Args:
        student: Features of each layer, (B, C_i, h_i, w_i).
        teacher: The same of the teacher.
        scales: See :func:`pooled_windows`.
        normalize: Whether to scale the pooled features of each image and layer to length 1 first.

    Returns:
        A scalar.

    Raises:
        ValueError: If the layers do not fit.
    """
    sizes = [[tuple(feature.shape) for feature in features] for features in (student, teacher)]
    if sizes[0] != sizes[1] or not student:
        raise ValueError(
            f'expected features of the same layers and sizes, got {sizes[1]} of the teacher for '
            f'{sizes[0]} of the student'
        )
    distances = []
    for ours, theirs in zip(student, teacher, strict=True):
        pair = [pooled_windows(feature, scales) for feature in (ours, theirs)]
        if normalize:
            pair = [functional.normalize(pooled, dim=1) for pooled in pair]
        distances.append((pair[0] - pair[1]).norm(dim=1).mean())
    return torch.stack(distances).mean()


@MODELS.register_module()
class PodLoss(nn.Module):
    """Keep the pooled features of backbone and pixel decoder where the teacher has them (PLOP).

    Args:
        scales: See :func:`pooled_windows`.
        normalize: See :func:`pod_loss`.
        loss_weight: Factor of the loss; the released program's 0.001 sqrt(new / seen classes) is
            for the config to compute.
        mask_features: Whether the pixel decoder's mask features are one more layer of those that
            the loss is averaged over, as in the paper and in the released program.

    Raises:
        ValueError: If a scale is below 1, or there is none.
    """

    needs_teacher: ClassVar[bool] = True

    def __init__(
        self,
        scales: Sequence[int] = (1, 2, 4),
        normalize: bool = False,
        loss_weight: float = 0.001,
        mask_features: bool = True,
    ) -> None:
        super().__init__()
        if not scales or min(scales) < 1:
            raise ValueError(f'PodLoss.scales: expected numbers from 1, got {list(scales)}')
        self.reads = frozenset({'feats', 'mask_features'} if mask_features else {'feats'})
        self.scales = tuple(scales)
        self.normalize = normalize
        self.loss_weight = loss_weight

    def forward(self, student: QueryOutput, teacher: QueryOutput, *_: Any) -> dict[str, Tensor]:
        """Return ``loss_feature``, a scalar, computed in float32; see :class:`.ContinualLoss`."""
        loss = pod_loss(
            self._layers(student),
            self._layers(teacher),
            scales=self.scales,
            normalize=self.normalize,
        )
        return {'loss_feature': self.loss_weight * loss}

    def _layers(self, output: QueryOutput) -> list[Tensor]:
        layers = [*(output.feats or ())]
        if 'mask_features' in self.reads:
            assert output.mask_features is not None, 'it was asked for'
            layers.append(output.mask_features)
        return [layer.float() for layer in layers]
