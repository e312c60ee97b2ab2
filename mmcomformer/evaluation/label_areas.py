"""Areas of the labels in two semantic maps: counted in one pass, summed over images, divided.

Letters in shapes: H W pixels, K classes of the dataset, c counted classes: K, or K + 1 where the
unlabelled pixels are a class of their own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..datasets.label_maps import IGNORE_LABEL

_VALUES = 256


def pair_counts(gt: Tensor, pred: Tensor) -> NDArray[np.int64]:
    """Count the pixels of each pair of values, on the device that holds the prediction.

    Args:
        gt: Ground truth, integers of shape (H, W) on any device.
        pred: Prediction, integers of the same shape.

    Returns:
        Counts, int64 of shape (256, 256): value in the ground truth, value in the prediction.

    Raises:
        ValueError: If a value is not in 0..255.

    Example:
        >>> counts = pair_counts(torch.tensor([[0, 0, 255]]), torch.tensor([[0, 1, 1]]))
        >>> int(counts[0, 0]), int(counts[0, 1]), int(counts[255, 1])
        (1, 1, 1)
    """
    pairs = _values(gt, 'the ground truth').to(pred.device, torch.int32, copy=True)
    pairs.mul_(_VALUES).add_(_values(pred, 'the prediction'))
    counts = torch.bincount(pairs.flatten(), minlength=_VALUES * _VALUES)
    return counts.view(_VALUES, _VALUES).cpu().numpy()


def _values(label_map: Tensor, name: str) -> Tensor:
    if label_map.dtype is torch.uint8 or not label_map.numel():
        return label_map
    if label_map.is_floating_point() or label_map.dtype is torch.bool:
        raise ValueError(f'{name} holds {label_map.dtype}; expected integer labels')
    low, high = torch.stack(torch.aminmax(label_map)).tolist()
    if low < 0 or high >= _VALUES:
        raise ValueError(
            f'{name} holds values from {low} to {high}; expected dataset labels, and '
            f'{IGNORE_LABEL} where no class is'
        )
    return label_map


def check_labels(counts: NDArray[np.int64], num_classes: int) -> None:
    """Check that both maps hold only labels of the dataset and 255.

    Args:
        counts: Pixels per pair of values (see :func:`pair_counts`).
        num_classes: Number of dataset classes K.

    Raises:
        ValueError: If another value occurs.
    """
    for axis, name in ((1, 'the ground truth'), (0, 'the prediction')):
        outside = counts.sum(axis=axis)[num_classes:IGNORE_LABEL]
        if outside.any():
            values = (num_classes + np.flatnonzero(outside)).tolist()
            raise ValueError(
                f'{name} holds the values {values[:5]}; expected dataset labels 0 to '
                f'{num_classes - 1}, or {IGNORE_LABEL} where no class is'
            )


def to_rows(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the pairs of values that occur as rows (gt, pred, pixels), int64 of shape (p, 3).

    Args:
        counts: Pixels per pair of values (see :func:`pair_counts`).

    Example:
        >>> to_rows(np.array([[0, 7], [2, 0]])).tolist()
        [[0, 1, 7], [1, 0, 2]]
    """
    gt, pred = np.nonzero(counts)
    return np.stack([gt, pred, counts[gt, pred]], axis=1).astype(np.int64)


def from_rows(rows: Iterable[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Sum the rows of many images (see :func:`to_rows`) to counts, int64 of shape (256, 256)."""
    table = np.concatenate([np.zeros((0, 3), dtype=np.int64), *rows])
    counts = np.zeros((_VALUES, _VALUES), dtype=np.int64)
    np.add.at(counts, (table[:, 0], table[:, 1]), table[:, 2])
    return counts


def class_counts(
    counts: NDArray[np.int64], num_classes: int, *, unlabelled: int | None = None
) -> NDArray[np.int64]:
    """Return the pixels of each pair of classes.

    Args:
        counts: Pixels per pair of values (see :func:`pair_counts`); it is not changed.
        num_classes: Number of dataset classes K.
        unlabelled: Class that 255 stands for in both maps, if it is one of the dataset's.

    Returns:
        int64 of shape (K + 1, K + 1), class in the ground truth, class in the prediction; the last
        one is no class.
    """
    values = [*range(num_classes), IGNORE_LABEL]
    table = counts[np.ix_(values, values)]
    if unlabelled is not None and unlabelled < num_classes:
        table[unlabelled] += table[num_classes]
        table[:, unlabelled] += table[:, num_classes]
        table[num_classes] = table[:, num_classes] = 0
    return table


@dataclass(frozen=True)
class LabelAreas:
    """Areas in pixels per class, each int64 of shape (c,); those of several images are added.

    Args:
        intersection: Pixels of the class that are predicted as the class.
        pred: Pixels that are predicted as the class, where the ground truth is not ignored.
        gt: Pixels of the class.
    """

    intersection: NDArray[np.int64]
    pred: NDArray[np.int64]
    gt: NDArray[np.int64]

    @classmethod
    def from_counts(
        cls,
        counts: NDArray[np.int64],
        num_classes: int,
        *,
        unlabelled: int | None = None,
        ignored: Collection[int] = (),
    ) -> LabelAreas:
        """Read the areas off the pairs of values of an image.

        Args:
            counts: Pixels per pair of values (see :func:`pair_counts`); it is not changed.
            num_classes: Number of dataset classes K.
            unlabelled: Class that 255 stands for in both maps: a dataset label, or K for a class
                of its own. None: 255 in the ground truth is ignored, 255 in the prediction is no
                class.
            ignored: Dataset labels whose pixels in the ground truth are ignored too.
        """
        table = class_counts(counts, num_classes, unlabelled=unlabelled)
        if unlabelled is None:
            table[num_classes] = 0
        table[sorted(ignored)] = 0
        size = num_classes + (unlabelled == num_classes)
        areas = (np.diagonal(table), table.sum(axis=0), table.sum(axis=1))
        return cls(*(area[:size].copy() for area in areas))

    def quality(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return IoU and accuracy per class, fractions in [0, 1], each float64 of shape (c,).

        The IoU is NaN where a class neither occurs nor is predicted, the accuracy where it does
        not occur.

        Example:
            >>> areas = LabelAreas(np.array([2, 0, 0]), np.array([3, 1, 0]), np.array([4, 0, 0]))
            >>> [values.tolist() for values in areas.quality()]
            [[0.4, 0.0, nan], [0.5, nan, nan]]
        """
        union = self.pred + self.gt - self.intersection
        return _divide(self.intersection, union), _divide(self.intersection, self.gt)


def _divide(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    return part / np.where(whole > 0, whole.astype(np.float64), np.nan)
