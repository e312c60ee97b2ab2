"""Panoptic quality over the classes seen so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmdet.evaluation.functional import INSTANCE_OFFSET
from numpy.typing import NDArray

from ..registry import METRICS
from ..scenario import Scenario
from .panoptic_quality import VOID_LABEL, SegmentOverlaps, label_counts, panoptic_stats
from .seen_class_metric import SeenClassMetric, check_sizes, number


@METRICS.register_module()
class IncrementalPanopticMetric(SeenClassMetric):
    """PQ, SQ and RQ in percent over base, new and all seen classes.

    Nothing is written to disk and panopticapi is not needed. Arguments and attributes are those
    of :class:`.SeenClassMetric`; with ``ignore_unseen`` the ground truth of classes that no step
    has taught yet is VOID, otherwise a prediction on their pixels counts as a false positive.
    """

    measures = ('PQ', 'SQ', 'RQ')

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Compare the predictions of one batch with the ground truth.

        Args:
            data_batch: Not read.
            data_samples: Per image, a ``DetDataSample`` as a dict. ``pred_panoptic_seg.sem_seg``
                is an int tensor (1, H, W) of ``label + instance * INSTANCE_OFFSET``, with the
                number of dataset classes for VOID; ``gt_panoptic_seg.sem_seg`` is an int tensor
                (1, H, W) of 0 (VOID) or k for ``segments[k - 1]``; ``segments`` is a list of
                dicts with ``label`` (dataset label) and ``iscrowd``.

        Raises:
            RuntimeError: If a sample has no prediction, or no ground truth of this form.
            ValueError: If prediction and ground truth do not fit each other or the dataset.
        """
        scenario = self.require_scenario()
        for sample in data_samples:
            try:
                self.results.append(self._overlaps(sample, scenario))
            except (TypeError, ValueError) as error:
                raise ValueError(f'{self._name(sample)}: {error}') from error

    def _overlaps(self, sample: Mapping[str, Any], scenario: Scenario) -> SegmentOverlaps:
        gt_ids, segments = self._ground_truth(sample)
        pred_ids = self._prediction(sample)
        check_sizes(gt_ids.shape, pred_ids.shape)
        num_classes = scenario.num_classes
        overlaps = SegmentOverlaps.of_image(
            gt_ids,
            np.array([segment['label'] for segment in segments], dtype=np.int64),
            np.array([bool(segment['iscrowd']) for segment in segments], dtype=bool),
            pred_ids,
            self._labels_of,
            num_classes=num_classes,
        )
        if not self.ignore_unseen:
            return overlaps
        return overlaps.ignore(set(range(num_classes)) - scenario.seen_labels)

    def _labels_of(self, codes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the labels in the codes of a prediction, -1 for VOID."""
        labels = codes % INSTANCE_OFFSET
        return np.where(labels == self.require_scenario().num_classes, VOID_LABEL, labels)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Match the segments of all images; return ``PQ``, ``PQ_base``, ``PQ_new``, ``SQ``, ...

        A group without a class that occurs or is predicted is left out of the result.
        """
        scenario = self.require_scenario()
        stats = panoptic_stats(results, scenario.num_classes)
        self.confusion = label_counts(results, scenario.num_classes)
        quality = {name: 100 * values for name, values in stats.quality().items()}
        seen = [*zip(scenario.seen_classes, scenario.seen_learning_to_label, strict=True)]
        self.segments = {
            name: {
                'matched': int(stats.tp[label]),
                'missed': int(stats.fn[label]),
                'wrong': int(stats.fp[label]),
            }
            for name, label in seen
        }
        per_class = {
            name: {measure: number(values[label]) for measure, values in quality.items()}
            for name, label in seen
        }
        return self._report(per_class)

    def _check_scenario(self, scenario: Scenario) -> None:
        if scenario.num_classes >= INSTANCE_OFFSET:
            raise ValueError(
                f'IncrementalPanopticMetric: expected fewer than {INSTANCE_OFFSET} classes, '
                f'got {scenario.num_classes}'
            )

    def _ground_truth(self, sample: Mapping[str, Any]) -> tuple[NDArray[Any], list[dict[str, Any]]]:
        gt = sample.get('gt_panoptic_seg')
        if gt is None or 'sem_seg' not in gt or sample.get('segments') is None:
            raise RuntimeError(
                f'{self._name(sample)}: the sample has no gt_panoptic_seg id map with segments; '
                f'put LoadPanopticIdMap in the pipeline of the evaluated dataset, and pack the '
                f'ground truth'
            )
        return _map(gt['sem_seg']), sample['segments']

    def _prediction(self, sample: Mapping[str, Any]) -> NDArray[Any]:
        prediction = sample.get('pred_panoptic_seg')
        if prediction is None or 'sem_seg' not in prediction:
            raise RuntimeError(
                f'{self._name(sample)}: the model returned no pred_panoptic_seg; set '
                f'model.test_cfg.panoptic_on=True'
            )
        return _map(prediction['sem_seg'])


def _map(sem_seg: Any) -> NDArray[Any]:
    """Return an id map (1, H, W), a tensor on any device or an array, as an array (H, W)."""
    array = np.asarray(sem_seg.cpu() if hasattr(sem_seg, 'cpu') else sem_seg)
    if array.ndim != 3 or array.shape[0] != 1:
        raise ValueError(f'sem_seg: expected an id map of shape (1, H, W), got {array.shape}')
    return array[0]
