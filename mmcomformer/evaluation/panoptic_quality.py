"""Panoptic quality of one image, and its sum over images.

Pure NumPy. The definition is COCO's (Kirillov et al., "Panoptic Segmentation", CVPR 2019, and the
rules of the COCO panoptic task for VOID and crowd). Areas are pixel counts of the id maps.

Letters in shapes: H W pixels, n ground-truth segments, m values of the prediction's id map,
K classes of the dataset.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

VOID_LABEL = -1
"""Label of a value of the prediction's id map that is no segment."""

# pixels that are compared at once: what is written for them stays in a CPU's cache
_PIXELS = 2**17


@dataclass(frozen=True)
class PanopticStats:
    """What panoptic quality is made of, per class; statistics of several images are added.

    Args:
        iou_sum: Sum of the IoU of the matched pairs, float64 of shape (K,).
        tp: Number of matched pairs, int64 of shape (K,).
        fp: Number of predicted segments without a match, int64 of shape (K,).
        fn: Number of ground-truth segments without a match, int64 of shape (K,).
    """

    iou_sum: NDArray[np.float64]
    tp: NDArray[np.int64]
    fp: NDArray[np.int64]
    fn: NDArray[np.int64]

    def __add__(self, other: PanopticStats) -> PanopticStats:
        """Return the statistics of both sets of images together."""
        return PanopticStats(
            iou_sum=self.iou_sum + other.iou_sum,
            tp=self.tp + other.tp,
            fp=self.fp + other.fp,
            fn=self.fn + other.fn,
        )

    def to_rows(self) -> NDArray[np.float64]:
        """Return the classes that occur as rows (label, iou_sum, tp, fp, fn), float64 (k, 5)."""
        labels = np.flatnonzero(self.tp + self.fp + self.fn)
        columns = (labels, *(c[labels] for c in (self.iou_sum, self.tp, self.fp, self.fn)))
        return np.stack(columns, axis=1).astype(np.float64)

    @classmethod
    def from_rows(cls, rows: Iterable[NDArray[np.float64]], num_classes: int) -> PanopticStats:
        """Sum the rows of many images (see :meth:`to_rows`) in float64."""
        table = np.concatenate([np.zeros((0, 5)), *rows])
        labels = table[:, 0].astype(np.int64)
        iou_sum, *counts = (
            np.bincount(labels, weights=column, minlength=num_classes).astype(np.float64)
            for column in table.T[1:]
        )
        return cls(iou_sum, *(count.astype(np.int64) for count in counts))

    def quality(self) -> dict[str, NDArray[np.float64]]:
        """Return PQ, SQ and RQ per class, fractions in [0, 1], each float64 of shape (K,).

        NaN where a class neither occurs in the ground truth nor is predicted; SQ is 0 where
        nothing matched.

        Example:
            >>> stats = PanopticStats(
            ...     np.array([0.8, 0.0]), np.array([1, 0]), np.array([1, 0]), np.array([0, 0])
            ... )
            >>> {name: values.round(3).tolist() for name, values in stats.quality().items()}
            {'PQ': [0.533, nan], 'SQ': [0.8, nan], 'RQ': [0.667, nan]}
        """
        support = self.tp + 0.5 * self.fp + 0.5 * self.fn
        support = np.where(support > 0, support, np.nan)
        return {
            'PQ': self.iou_sum / support,
            'SQ': np.where(np.isnan(support), np.nan, self.iou_sum / np.maximum(self.tp, 1)),
            'RQ': self.tp / support,
        }


def panoptic_stats(
    gt_ids: NDArray[Any],
    gt_labels: ArrayLike,
    gt_iscrowd: ArrayLike,
    pred_ids: NDArray[Any],
    pred_labels: Mapping[int, int],
    *,
    num_classes: int,
) -> PanopticStats:
    """Compare the prediction of one image with its ground truth.

    Args:
        gt_ids: Integers of shape (H, W); 0 is VOID, k is segment k - 1 of ``gt_labels``.
        gt_labels: Label of each ground-truth segment, in ``[0, K)``, shape (n,).
        gt_iscrowd: Whether each ground-truth segment is a crowd, shape (n,).
        pred_ids: Integers of shape (H, W), of any range.
        pred_labels: Label in ``[0, K)`` of each predicted segment by its id. Pixels of an id that
            is not in it are VOID; an id without a pixel is no segment.
        num_classes: K.

    Returns:
        The statistics of this image.

    Raises:
        TypeError: If an id map does not hold integers.
        ValueError: If shapes, ids or labels do not fit.

    Example:
        >>> gt = np.array([[1, 1, 2, 2]])
        >>> pred = np.array([[7, 7, 7, 9]])
        >>> stats = panoptic_stats(gt, [0, 1], [0, 0], pred, {7: 0, 9: 1}, num_classes=2)
        >>> stats.iou_sum.round(3).tolist(), stats.fp.tolist(), stats.fn.tolist()
        ([0.667, 0.0], [0, 1], [0, 1])
    """
    areas, ids = overlap_areas(gt_ids, pred_ids, num_segments=np.size(gt_labels))
    labels = [pred_labels.get(int(value), VOID_LABEL) for value in ids]
    return stats_from_areas(areas, gt_labels, gt_iscrowd, labels, num_classes=num_classes)


def overlap_areas(
    gt_ids: NDArray[Any], pred_ids: NDArray[Any], *, num_segments: int
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Count the pixels that each ground-truth segment shares with each value of the prediction.

    Args:
        gt_ids: Integers in ``[0, num_segments]`` of shape (H, W); 0 is VOID.
        pred_ids: Integers of shape (H, W), of any range.
        num_segments: n.

    Returns:
        Pixel counts, int64 of shape (n + 1, m) with VOID in row 0, and the m different values of
        ``pred_ids`` in ascending order.

    Raises:
        TypeError: If an id map does not hold integers.
        ValueError: If the shapes differ, or ``gt_ids`` holds an id outside its range.

    Example:
        >>> areas, ids = overlap_areas(
        ...     np.array([[0, 1], [1, 1]]), np.array([[5, 5], [5, 9]]), num_segments=1
        ... )
        >>> areas.tolist(), ids.tolist()
        ([[1, 0], [2, 1]], [5, 9])
    """
    for name, ids in (('gt_ids', gt_ids), ('pred_ids', pred_ids)):
        if ids.dtype.kind not in 'iu':
            raise TypeError(f'{name}: expected an id map of integers, got dtype {ids.dtype}')
    if gt_ids.shape != pred_ids.shape:
        raise ValueError(
            f'gt_ids and pred_ids: expected the same shape (H, W), got {gt_ids.shape} and '
            f'{pred_ids.shape}'
        )
    gt_runs, pred_runs, lengths = _runs(gt_ids.ravel(), pred_ids.ravel())
    if gt_runs.size and not 0 <= gt_runs.min() <= gt_runs.max() <= num_segments:
        raise ValueError(
            f'gt_ids: expected ids from 0 (VOID) to {num_segments} (the number of segments), got '
            f'{gt_runs.min()} to {gt_runs.max()}'
        )
    values, columns = _compact(pred_runs)
    shape = (num_segments + 1, values.size)
    joint = gt_runs.astype(np.int64) * values.size + columns
    counts = np.bincount(joint, weights=lengths, minlength=shape[0] * shape[1])
    return counts.astype(np.int64).reshape(shape), values


def _runs(
    first: NDArray[Any], second: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.int64]]:
    """Split two flat maps into runs in which both are constant: their values and lengths.

    Segments are connected, so there are far fewer runs than pixels, and all that follows costs
    next to nothing.
    """
    parts: list[NDArray[np.intp]] = [np.zeros(min(first.size, 1), dtype=np.intp)]
    for offset in range(0, first.size - 1, _PIXELS):
        # one pixel more, which the last one is compared with
        of_first, of_second = (ids[offset : offset + _PIXELS + 1] for ids in (first, second))
        changes = of_first[1:] != of_first[:-1]
        changes |= of_second[1:] != of_second[:-1]
        parts.append(np.flatnonzero(changes) + (offset + 1))
    starts = np.concatenate(parts)
    return first[starts], second[starts], np.diff(starts, append=first.size)


def _compact(values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """Return the different values in ascending order, and the index of each value in them."""
    if values.size and values.min() >= 0 and values.max() < 8 * values.size:
        # a table is faster than sorting
        occurs = np.zeros(int(values.max()) + 1, dtype=bool)
        occurs[values] = True
        different = np.flatnonzero(occurs)
        table = np.empty(occurs.size, dtype=np.intp)
        table[different] = np.arange(different.size)
        return different, table[values]
    different, indices = np.unique(values, return_inverse=True)
    return different, indices.reshape(-1)


def ignore_labels(
    areas: NDArray[np.int64],
    gt_labels: ArrayLike,
    gt_iscrowd: ArrayLike,
    ignored: Collection[int],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Turn the ground-truth segments of some labels into VOID.

    Args:
        areas: Pixel counts of :func:`overlap_areas`, shape (n + 1, m).
        gt_labels: Label of each ground-truth segment, shape (n,).
        gt_iscrowd: Whether each ground-truth segment is a crowd, shape (n,).
        ignored: The labels to ignore.

    Returns:
        New areas, labels and crowd flags without those segments; their pixels are in row 0.

    Example:
        >>> ignore_labels(np.array([[1], [2], [4]]), [3, 5], [0, 1], {3})[0].tolist()
        [[3], [4]]
    """
    labels, crowd = _segments(gt_labels, gt_iscrowd)
    hidden = np.isin(labels, list(ignored))
    void = areas[:1] + areas[1:][hidden].sum(axis=0, keepdims=True)
    return np.concatenate([void, areas[1:][~hidden]]), labels[~hidden], crowd[~hidden]


def _segments(
    gt_labels: ArrayLike, gt_iscrowd: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    return np.asarray(gt_labels, dtype=np.int64), np.asarray(gt_iscrowd, dtype=bool)


def stats_from_areas(
    areas: NDArray[np.int64],
    gt_labels: ArrayLike,
    gt_iscrowd: ArrayLike,
    pred_labels: ArrayLike,
    *,
    num_classes: int,
) -> PanopticStats:
    """Match the segments of one image by the pixels that they share.

    A pair matches if both have the same class, the ground truth is no crowd and IoU > 0.5; the
    union leaves out VOID pixels of the prediction. A predicted segment without a match is a false
    positive unless VOID and the crowd of its class (the last one in the list) cover more than half
    of it. A ground-truth segment without a match is a false negative unless it is a crowd.

    Args:
        areas: Pixel counts of :func:`overlap_areas`, shape (n + 1, m).
        gt_labels: Label of each ground-truth segment, in ``[0, K)``, shape (n,).
        gt_iscrowd: Whether each ground-truth segment is a crowd, shape (n,).
        pred_labels: Label of each value of the prediction's id map, in ``[0, K)``, or -1 where
            it is VOID, shape (m,).
        num_classes: K.

    Returns:
        The statistics of this image.

    Raises:
        ValueError: If shapes or labels do not fit.

    Example:
        >>> stats_from_areas(np.array([[0, 0], [6, 4]]), [0], [0], [0, -1], num_classes=1).tp
        array([1])
    """
    labels, crowd = _segments(gt_labels, gt_iscrowd)
    predicted = np.asarray(pred_labels, dtype=np.int64)
    _check_segments(areas, labels, crowd, predicted, num_classes)
    areas, predicted = np.asarray(areas), predicted.reshape(-1)
    shared = areas[1:]  # (n, m)
    pred_areas = areas.sum(axis=0)  # (m,)
    union = shared.sum(axis=1)[:, None] + (pred_areas - areas[0]) - shared  # (n, m)
    same_class = labels[:, None] == predicted
    # in whole numbers: IoU > 0.5, exact; at most one pair per segment can pass
    matched = same_class & ~crowd[:, None] & (2 * shared > union)  # (n, m)
    excused = 2 * (areas[0] + _crowd_areas(areas, labels, crowd, predicted)) > pred_areas
    wrong = (predicted != VOID_LABEL) & ~matched.any(axis=0) & ~excused
    rows, columns = np.nonzero(matched)
    iou = shared[rows, columns] / union[rows, columns]
    return PanopticStats(
        # without a match bincount returns integers
        iou_sum=np.bincount(labels[rows], weights=iou, minlength=num_classes).astype(np.float64),
        tp=np.bincount(labels[rows], minlength=num_classes),
        fp=np.bincount(predicted[wrong], minlength=num_classes),
        fn=np.bincount(labels[~matched.any(axis=1) & ~crowd], minlength=num_classes),
    )


def _crowd_areas(
    areas: NDArray[np.int64],
    labels: NDArray[np.int64],
    crowd: NDArray[np.bool_],
    predicted: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Return the pixels that each value shares with the last crowd of its class, shape (m,)."""
    later_crowd = np.triu(labels[:, None] == labels, k=1)[:, crowd].any(axis=1)
    counts = crowd & ~later_crowd
    same_class = labels[counts][:, None] == predicted
    return (areas[1:][counts] * same_class).sum(axis=0)


def _check_segments(
    areas: NDArray[np.int64],
    labels: NDArray[np.int64],
    crowd: NDArray[np.bool_],
    predicted: NDArray[np.int64],
    num_classes: int,
) -> None:
    if labels.ndim != 1 or labels.shape != crowd.shape:
        raise ValueError(
            f'gt_labels and gt_iscrowd: expected one value per segment each, got shapes '
            f'{labels.shape} and {crowd.shape}'
        )
    if areas.shape != (labels.size + 1, predicted.size):
        raise ValueError(
            f'areas: expected shape {(labels.size + 1, predicted.size)} (VOID and each '
            f'ground-truth segment, each predicted id), got {areas.shape}'
        )
    for name, values, lowest in (('gt_labels', labels, 0), ('pred_labels', predicted, VOID_LABEL)):
        wrong = values[(values < lowest) | (values >= num_classes)]
        if wrong.size:
            raise ValueError(
                f'{name}: expected labels from {lowest} to {num_classes - 1}, got '
                f'{np.unique(wrong)[:5].tolist()}'
            )
