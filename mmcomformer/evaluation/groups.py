"""Continual-learning figures from per-class values: groups of classes, average, forgetting.

Pure Python. A value is a number, or None (NaN counts as None) where there is none: a class that
neither occurs nor is predicted, or a step that has not run.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from ..scenario import Scenario

Values = Mapping[str, float | None]
GROUPS = ('base', 'new', 'all')


def _known(value: float | None) -> bool:
    return value is not None and not math.isnan(value)


def mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that are there, or None if none is.

    Example:
        >>> mean([1.0, None, 3.0]), mean([float('nan')])
        (2.0, None)
    """
    known = [value for value in values if value is not None and _known(value)]
    return math.fsum(known) / len(known) if known else None


def group_means(
    values: Values,
    scenario: Scenario,
    *,
    num_base: int | None = None,
    background: str | None = None,
) -> dict[str, float | None]:
    """Return the means over the base, the new and all classes that have been seen.

    Args:
        values: Value per class name; classes that are not seen may be left out.
        scenario: The scenario at the step that was evaluated. *Base* are the classes of step 0,
            *new* the seen classes of later steps, *all* both together.
        num_base: Count this many classes, in learning order, as base instead of those of step 0:
            for joint training, to compare it with a scenario of more steps.
        background: Name of a class that counts as base besides those, though no step teaches it.

    Returns:
        The means under ``base``, ``new`` and ``all``, None where no class has a value.

    Raises:
        ValueError: If a seen class or the background is missing, or fewer than ``num_base``
            classes are seen.

    Example:
        >>> scenario = Scenario([2, 1], ['cat', 'dog'], ['sky'], step=1)
        >>> group_means({'cat': 10.0, 'dog': None, 'sky': 40.0}, scenario)
        {'base': 10.0, 'new': 40.0, 'all': 25.0}
    """
    always = () if background is None else (background,)
    missing = [name for name in (*always, *scenario.seen_classes) if name not in values]
    if missing:
        raise ValueError(f'values: seen classes {missing[:5]} are missing; give None for no value')
    seen = scenario.seen_classes
    num_base = len(scenario.base_classes) if num_base is None else num_base
    if not 0 < num_base <= len(seen):
        raise ValueError(f'num_base: expected 1 to {len(seen)} (the seen classes), got {num_base}')
    members = ((*always, *seen[:num_base]), seen[num_base:], (*always, *seen))
    return {
        group: mean(values[name] for name in names)
        for group, names in zip(GROUPS, members, strict=True)
    }


def average_over_steps(values: Sequence[float | None]) -> float | None:
    """Return the mean of the steps' values of all seen classes, step 0 included.

    None if the value of any step is unknown: an average over some steps would look comparable and
    is not.

    Example:
        >>> average_over_steps([60.0, 50.0]), average_over_steps([None, 50.0])
        (55.0, None)
    """
    return mean(values) if all(_known(value) for value in values) else None


def forgetting(
    history: Sequence[Values | None], step_classes: Sequence[Sequence[str]]
) -> float | None:
    """Return how much the classes taught before the last step have lost since.

    The mean, over those classes, of the value at the step that taught them minus the value now.
    Negative where they gained. A class without a value at either step leaves the mean.

    Args:
        history: Per step from 0 to the last one, the value per class name; None for a step that
            is unknown.
        step_classes: Per step, the names of the classes that it taught.

    Returns:
        The mean loss, or None where a step is unknown or no class was taught before the last step.

    Raises:
        ValueError: If the lengths differ.

    Example:
        >>> forgetting([{'cat': 60.0}, {'cat': 50.0, 'sky': 70.0}], [['cat'], ['sky']])
        10.0
    """
    if len(history) != len(step_classes):
        raise ValueError(
            f'history and step_classes: expected one entry per step each, got {len(history)} and '
            f'{len(step_classes)}'
        )
    known = [values for values in history if values is not None]
    if not known or len(known) < len(history):
        return None
    now = known[-1]
    taught = zip(known[:-1], step_classes[:-1], strict=True)
    return mean(_loss(then, now, name) for then, names in taught for name in names)


def _loss(then: Values, now: Values, name: str) -> float | None:
    before, after = then.get(name), now.get(name)
    return None if before is None or after is None else before - after
