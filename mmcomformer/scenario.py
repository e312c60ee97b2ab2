"""Class arithmetic of a continual-learning scenario.

Pure Python: no torch, no OpenMMLab library, no file access.
"""

from __future__ import annotations

import hashlib
import operator
import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, SupportsIndex

from .spelling import check_keys


@dataclass(frozen=True)
class _Setting:
    """What a setting lets a step see: which images, and which labels in them.

    An image is told by the dataset labels that it holds and by its name.
    """

    keeps_image: Callable[[Collection[int], str, Scenario], bool]
    shows_label: Callable[[int, Scenario], bool]


def _has_current(labels: Collection[int], name: str, scenario: Scenario) -> bool:
    return not scenario.current_labels.isdisjoint(labels)


def _has_current_and_nothing_later(labels: Collection[int], name: str, scenario: Scenario) -> bool:
    return _has_current(labels, name, scenario) and scenario.later_labels.isdisjoint(labels)


def _belongs_to_current(labels: Collection[int], name: str, scenario: Scenario) -> bool:
    # most images need no draw
    if not _has_current(labels, name, scenario):
        return False
    to_learn = scenario.seen_labels | scenario.later_labels
    # one weight per image and class, so that neither the order of the classes nor one that is
    # added later moves an image between the others
    drawn = max(
        to_learn.intersection(labels),
        key=lambda label: _weight(scenario.partition_seed, name, scenario.classes[label]),
    )
    return drawn in scenario.current_labels


def _weight(seed: int, name: str, class_name: str) -> bytes:
    return hashlib.sha256(f'{seed}\0{name}\0{class_name}'.encode('utf-8', 'surrogatepass')).digest()


def _is_current(label: int, scenario: Scenario) -> bool:
    return label in scenario.current_labels


SETTINGS: Mapping[str, _Setting] = {
    'overlap': _Setting(_has_current, _is_current),
    'disjoint': _Setting(_has_current_and_nothing_later, _is_current),
    'sequential': _Setting(
        _has_current_and_nothing_later, lambda label, scenario: label in scenario.seen_labels
    ),
    'partitioned': _Setting(_belongs_to_current, _is_current),
}


@dataclass(frozen=True)
class Scenario:
    """Which classes are learned at which step, and how two label spaces map to each other.

    *Dataset labels* number the classes as the dataset does: things first, then stuff; a dataset
    for semantic segmentation, which does not tell them apart, lists all its classes as stuff.
    *Learning indices* number them in the order in which they are learned. Steps count from 0.

    Args:
        increments: Number of classes that each step adds; they add up to the classes to learn.
        thing_classes: Names of the thing classes, in dataset label order.
        stuff_classes: Names of the stuff classes, in dataset label order; they follow the things.
        class_order: Every class to learn, by name, in learning order; dataset classes that it
            leaves out are never learned. Defaults to all classes in dataset label order, without
            the background.
        setting: ``overlap``, ``disjoint`` or ``sequential`` (reference: CoMFormer, section 4,
            after Cermelli et al., "Modeling the Background", 2020), or ``partitioned``, where each
            image is given to one of its classes at random and belongs to the step of that class
            (arXiv 2405.09858).
        step: The current step, in ``[0, len(increments))``; a string of digits is accepted because
            ``{{'$STEP:0'}}`` in a config may give one.
        background: Name of the dataset class that stands for "none of the others", such as
            Pascal VOC's ``background``. It is not learned: a pixel that no segment covers belongs
            to it. None where the dataset has no such class.
        partition_seed: What ``partitioned`` gives images to classes by, besides the names of the
            image and of its classes.

    Raises:
        TypeError: If an increment, the step or the seed is not an integer, or the background not a
            name.
        ValueError: If a name is unknown or repeated, the increments do not fit the order, the
            background is to be learned, the setting is unknown, or the step is out of range.

    Example:
        >>> scenario = Scenario(
        ...     increments=[2, 1],
        ...     thing_classes=['cat', 'dog'],
        ...     stuff_classes=['sky'],
        ...     class_order=['sky', 'dog', 'cat'],
        ...     step=1,
        ... )
        >>> scenario.current_classes, scenario.old_classes
        (('cat',), ('sky', 'dog'))
        >>> scenario.learning_to_label
        (2, 1, 0)
    """

    increments: Sequence[int]
    thing_classes: Sequence[str]
    stuff_classes: Sequence[str]
    class_order: Sequence[str] | None = None
    setting: str = 'overlap'
    step: int = 0
    background: str | None = None
    partition_seed: int = 0

    classes: tuple[str, ...] = field(init=False, repr=False, compare=False)
    order: tuple[str, ...] = field(init=False, repr=False, compare=False)
    learning_to_label: tuple[int, ...] = field(init=False, repr=False, compare=False)
    current_labels: frozenset[int] = field(init=False, repr=False, compare=False)
    seen_labels: frozenset[int] = field(init=False, repr=False, compare=False)
    later_labels: frozenset[int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Normalise the arguments to tuples, check them and derive the label sets."""
        derive = object.__setattr__
        derive(self, 'thing_classes', _names('thing_classes', self.thing_classes))
        derive(self, 'stuff_classes', _names('stuff_classes', self.stuff_classes))
        derive(self, 'classes', (*self.thing_classes, *self.stuff_classes))
        derive(self, 'increments', _check_increments(self.increments))
        self._check_background()
        derive(self, 'order', self._check_order())
        if self.class_order is not None:
            derive(self, 'class_order', self.order)
        if self.setting not in SETTINGS:
            raise ValueError(
                f'scenario.setting: expected one of {sorted(SETTINGS)}, got {self.setting!r}'
            )
        derive(self, 'partition_seed', _check_seed(self.partition_seed))
        derive(self, 'step', parse_step(self.step, num_steps=self.num_steps))
        to_label = {name: label for label, name in enumerate(self.classes)}
        labels = tuple(to_label[name] for name in self.order)
        derive(self, 'learning_to_label', labels)
        first, last = self._bounds(self.step)
        derive(self, 'current_labels', frozenset(labels[first:last]))
        derive(self, 'seen_labels', frozenset(labels[:last]))
        derive(self, 'later_labels', frozenset(labels[last:]))

    def _check_background(self) -> None:
        if self.background is None:
            return
        if not isinstance(self.background, str):
            raise TypeError(f'scenario.background: expected a class name, got {self.background!r}')
        if self.background not in self.classes:
            raise ValueError(
                f'scenario.background: {self.background!r} is not a class of the dataset; '
                f'expected one of {list(self.classes)}, or None'
            )
        if self.class_order is not None and self.background in self.class_order:
            raise ValueError(
                f'scenario.class_order: it holds the background, {self.background!r}, which is '
                f'not learned; remove it there'
            )

    def _check_order(self) -> tuple[str, ...]:
        _check_unique('thing_classes + stuff_classes', self.classes)
        if self.class_order is None:
            order = tuple(name for name in self.classes if name != self.background)
        else:
            order = _names('class_order', self.class_order)
            _check_unique('class_order', order)
        unknown = [name for name in order if name not in set(self.classes)]
        if unknown:
            raise ValueError(
                f'scenario.class_order: {unknown} are not classes of the dataset; '
                f'expected names out of {list(self.classes)}'
            )
        if sum(self.increments) != len(order):
            raise ValueError(
                f'scenario.increments: {list(self.increments)} add up to {sum(self.increments)} '
                f'classes, but there are {len(order)} classes to learn; change the increments, or '
                f'name in class_order exactly the classes to learn'
            )
        return order

    def _bounds(self, step: int) -> tuple[int, int]:
        first = sum(self.increments[:step])
        return first, first + self.increments[step]

    @classmethod
    def from_config(cls, config: Scenario | Mapping[str, Any] | None) -> Scenario:
        """Build a scenario from a config's ``scenario`` dict (a scenario is returned as it is).

        ``thing_classes`` may be left out where nothing is a thing.

        Raises:
            TypeError: If it is missing, not a dict, or has an unknown key.
        """
        if isinstance(config, Scenario):
            return config
        return cls(**{'thing_classes': (), **scenario_settings(config)})

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists, strings and integers that :meth:`from_config` accepts."""
        config = {
            'increments': list(self.increments),
            'thing_classes': list(self.thing_classes),
            'stuff_classes': list(self.stuff_classes),
            'setting': self.setting,
            'step': self.step,
        }
        if self.class_order is not None:
            config['class_order'] = list(self.class_order)
        if self.background is not None:
            config['background'] = self.background
        if self.partition_seed or self.setting == 'partitioned':
            config['partition_seed'] = self.partition_seed
        return config

    def at_step(self, step: int) -> Scenario:
        """Return the same scenario at another step."""
        return Scenario.from_config({**self.to_dict(), 'step': step})

    @property
    def num_steps(self) -> int:
        """Number of steps."""
        return len(self.increments)

    @property
    def num_things(self) -> int:
        """Number of thing classes of the dataset; labels below it are things."""
        return len(self.thing_classes)

    @property
    def num_stuff(self) -> int:
        """Number of stuff classes of the dataset."""
        return len(self.stuff_classes)

    @property
    def num_classes(self) -> int:
        """Number of classes of the dataset, learned or not."""
        return len(self.classes)

    @property
    def background_label(self) -> int | None:
        """Dataset label of the background class; None where there is none."""
        return None if self.background is None else self.classes.index(self.background)

    @property
    def num_old(self) -> int:
        """Number of classes learned before the current step."""
        return self._bounds(self.step)[0]

    @property
    def num_seen(self) -> int:
        """Number of classes learned up to and including the current step."""
        return self._bounds(self.step)[1]

    @property
    def seen_increments(self) -> tuple[int, ...]:
        """Increments of the steps up to and including the current one."""
        return tuple(self.increments[: self.step + 1])

    def step_classes(self, step: int) -> tuple[str, ...]:
        """Return the names of the classes that a step teaches, in learning order."""
        first, last = self._bounds(step)
        return self.order[first:last]

    @property
    def base_classes(self) -> tuple[str, ...]:
        """Names of the classes of step 0."""
        return self.step_classes(0)

    @property
    def current_classes(self) -> tuple[str, ...]:
        """Names of the classes that the current step teaches."""
        return self.step_classes(self.step)

    @property
    def old_classes(self) -> tuple[str, ...]:
        """Names of the classes learned before the current step."""
        return self.order[: self.num_old]

    @property
    def new_classes(self) -> tuple[str, ...]:
        """Names of the seen classes that step 0 did not teach."""
        return self.order[self.increments[0] : self.num_seen]

    @property
    def seen_classes(self) -> tuple[str, ...]:
        """Names of the classes learned up to and including the current step."""
        return self.order[: self.num_seen]

    @property
    def seen_learning_to_label(self) -> tuple[int, ...]:
        """Dataset label of each seen class, in learning order."""
        return self.learning_to_label[: self.num_seen]

    @property
    def label_to_learning(self) -> tuple[int, ...]:
        """Learning index of each dataset label; -1 where the class has not been seen."""
        to_learning = {label: i for i, label in enumerate(self.seen_learning_to_label)}
        return tuple(to_learning.get(label, -1) for label in range(self.num_classes))

    def keeps_image(self, labels: Collection[int], name: str) -> bool:
        """Tell whether an image belongs to the current step.

        Args:
            labels: The dataset labels that it holds.
            name: Its name in the dataset, with slashes.
        """
        return SETTINGS[self.setting].keeps_image(labels, name, self)

    def shows_label(self, label: int) -> bool:
        """Tell whether training at the current step sees segments of this dataset label."""
        return SETTINGS[self.setting].shows_label(label, self)


_DERIVED = {
    'classes', 'order', 'learning_to_label', 'current_labels', 'seen_labels', 'later_labels',
}  # fmt: skip


def scenario_settings(config: object) -> Mapping[str, Any]:
    """Return the ``scenario`` dict of a config after checking its keys, not their values.

    Raises:
        TypeError: If it is missing, not a dict, or has an unknown key.
    """
    if not isinstance(config, Mapping):
        raise TypeError(
            f'scenario: expected a dict with increments, thing_classes and stuff_classes, got '
            f'{config!r}; inherit one of configs/_base_ and write scenario = dict(increments=[...])'
        )
    check_keys('scenario', config, set(Scenario.__dataclass_fields__) - _DERIVED)
    missing = sorted({'increments', 'stuff_classes'} - set(config))
    if missing:
        raise TypeError(f'scenario: keys {missing} are missing')
    return config


def parse_step(value: object, *, num_steps: int | None = None, source: str = 'step') -> int:
    """Return a step as an integer.

    Args:
        value: An integer, or a string of digits (as an environment variable holds one).
        num_steps: Number of steps of the scenario, if known.
        source: Where the value came from, for the message.

    Raises:
        TypeError: If it is neither an integer nor a string of digits.
        ValueError: If it is negative or not below ``num_steps``.
    """
    if isinstance(value, str) and re.fullmatch(r'-?\d+', value.strip()):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        raise TypeError(f'{source}: expected an integer that counts from 0, got {value!r}')
    value = operator.index(value)
    if value < 0 or (num_steps is not None and value >= num_steps):
        allowed = 'at least 0' if num_steps is None else f'0 to {num_steps - 1}'
        raise ValueError(f'{source}: expected {allowed}, got {value}')
    return value


def step_from_environment() -> int | None:
    """Return the step in the environment variable STEP, or None if it is not set.

    Raises:
        TypeError: If it is not a number.
        ValueError: If it is negative.
    """
    value = os.environ.get('STEP')
    return None if value is None else parse_step(value, source='environment variable STEP')


def ordered(argument: str, values: object, expected: str) -> list[Any]:
    """Return the members of a list, tuple or array; anything without an order is refused.

    The order of a set of strings differs from process to process; that of a dict or generator is
    seldom meant.

    Raises:
        TypeError: If it is something else.
    """
    # arrays of numpy hold numbers and strings of their own types
    values = values.tolist() if hasattr(values, 'tolist') else values
    if isinstance(values, (str, bytes)) or not isinstance(values, Sequence):
        what = (
            f' (a {type(values).__name__}, which has no order)' if isinstance(values, Set) else ''
        )
        raise TypeError(f'{argument}: expected {expected}, got {values!r}{what}')
    return list(values)


def _names(argument: str, names: object) -> tuple[str, ...]:
    found = ordered(f'scenario.{argument}', names, 'a list of class names')
    wrong = [name for name in found if not isinstance(name, str)]
    if wrong:
        raise TypeError(f'scenario.{argument}: expected class names (strings), got {wrong[:5]}')
    return tuple(map(str, found))


def _check_unique(argument: str, names: Sequence[str]) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f'scenario.{argument}: class names {repeated} are repeated')


def _check_increments(increments: object) -> tuple[int, ...]:
    expected = 'a list of class counts such as [100, 50]'
    found = ordered('scenario.increments', increments, expected)
    if not found:
        raise TypeError(f'scenario.increments: expected {expected}, got {increments!r}')
    return tuple(_increment(value) for value in found)


def _check_seed(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        raise TypeError(f'scenario.partition_seed: expected an integer, got {value!r}')
    return operator.index(value)


def _increment(value: object) -> int:
    # numpy's integers are none of Python's
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        raise TypeError(f'scenario.increments: expected integers, got {value!r}')
    increment = operator.index(value)
    if increment < 1:
        raise ValueError(f'scenario.increments: every step adds a class, got {increment}')
    return increment
