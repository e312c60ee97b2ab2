"""What the metrics over the classes seen so far have in common."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from numpy.typing import NDArray

from ..scenario import Scenario
from .groups import GROUPS, group_means
from .summary import FOREGROUND

PerClass = dict[str, dict[str, float | None]]


class SeenClassMetric(BaseMetric):
    """A metric that has a value per class, and means over base, new and all seen classes.

    The ground truth holds every class of the dataset at every step; means run over the classes
    that the scenario has seen.

    After an evaluation, ``scenario`` (of the dataset), ``per_class`` (percent or None by class
    name and by measure; seen classes in learning order) and ``groups`` (percent or None by measure
    and by base, new and all) hold the last results on the main process. So do ``confusion``, the
    pixels of each pair of classes, int64 of shape (K + 1, K + 1): dataset label in the ground truth
    and in the prediction, the last one where there is no class; and ``segments``, of a metric that
    matches segments: how many of each class name are ``matched``, ``missed`` and ``wrong``.

    A derived class names its ``measures`` and calls :meth:`_report` in ``compute_metrics``.

    Args:
        ignore_unseen: Whether ground truth of classes that no step has taught yet is ignored. By
            default a prediction on their pixels counts as wrong.
        num_base: Count this many classes as base; see :func:`.groups.group_means`.
        collect_device: ``cpu`` or ``gpu``, by which results of several processes are gathered.
        prefix: Prefix of the names of the results; defaults to ``continual``.

    Raises:
        ValueError: If ``num_base`` is below 1.
    """

    default_prefix = 'continual'
    measures: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        ignore_unseen: bool = False,
        *,
        num_base: int | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if num_base is not None and num_base < 1:
            raise ValueError(f'num_base: expected at least 1 class, got {num_base}')
        self.ignore_unseen = ignore_unseen
        self.num_base = num_base
        self.scenario: Scenario | None = None
        self.per_class: PerClass = {}
        self.groups: dict[str, dict[str, float | None]] = {}
        self.confusion: NDArray[np.int64] | None = None
        self.segments: dict[str, dict[str, int]] | None = None

    @property
    def dataset_meta(self) -> dict | None:
        """Meta information of the dataset: ``classes`` and ``scenario`` are read."""
        return self._dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, dataset_meta: dict) -> None:
        scenario = self._scenario_of(dataset_meta)
        self._check_scenario(scenario)
        self.scenario = scenario
        self._dataset_meta = dataset_meta

    def _scenario_of(self, dataset_meta: Mapping[str, Any] | None) -> Scenario:
        meta = dataset_meta or {}
        if 'scenario' not in meta or 'classes' not in meta:
            raise RuntimeError(
                f'{type(self).__name__}: the dataset has no scenario or no classes in its '
                f'metainfo (it has {sorted(meta)}); wrap it in IncrementalDataset'
            )
        scenario = Scenario.from_config(meta['scenario'])
        if tuple(meta['classes']) != scenario.classes:
            raise ValueError(
                f'{type(self).__name__}: the dataset has classes {list(meta["classes"])[:5]}..., '
                f'its scenario {list(scenario.classes)[:5]}...; expected the same names in the '
                f'same order (things first, then stuff)'
            )
        return scenario

    def _check_scenario(self, scenario: Scenario) -> None:
        """Raise a ValueError if the metric cannot evaluate a scenario."""

    def require_scenario(self) -> Scenario:
        """Return the scenario of the dataset.

        Raises:
            RuntimeError: If the metainfo of the dataset has not been set.
        """
        if self.scenario is None:
            raise RuntimeError(
                f'{type(self).__name__}: dataset_meta is not set; evaluate an '
                f'IncrementalDataset, whose metainfo holds the classes and the scenario'
            )
        return self.scenario

    def _report(self, per_class: PerClass, *, background: str | None = None) -> dict[str, float]:
        """Set ``per_class`` and ``groups`` and return the groups by flat name.

        Args:
            per_class: Percent or None by class name and by measure.
            background: Name of a class that counts as base and is not learned. If there is one,
                ``groups`` also holds each measure without it, as ``<measure>_foreground``.

        Returns:
            The groups that have a value, such as ``PQ``, ``PQ_base``, ``PQ_new``. If none has one,
            a warning is logged.
        """
        self.per_class = per_class
        self.groups = {
            measure: self._means(measure, background=background) for measure in self.measures
        }
        if background is not None:
            self.groups.update(
                {f'{measure}{FOREGROUND}': self._means(measure) for measure in self.measures}
            )
        if all(means['all'] is None for means in self.groups.values()):
            print_log(
                f'{type(self).__name__}: no class seen so far has a value, because the ground '
                f'truth of the evaluated images holds none of {list(per_class)[:5]}; check the '
                f'annotations of the evaluated dataset, or evaluate other images',
                logger='current',
                level=logging.WARNING,
            )
        return {
            name if group == 'all' else f'{name}_{group}': value
            for name, means in self.groups.items()
            for group in reversed(GROUPS)
            if (value := means[group]) is not None
        }

    def _means(self, measure: str, *, background: str | None = None) -> dict[str, float | None]:
        return group_means(
            {name: values[measure] for name, values in self.per_class.items()},
            self.require_scenario(),
            num_base=self.num_base,
            background=background,
        )

    def _name(self, sample: Mapping[str, Any]) -> str:
        """Return how a message calls a sample."""
        return f'{type(self).__name__}: image {sample.get("img_path") or sample.get("img_id")}'


def check_sizes(gt: Sequence[int], pred: Sequence[int]) -> None:
    """Check that a prediction has the height and width of its ground truth.

    Raises:
        ValueError: If it has not.
    """
    if tuple(gt) != tuple(pred):
        raise ValueError(
            f'the prediction has height and width {tuple(pred)}, the ground truth {tuple(gt)}; '
            f'load annotations after Resize in the test pipeline and predict at the original size '
            f'(rescale=True)'
        )


def number(value: float) -> float | None:
    """Return a number as a plain float, None for NaN."""
    return None if math.isnan(value) else float(value)
