"""Intersection over union of semantic maps over the classes seen so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..datasets.label_maps import IGNORE_LABEL
from ..registry import METRICS
from ..scenario import Scenario
from .label_areas import (
    LabelAreas,
    check_labels,
    class_counts,
    from_rows,
    pair_counts,
    to_rows,
)
from .seen_class_metric import SeenClassMetric, check_sizes, number

UNLABELLED_RULES = ('ignore', 'background')
EXTRA_BACKGROUND = 'background'
"""Name of the class of unlabelled pixels where the dataset has no background class."""


@METRICS.register_module()
class IncrementalIoUMetric(SeenClassMetric):
    """mIoU and mAcc in percent over base, new and all seen classes.

    A class that neither occurs nor is predicted leaves the mean of the IoU, one that does not occur
    that of the accuracy. Where there is a background class it counts in base and all; the groups
    ``mIoU_foreground`` and ``mAcc_foreground`` leave it out. It is the scenario's background or,
    if that has none and ``unlabelled='background'``, an additional class of this name.

    Over several processes the pixels of each pair of classes in an image are gathered, three
    integers per pair that occurs. Attributes are those of :class:`.SeenClassMetric`.

    Args:
        unlabelled: What pixels are that no class is given for. ``ignore``: in the ground truth
            they are left out, in the prediction they miss the true class (mmseg's way).
            ``background``: in both maps they belong to the background class (the way of CoMFormer's
            released program).
        ignore_unseen: Whether the ground truth of classes that no step has taught yet is ignored.
            By default a prediction on their pixels counts as wrong. The background is never
            ignored.
        num_base: Count this many classes as base; see :func:`.groups.group_means`.
        collect_device: ``cpu`` or ``gpu``, by which results of several processes are gathered.
        prefix: Prefix of the names of the results; defaults to ``continual``.

    Raises:
        ValueError: If ``unlabelled`` is neither.
    """

    measures = ('mIoU', 'mAcc')

    def __init__(
        self,
        unlabelled: str = 'ignore',
        *,
        ignore_unseen: bool = False,
        num_base: int | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(
            ignore_unseen, num_base=num_base, collect_device=collect_device, prefix=prefix
        )
        if unlabelled not in UNLABELLED_RULES:
            raise ValueError(
                f'IncrementalIoUMetric: unlabelled: expected one of {UNLABELLED_RULES}, got '
                f'{unlabelled!r}'
            )
        self.unlabelled = unlabelled

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Compare the predictions of one batch with the ground truth.

        Args:
            data_batch: Not read.
            data_samples: Per image, a ``SegDataSample`` as a dict: ``pred_sem_seg.data`` and
                ``gt_sem_seg.data`` are integer tensors (1, H, W) of dataset labels, with 255 where
                nothing is predicted or labelled.

        Raises:
            RuntimeError: If a sample has no prediction or no ground truth.
            ValueError: If prediction and ground truth do not fit each other or the dataset.
        """
        scenario = self.require_scenario()
        for sample in data_samples:
            gt = self._map(sample, 'gt_sem_seg')
            pred = self._map(sample, 'pred_sem_seg')
            try:
                self.results.append(to_rows(self._image_counts(gt, pred, scenario)))
            except ValueError as error:
                raise ValueError(f'{self._name(sample)}: {error}') from error

    def _image_counts(self, gt: Tensor, pred: Tensor, scenario: Scenario) -> NDArray[np.int64]:
        gt, pred = _plane(gt), _plane(pred)
        check_sizes(gt.shape, pred.shape)
        counts = pair_counts(gt, pred)
        check_labels(counts, scenario.num_classes)
        return counts

    def _areas(self, counts: NDArray[np.int64], scenario: Scenario) -> LabelAreas:
        unseen = set(range(scenario.num_classes)) - scenario.seen_labels
        return LabelAreas.from_counts(
            counts,
            scenario.num_classes,
            unlabelled=self._unlabelled_class(scenario),
            ignored=unseen - {scenario.background_label} if self.ignore_unseen else (),
        )

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Sum the images and return flat names: ``mIoU``, ``mIoU_base``, ``mIoU_new``, ...

        A group without a class that has a value is left out of the result.
        """
        scenario = self.require_scenario()
        names = [*scenario.classes]
        background = scenario.background
        if self._unlabelled_class(scenario) == scenario.num_classes:
            background = EXTRA_BACKGROUND
            names.append(background)
        counts = from_rows(results)
        self.confusion = class_counts(
            counts, scenario.num_classes, unlabelled=self._unlabelled_class(scenario)
        )
        quality = self._areas(counts, scenario).quality()
        values = {
            name: {measure: number(100 * v) for measure, v in zip(self.measures, pair, strict=True)}
            for name, *pair in zip(names, *quality, strict=True)
        }
        reported = (*(() if background is None else (background,)), *scenario.seen_classes)
        return self._report({name: values[name] for name in reported}, background=background)

    def _unlabelled_class(self, scenario: Scenario) -> int | None:
        """Return the class that 255 stands for (see :meth:`.LabelAreas.from_counts`)."""
        if self.unlabelled == 'ignore':
            return None
        label = scenario.background_label
        return scenario.num_classes if label is None else label

    def _check_scenario(self, scenario: Scenario) -> None:
        if scenario.num_classes > IGNORE_LABEL:
            raise ValueError(
                f'IncrementalIoUMetric: expected at most {IGNORE_LABEL} classes, because '
                f'{IGNORE_LABEL} marks unlabelled pixels; got {scenario.num_classes}'
            )
        extra = self._unlabelled_class(scenario) == scenario.num_classes
        if extra and EXTRA_BACKGROUND in scenario.classes:
            raise ValueError(
                f"IncrementalIoUMetric: unlabelled='background' makes a class "
                f'{EXTRA_BACKGROUND!r}, but the dataset has one of this name; set '
                f'scenario.background={EXTRA_BACKGROUND!r} if that is what it means'
            )

    def _map(self, sample: Mapping[str, Any], key: str) -> Tensor:
        pixel_data = sample.get(key)
        if pixel_data is None or 'data' not in pixel_data:
            advice = {
                'gt_sem_seg': 'load annotations in the pipeline of the evaluated dataset, and '
                'pack them',
                'pred_sem_seg': 'evaluate a model for semantic segmentation',
            }
            raise RuntimeError(f'{self._name(sample)}: the sample has no {key}; {advice[key]}')
        return torch.as_tensor(pixel_data['data'])


def _plane(label_map: Tensor) -> Tensor:
    """Return a label map (1, H, W) as (H, W)."""
    if label_map.ndim != 3 or label_map.shape[0] != 1:
        raise ValueError(f'expected label maps of shape (1, H, W), got {tuple(label_map.shape)}')
    return label_map[0]
