"""What the tables of a page hold, taken from the summary of a run and from its confusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..evaluation.summary import Summary
from ..tasks import task_named
from .collected import Evaluation
from .plots import nan_to_none

UNLABELLED, NOT_TAUGHT, NOTHING_PREDICTED = 'unlabelled', 'not taught yet', 'nothing'


# what would be written as 0.0 %
_LEAST_SHARE = 0.05


@dataclass(frozen=True)
class ClassHistory:
    """The values of a class after each step.

    Attributes:
        name: Its name.
        taught: The step that taught it; None if no step of the summary did.
        values: Percent or None after each step of the summary.
        losses: Points lost since the step that taught it, or None.
    """

    name: str
    taught: int | None
    values: Sequence[float | None]
    losses: Sequence[float | None]

    @property
    def lost(self) -> float | None:
        """Points lost at the last step; None for a class of the last step."""
        return self.losses[-1] if self.losses else None


def class_histories(summary: Summary) -> list[ClassHistory]:
    """Return the history of each class that was evaluated, in learning order."""
    metric = task_named(summary['task']).measures[0]
    steps = summary['steps']
    taught = {name: entry['step'] for entry in steps for name in entry['classes']}
    names = list(dict.fromkeys(name for entry in steps for name in entry['per_class']))
    rank = {name: index for index, name in enumerate(summary['class_order'])}
    names.sort(key=lambda name: rank.get(name, -1))
    histories = []
    for name in names:
        values = [entry['per_class'].get(name, {}).get(metric) for entry in steps]
        by_step = {entry['step']: value for entry, value in zip(steps, values, strict=True)}
        then = by_step.get(taught.get(name, -1))
        losses = [
            _loss(then, value) if entry['step'] > taught.get(name, entry['step']) else None
            for entry, value in zip(steps, values, strict=True)
        ]
        histories.append(ClassHistory(name, taught.get(name), values, losses))
    return histories


def _loss(then: float | None, now: float | None) -> float | None:
    return None if then is None or now is None else then - now


def by_loss(histories: Sequence[ClassHistory]) -> list[ClassHistory]:
    """Return the classes that have a loss, those that lost most first."""
    known = [history for history in histories if history.lost is not None]
    return sorted(known, key=lambda history: -(history.lost or 0.0))


@dataclass(frozen=True)
class ConfusionTable:
    """How the pixels of each class were predicted, classes in learning order.

    Attributes:
        rows: Classes of the ground truth: those that were taught; then, if they have pixels, all
            that are not taught yet, and the unlabelled ones.
        columns: Predicted classes, and nothing.
        pixels: (rows, columns), int64.
        shares: Percent of the pixels of a row; NaN where it has none.
    """

    rows: Sequence[str]
    columns: Sequence[str]
    pixels: NDArray[np.int64]
    shares: NDArray[np.float64]

    def cells(self) -> list[tuple[str, int, list[tuple[float | None, int]]]]:
        """Return of each row its name, its pixels, and share and pixels of each column."""
        return [
            (
                name,
                int(pixels.sum()),
                [(nan_to_none(s), int(p)) for s, p in zip(shares, pixels, strict=True)],
            )
            for name, pixels, shares in zip(self.rows, self.pixels, self.shares, strict=True)
        ]

    def takers(self, name: str, most: int = 5) -> list[tuple[str, float]]:
        """Return the classes that most of a class went to, and percent of its pixels."""
        row = self.rows.index(name)
        order = np.argsort(-self.pixels[row], kind='stable').tolist()
        found = [
            (self.columns[column], float(self.shares[row, column]))
            for column in order
            if self.columns[column] != name and self.shares[row, column] >= _LEAST_SHARE
        ]
        return found[:most]


def confusion_table(evaluation: Evaluation, seen: Sequence[str]) -> ConfusionTable | None:
    """Return the confusion of the classes that were taught, or None if it is not known.

    Args:
        evaluation: What the evaluation left.
        seen: Names of the classes with a value, in learning order.
    """
    if evaluation.confusion is None:
        return None
    size = len(evaluation.classes)
    labels = [evaluation.classes.index(name) for name in seen if name in evaluation.classes]
    later = [label for label in range(size) if label not in set(labels)]
    counts = evaluation.confusion
    rows = [*counts[labels], counts[later].sum(axis=0), counts[size]]
    pixels = np.array([[*row[labels], row[later].sum() + row[size]] for row in rows])
    names = [evaluation.classes[label] for label in labels]
    kept = [i for i in range(len(rows)) if i < len(labels) or pixels[i].any()]
    totals = pixels.sum(axis=1, keepdims=True).astype(np.float64)
    shares = 100 * pixels / np.where(totals > 0, totals, np.nan)
    row_names = [*names, NOT_TAUGHT, UNLABELLED]
    return ConfusionTable(
        [row_names[i] for i in kept], [*names, NOTHING_PREDICTED], pixels[kept], shares[kept]
    )


def of_machines(steps: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return devices and versions of the steps, each value once."""
    found: dict[str, list[str]] = {}
    for entry in steps:
        machine = entry.get('machine') or {}
        pairs = {'device': machine.get('device'), **(machine.get('versions') or {})}
        for key, value in pairs.items():
            if value is not None and str(value) not in found.setdefault(key, []):
                found[key].append(str(value))
    return {key: ', '.join(values) for key, values in found.items()}
