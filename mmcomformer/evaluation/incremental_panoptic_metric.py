"""Panoptic quality over the classes seen so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmdet.evaluation.functional import INSTANCE_OFFSET
from mmengine.evaluator import BaseMetric
from numpy.typing import NDArray

from ..registry import METRICS
from ..scenario import Scenario
from .groups import GROUPS, group_means
from .panoptic_quality import (
    VOID_LABEL,
    PanopticStats,
    ignore_labels,
    overlap_areas,
    stats_from_areas,
)


@METRICS.register_module()
class IncrementalPanopticMetric(BaseMetric):
    """PQ, SQ and RQ in percent over base, new and all seen classes.

    The ground truth holds every class of the dataset at every step; means run over the classes
    that the scenario has seen. Nothing is written to disk and panopticapi is not needed.

    After an evaluation, ``scenario`` (of the dataset), ``per_class`` (percent or None by class
    name and by PQ, SQ and RQ; seen classes in learning order) and ``groups`` (percent or None by
    PQ, SQ and RQ and by base, new and all) hold the last results on the main process.

    Args:
        ignore_unseen: Whether ground truth of classes that no step has taught yet is VOID. By
            default a prediction on their pixels counts as a false positive.
        num_base: Count this many classes as base; see :func:`.groups.group_means`.
        collect_device: ``cpu`` or ``gpu``, by which results of several processes are gathered.
        prefix: Prefix of the names of the results; defaults to ``continual``.
    """

    default_prefix = 'continual'

    def __init__(
        self,
        ignore_unseen: bool = False,
        *,
        num_base: int | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.ignore_unseen = ignore_unseen
        self.num_base = num_base
        self.scenario: Scenario | None = None
        self.per_class: dict[str, dict[str, float | None]] = {}
        self.groups: dict[str, dict[str, float | None]] = {}

    @property
    def dataset_meta(self) -> dict | None:
        """Meta information of the dataset: ``classes`` and ``scenario`` are read."""
        return self._dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, dataset_meta: dict) -> None:
        self.scenario = _scenario_of(dataset_meta)
        self._dataset_meta = dataset_meta

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
        scenario = self._require_scenario()
        for sample in data_samples:
            try:
                self.results.append(self._image_stats(sample, scenario).to_rows())
            except (TypeError, ValueError) as error:
                raise ValueError(f'{_name(sample)}: {error}') from error

    def _image_stats(self, sample: Mapping[str, Any], scenario: Scenario) -> PanopticStats:
        gt_ids, segments = _ground_truth(sample)
        pred_ids = _prediction(sample)
        if gt_ids.shape != pred_ids.shape:
            raise ValueError(
                f'the prediction has height and width {pred_ids.shape}, the ground truth '
                f'{gt_ids.shape}; load annotations after Resize in the test pipeline and predict '
                f'at the original size (rescale=True)'
            )
        labels = np.array([segment['label'] for segment in segments], dtype=np.int64)
        crowd = np.array([bool(segment['iscrowd']) for segment in segments], dtype=bool)
        areas, values = overlap_areas(gt_ids, pred_ids, num_segments=len(segments))
        pred_labels = values.astype(np.int64) % INSTANCE_OFFSET
        pred_labels[pred_labels == scenario.num_classes] = VOID_LABEL
        if self.ignore_unseen:
            unseen = set(range(scenario.num_classes)) - scenario.seen_labels
            areas, labels, crowd = ignore_labels(areas, labels, crowd, unseen)
        return stats_from_areas(areas, labels, crowd, pred_labels, num_classes=scenario.num_classes)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Sum the images and return flat names: ``PQ``, ``PQ_base``, ``PQ_new``, ``SQ``, ...

        A group without a class that occurs or is predicted is left out of the result.
        """
        scenario = self._require_scenario()
        stats = PanopticStats.from_rows(results, scenario.num_classes)
        quality = {name: 100 * values for name, values in stats.quality().items()}
        seen = zip(scenario.seen_classes, scenario.seen_learning_to_label, strict=True)
        self.per_class = {
            name: {metric: _number(values[label]) for metric, values in quality.items()}
            for name, label in seen
        }
        self.groups = {
            metric: group_means(
                {name: values[metric] for name, values in self.per_class.items()},
                scenario,
                num_base=self.num_base,
            )
            for metric in quality
        }
        return {
            metric if group == 'all' else f'{metric}_{group}': value
            for metric, means in self.groups.items()
            for group in reversed(GROUPS)
            if (value := means[group]) is not None
        }

    def _require_scenario(self) -> Scenario:
        if self.scenario is None:
            raise RuntimeError(
                'IncrementalPanopticMetric: dataset_meta is not set; evaluate an '
                'IncrementalDataset, whose metainfo holds the classes and the scenario'
            )
        return self.scenario


def _scenario_of(dataset_meta: Mapping[str, Any] | None) -> Scenario:
    meta = dataset_meta or {}
    if 'scenario' not in meta or 'classes' not in meta:
        raise RuntimeError(
            f'IncrementalPanopticMetric: the dataset has no scenario or no classes in its '
            f'metainfo (it has {sorted(meta)}); wrap it in IncrementalDataset'
        )
    scenario = Scenario.from_config(meta['scenario'])
    if tuple(meta['classes']) != scenario.classes:
        raise ValueError(
            f'IncrementalPanopticMetric: the dataset has classes {list(meta["classes"])[:5]}..., '
            f'its scenario {list(scenario.classes)[:5]}...; expected the same names in the same '
            f'order (things first, then stuff)'
        )
    if scenario.num_classes >= INSTANCE_OFFSET:
        raise ValueError(
            f'IncrementalPanopticMetric: expected fewer than {INSTANCE_OFFSET} classes, '
            f'got {scenario.num_classes}'
        )
    return scenario


def _ground_truth(sample: Mapping[str, Any]) -> tuple[NDArray[Any], list[dict[str, Any]]]:
    gt = sample.get('gt_panoptic_seg')
    if gt is None or 'sem_seg' not in gt or sample.get('segments') is None:
        raise RuntimeError(
            f'{_name(sample)}: the sample has no gt_panoptic_seg id map with segments; put '
            f'LoadPanopticIdMap in the pipeline of the evaluated dataset, and pack the ground '
            f'truth'
        )
    return _map(gt['sem_seg']), sample['segments']


def _prediction(sample: Mapping[str, Any]) -> NDArray[Any]:
    prediction = sample.get('pred_panoptic_seg')
    if prediction is None or 'sem_seg' not in prediction:
        raise RuntimeError(
            f'{_name(sample)}: the model returned no pred_panoptic_seg; set '
            f'model.test_cfg.panoptic_on=True'
        )
    return _map(prediction['sem_seg'])


def _map(sem_seg: Any) -> NDArray[Any]:
    """Return an id map (1, H, W), a tensor on any device or an array, as an array (H, W)."""
    array = np.asarray(sem_seg.cpu() if hasattr(sem_seg, 'cpu') else sem_seg)
    if array.ndim != 3 or array.shape[0] != 1:
        raise ValueError(f'sem_seg: expected an id map of shape (1, H, W), got {array.shape}')
    return array[0]


def _name(sample: Mapping[str, Any]) -> str:
    return f'IncrementalPanopticMetric: image {sample.get("img_path") or sample.get("img_id")}'


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
