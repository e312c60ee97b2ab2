"""Panoptic quality: what ground truth and prediction share, matched and summed over images.

Pure NumPy. The definition is COCO's (Kirillov et al., "Panoptic Segmentation", CVPR 2019, and the
rules of the COCO panoptic task for VOID and crowd). Areas are pixel counts of the id maps. An image
leaves its overlaps behind, and all images are matched at once.

Letters in shapes: H W pixels, n ground-truth segments, p overlaps (of a ground-truth segment or
VOID with a predicted one), K classes of the dataset.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .overlaps import count_overlaps

VOID_LABEL = -1
"""Label of a value of the prediction's id map that is no segment."""

VOID_SEGMENT = -1
"""Index of the ground-truth segment where there is none."""


@dataclass(frozen=True)
class PanopticStats:
    """What panoptic quality is made of, per class.

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


@dataclass(frozen=True)
class SegmentOverlaps:
    """The pixels that the segments of an image share with those of its prediction.

    Attributes:
        gt_labels: Label of each ground-truth segment, in ``[0, K)``, int64, shape (n,).
        gt_iscrowd: Whether each is a crowd, bool, shape (n,).
        gt: Index of the ground-truth segment of each overlap, or -1 for VOID, int64, shape (p,).
        pred: Value of the prediction's id map of each overlap, int64, shape (p,).
        pred_labels: Label of that value, in ``[0, K)``, or -1 for VOID, int64, shape (p,).
        areas: Pixels of each overlap, int64, shape (p,).
    """

    gt_labels: NDArray[np.int64]
    gt_iscrowd: NDArray[np.bool_]
    gt: NDArray[np.int64]
    pred: NDArray[np.int64]
    pred_labels: NDArray[np.int64]
    areas: NDArray[np.int64]

    @classmethod
    def of_image(
        cls,
        gt_ids: NDArray[Any],
        gt_labels: ArrayLike,
        gt_iscrowd: ArrayLike,
        pred_ids: NDArray[Any],
        label_of: Callable[[NDArray[np.int64]], NDArray[np.int64]],
        *,
        num_classes: int,
        gt_segment_ids: ArrayLike | None = None,
    ) -> SegmentOverlaps:
        """Compare the prediction of an image with its ground truth.

        Args:
            gt_ids: Integers of shape (H, W); 0 is VOID.
            gt_labels: Label of each ground-truth segment, in ``[0, K)``, shape (n,).
            gt_iscrowd: Whether each ground-truth segment is a crowd, shape (n,).
            pred_ids: Integers of shape (H, W), of 32 bits with sign.
            label_of: Gets values of ``pred_ids``, int64 of shape (p,), and returns their labels in
                ``[0, K)``, or -1 where a value is no segment.
            num_classes: K.
            gt_segment_ids: Id of each ground-truth segment in ``gt_ids``, distinct, not 0, shape
                (n,). None: 1, 2, ..., n.

        Raises:
            TypeError: If an id map does not hold integers.
            ValueError: If shapes, ids or labels do not fit.

        Example:
            >>> overlaps = SegmentOverlaps.of_image(
            ...     np.array([[0, 1, 1]]),
            ...     [3],
            ...     [0],
            ...     np.array([[9, 9, 8]]),
            ...     lambda ids: ids % 5,
            ...     num_classes=5,
            ... )
            >>> overlaps.gt.tolist(), overlaps.pred_labels.tolist(), overlaps.areas.tolist()
            ([-1, 0, 0], [4, 3, 4], [1, 1, 1])
        """
        labels = np.asarray(gt_labels, dtype=np.int64)
        crowd = np.asarray(gt_iscrowd, dtype=bool)
        _check_segments(labels, crowd, num_classes)
        values, pred, areas = count_overlaps(gt_ids, pred_ids)
        gt = _segment_indices(values, labels.size, gt_segment_ids)
        pred_labels = label_of(pred)
        if pred_labels.shape != pred.shape:
            raise ValueError(
                f'label_of: expected {pred.size} labels, got an array of shape {pred_labels.shape}'
            )
        _check_labels('pred_labels', pred_labels, VOID_LABEL, num_classes)
        return cls(labels, crowd, gt, pred, pred_labels, areas)

    def ignore(self, ignored: Collection[int]) -> SegmentOverlaps:
        """Return the overlaps with the ground-truth segments of some labels turned into VOID.

        Example:
            >>> none, pixel = np.zeros(2, np.int64), np.ones(2, np.int64)
            >>> overlaps = SegmentOverlaps(
            ...     np.array([3, 5]), np.array([False, True]), np.array([0, 1]), none, none, pixel
            ... )
            >>> overlaps.ignore({3}).gt.tolist(), overlaps.ignore({3}).gt_labels.tolist()
            ([-1, 0], [5])
        """
        stays = ~np.isin(self.gt_labels, list(ignored))
        # index -1 reads the last value
        renumbered = np.append(np.where(stays, np.cumsum(stays) - 1, VOID_SEGMENT), VOID_SEGMENT)
        return replace(
            self,
            gt_labels=self.gt_labels[stays],
            gt_iscrowd=self.gt_iscrowd[stays],
            gt=renumbered[self.gt],
        )


def _segment_indices(
    values: NDArray[np.int64], num_segments: int, segment_ids: ArrayLike | None
) -> NDArray[np.int64]:
    """Return the index of the segment that each value of the map stands for, or -1 for VOID."""
    if segment_ids is None:
        if values.size and not 0 <= values[0] <= values[-1] <= num_segments:
            raise ValueError(
                f'gt_ids: expected ids from 0 (VOID) to {num_segments} (the number of segments), '
                f'got {values[0]} to {values[-1]}'
            )
        return values - 1
    ids = np.concatenate([[0], np.asarray(segment_ids, dtype=np.int64).reshape(-1)])
    order = np.argsort(ids, kind='stable')
    position = np.searchsorted(ids, values, sorter=order).clip(max=ids.size - 1)
    indices = order[position]
    unknown = values[ids[indices] != values]
    if ids.size != num_segments + 1 or unknown.size:
        raise ValueError(
            f'gt_segment_ids: expected the ids of {num_segments} segments, got {ids.size - 1}; '
            f'gt_ids holds others: {np.unique(unknown)[:5].tolist()}'
        )
    return indices - 1


def panoptic_stats(images: Sequence[SegmentOverlaps], num_classes: int) -> PanopticStats:
    """Match the segments of each image by the pixels that they share, and count, in one pass.

    A pair matches if both have the same class, the ground truth is no crowd and IoU > 0.5; the
    union leaves out VOID pixels of the prediction. A predicted segment without a match is a false
    positive unless VOID and the crowd of its class (the last one in the list) cover more than half
    of it. A ground-truth segment without a match is a false negative unless it is a crowd.

    Args:
        images: The overlaps of each image.
        num_classes: K.

    Example:
        >>> image = SegmentOverlaps.of_image(
        ...     np.array([[1, 1, 2, 2]]),
        ...     [0, 1],
        ...     [0, 0],
        ...     np.array([[0, 0, 0, 1]]),
        ...     lambda ids: ids,
        ...     num_classes=2,
        ... )
        >>> stats = panoptic_stats([image], 2)
        >>> stats.iou_sum.round(3).tolist(), stats.fp.tolist(), stats.fn.tolist()
        ([0.667, 0.0], [0, 1], [0, 1])
    """
    if not images:
        return PanopticStats(np.zeros(num_classes), *np.zeros((3, num_classes), dtype=np.int64))
    joined, image_of_segment = _join(images)
    labels, crowd = joined.gt_labels, joined.gt_iscrowd
    num_segments, num_values = labels.size, int(joined.pred.max(initial=-1)) + 1
    value_labels = np.empty(num_values, dtype=np.int64)
    value_labels[joined.pred] = joined.pred_labels
    is_void = joined.gt == VOID_SEGMENT
    void_areas = _sum_areas(joined.pred[is_void], joined.areas[is_void], num_values)
    value_areas = _sum_areas(joined.pred, joined.areas, num_values)
    segment, value, shared = (c[~is_void] for c in (joined.gt, joined.pred, joined.areas))
    union = _sum_areas(segment, shared, num_segments)[segment] - shared
    union += (value_areas - void_areas)[value]
    same_class = labels[segment] == value_labels[value]
    # in whole numbers: IoU > 0.5, exact; at most one pair per segment can pass
    matched = same_class & ~crowd[segment] & (2 * shared > union)
    is_missed, is_wrong = ~crowd, value_labels != VOID_LABEL
    is_missed[segment[matched]] = False
    is_wrong[value[matched]] = False
    excusing = same_class & _last_crowds(image_of_segment * num_classes + labels, crowd)[segment]
    excused = void_areas + _sum_areas(value[excusing], shared[excusing], num_values)
    is_wrong &= 2 * excused <= value_areas
    matched_labels = labels[segment[matched]]
    iou = shared[matched] / union[matched]
    return PanopticStats(
        # without a match bincount returns integers
        iou_sum=np.bincount(matched_labels, iou, minlength=num_classes).astype(np.float64),
        tp=np.bincount(matched_labels, minlength=num_classes),
        fp=np.bincount(value_labels[is_wrong], minlength=num_classes),
        fn=np.bincount(labels[is_missed], minlength=num_classes),
    )


def label_counts(images: Sequence[SegmentOverlaps], num_classes: int) -> NDArray[np.int64]:
    """Count the pixels of each pair of classes, crowds included.

    Args:
        images: The overlaps of each image.
        num_classes: K.

    Returns:
        int64 of shape (K + 1, K + 1), class in the ground truth, class in the prediction; the last
        one is VOID.

    Example:
        >>> gt, pred = np.array([[0, 1, 1]]), np.array([[0, 0, 1]])
        >>> image = SegmentOverlaps.of_image(gt, [1], [0], pred, lambda ids: ids - 1, num_classes=2)
        >>> label_counts([image], 2).tolist()
        [[0, 0, 0], [1, 0, 1], [0, 0, 1]]
    """
    counts = np.zeros((num_classes + 1, num_classes + 1), dtype=np.int64)
    for image in images:
        # VOID is -1 in both, and index -1 is the last one
        labels = np.append(image.gt_labels, VOID_LABEL)[image.gt]
        np.add.at(counts, (labels, image.pred_labels), image.areas)
    return counts


def _join(images: Sequence[SegmentOverlaps]) -> tuple[SegmentOverlaps, NDArray[np.int64]]:
    """Put images together: segments and values of the prediction are numbered through.

    Returns:
        The overlaps, in which ``pred`` counts from 0 without gaps, and the image of each
        ground-truth segment.
    """
    labels, crowd, gt, pred, pred_labels, areas = (
        np.concatenate([getattr(image, field.name) for image in images])
        for field in fields(SegmentOverlaps)
    )
    num_segments, num_overlaps = (
        np.array([array.size for array in arrays])
        for arrays in ([i.gt_labels for i in images], [i.gt for i in images])
    )
    numbers = np.arange(len(images))
    first_segment = np.repeat(np.cumsum(num_segments) - num_segments, num_overlaps)
    values, index = np.unique(pred, return_inverse=True)
    of_image = np.repeat(numbers, num_overlaps) * values.size + index.reshape(-1)
    joined = SegmentOverlaps(
        gt_labels=labels,
        gt_iscrowd=crowd,
        gt=np.where(gt == VOID_SEGMENT, VOID_SEGMENT, gt + first_segment),
        pred=np.unique(of_image, return_inverse=True)[1].reshape(-1),
        pred_labels=pred_labels,
        areas=areas,
    )
    return joined, np.repeat(numbers, num_segments)


def _sum_areas(index: NDArray[np.int64], areas: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    # exact: float64 holds all whole numbers that are counts of pixels
    return np.bincount(index, areas, minlength=size).astype(np.int64)


def _last_crowds(groups: NDArray[np.int64], crowd: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return whether each segment is the last crowd of its group (image and class), shape (n,)."""
    backwards = np.flatnonzero(crowd)[::-1]
    is_last = np.zeros(crowd.size, dtype=bool)
    is_last[backwards[np.unique(groups[backwards], return_index=True)[1]]] = True
    return is_last


def _check_segments(labels: NDArray[np.int64], crowd: NDArray[np.bool_], num_classes: int) -> None:
    if labels.ndim != 1 or labels.shape != crowd.shape:
        raise ValueError(
            f'gt_labels and gt_iscrowd: expected one value per segment each, got shapes '
            f'{labels.shape} and {crowd.shape}'
        )
    _check_labels('gt_labels', labels, 0, num_classes)


def _check_labels(name: str, labels: NDArray[np.int64], lowest: int, num_classes: int) -> None:
    if labels.size and not lowest <= labels.min() <= labels.max() < num_classes:
        wrong = np.unique(labels[(labels < lowest) | (labels >= num_classes)])
        raise ValueError(
            f'{name}: expected labels from {lowest} to {num_classes - 1}, got {wrong[:5].tolist()}'
        )
