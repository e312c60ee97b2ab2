"""Images of earlier steps that a later step is shown again: replay.

Which images these are follows from annotations, scenario and step alone. What a memory holds before
step t is computed anew from steps 0 to t-1, so nothing is handed from step to step, every process
and every resumed run finds the same, and neither the order of the annotations nor the platform
matters.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix, vstack

from ..registry import TASK_UTILS
from ..scenario import Scenario
from ..version import __version__
from .array_cache import Arrays, cached_arrays
from .class_index import ClassIndex
from .proportional_choice import choose_proportionally


@dataclass(frozen=True)
class StoredImages:
    """What is in memory.

    Attributes:
        images: Position of each image in the dataset, in the order in which they were chosen,
            int64, shape (M,).
        shown: Which dataset labels each of them shows: those of the steps at which it was shown
            since it is in memory, of which it holds some or all; bool, shape (M, C).
    """

    images: np.ndarray
    shown: np.ndarray

    @classmethod
    def none(cls, num_classes: int) -> StoredImages:
        """Return an empty memory."""
        return cls(np.zeros(0, np.int64), np.zeros((0, num_classes), bool))

    def __len__(self) -> int:
        """Return the number M of images."""
        return len(self.images)

    def labels(self, position: int) -> frozenset[int]:
        """Return the dataset labels that an image shows."""
        return frozenset(np.flatnonzero(self.shown[position]).tolist())


@dataclass(frozen=True)
class Candidates:
    """The images that a memory is chosen from after a step, the old memory first.

    Both parts are in the order of the images' names, which decides ties.

    Attributes:
        names: Name of each image.
        counts: How many segments of each class it shows, sparse, int64, shape (P, C); in label
            maps a class is one segment.
        num_old: How many of them, the first ones, are in memory already.
        quota: How many images of the old memory are to be kept.
        shown: How many segments of each class all steps so far have shown, int64, shape (C,).
    """

    names: Sequence[str]
    counts: csr_matrix
    num_old: int
    quota: int
    shown: np.ndarray


class ReplayMemory(ABC):
    """A memory of so many images, chosen anew after each step out of its own and those of the step.

    An image shows in memory the labels of the steps at which it was shown, from the step after
    which it was stored on; the rest of it is not labelled.

    Args:
        size: Number of images, or their share of all images that the steps so far have had: a
            float in (0, 1], rounded to a number of at least 1. It has to be given.

    Raises:
        TypeError: If the size is missing or no number.
        ValueError: If it is a number below 1, or a share outside (0, 1].
    """

    def __init__(self, size: int | float | None = None) -> None:
        if isinstance(size, bool) or not isinstance(size, (int, float)):
            raise TypeError(
                f'memory.size: expected a number of images, such as 300, or a share of those seen, '
                f'such as 0.05, got {size!r}'
            )
        if isinstance(size, int) and size < 1:
            raise ValueError(
                f'memory.size: expected at least 1 image, got {size}; leave memory out (or set '
                f'memory=None) to train without one'
            )
        if isinstance(size, float) and not 0 < size <= 1:
            raise ValueError(
                f'memory.size: expected a share of the seen images in (0, 1], got {size}; a number '
                f'of images is an integer'
            )
        self.size = size

    @abstractmethod
    def choose(self, candidates: Candidates, number: int) -> list[int]:
        """Return the positions of the candidates to store, in the order in which they are chosen.

        Args:
            candidates: The images, at least as many as asked for.
            number: How many.
        """

    def before_step(
        self, index: ClassIndex, names: Sequence[str], scenario: Scenario
    ) -> StoredImages:
        """Return what is in memory at a scenario's step; nothing at step 0.

        Args:
            index: The classes of all images of the dataset.
            names: Their names, with slashes.
            scenario: The scenario at the step.

        Raises:
            ValueError: If step 0 has fewer images than are to be stored, or a step before the
                scenario's has none.
        """
        ranked = _Ranked.of(index, names, scenario.num_classes)
        self._check_size(int(ranked.kept(scenario.at_step(0)).sum()), len(names))
        held = _Held.nothing(scenario.num_classes)
        for step in _steps_before(scenario, ranked):
            held = self._after(step, held, ranked)
        return StoredImages(ranked.position[held.ranks], held.shown)

    def _check_size(self, available: int, num_images: int) -> None:
        if isinstance(self.size, int) and self.size > available:
            raise ValueError(
                f'memory.size: expected at most {available}, the number of images of step 0 (of '
                f'{num_images} in the dataset), got {self.size}'
            )

    def _after(self, step: _Step, held: _Held, ranked: _Ranked) -> _Held:
        """Return what is held after a step, out of what was held before it."""
        held = held.shown_again(step, ranked)
        fresh = step.kept.copy()
        fresh[held.ranks] = False
        pool = held.joined(np.flatnonzero(fresh), step, ranked)
        number, num_old, num_fresh = self._number(step.num_seen), len(held.ranks), int(fresh.sum())
        # the part of the old classes, as far as there are images of both kinds
        quota = number * step.scenario.num_old // step.scenario.num_seen
        quota = min(max(quota, number - num_fresh), num_old)
        names = [ranked.names[rank] for rank in pool.ranks.tolist()]
        candidates = Candidates(names, pool.counts, num_old, quota, step.counts_so_far)
        return pool.take(self.choose(candidates, number))

    def _number(self, num_seen: int) -> int:
        if isinstance(self.size, int):
            return self.size
        # half is always rounded up: so the number never grows by more than the step has new images
        return max(1, int(self.size * num_seen + 0.5))


@dataclass(frozen=True)
class _Ranked:
    """The images of a dataset in the order of their names."""

    names: list[str]
    position: np.ndarray
    """Where each is in the dataset."""
    counts: csr_matrix
    """Segments of each class."""
    index: ClassIndex
    unordered: Sequence[str]
    """The names in the order of the dataset, as the index has them."""

    @classmethod
    def of(cls, index: ClassIndex, names: Sequence[str], num_classes: int) -> _Ranked:
        order = sorted(range(len(names)), key=names.__getitem__)
        segments = np.ones_like(index.labels) if index.segments is None else index.segments
        counts = csr_matrix((segments, index.labels, index.offsets), (len(names), num_classes))
        position = np.array(order, dtype=np.int64)
        return cls([names[i] for i in order], position, counts[position], index, names)

    def kept(self, scenario: Scenario) -> np.ndarray:
        """Return which images belong to a step, bool, by rank."""
        return self.index.kept_images(scenario, self.unordered)[self.position]

    def shown_counts(self, rows: np.ndarray, shown: np.ndarray) -> csr_matrix:
        """Return the segments of some images (ranks, or a mask) that have one of some labels."""
        counts = self.counts[rows].copy()
        counts.data *= shown[counts.indices]
        counts.eliminate_zeros()
        return counts


@dataclass(frozen=True)
class _Step:
    """What a step has shown.

    Attributes:
        scenario: The scenario at the step.
        kept: Which images belong to it, bool, by rank.
        labels: Which dataset labels it shows, bool, shape (C,).
        num_seen: How many images this step and those before it have had.
        counts_so_far: How many segments of each class they have shown, int64, shape (C,).
    """

    scenario: Scenario
    kept: np.ndarray
    labels: np.ndarray
    num_seen: int
    counts_so_far: np.ndarray


def _steps_before(scenario: Scenario, ranked: _Ranked) -> Iterator[_Step]:
    seen = np.zeros(len(ranked.names), bool)
    counts = np.zeros(scenario.num_classes, np.int64)
    for step in range(scenario.step):
        at_step = scenario.at_step(step)
        kept = ranked.kept(at_step)
        if not kept.any():
            raise ValueError(
                f'memory: step {step} ({scenario.setting}) has no training image among the '
                f'{len(kept)} of the dataset, so step {scenario.step} cannot be shown any of '
                f'them; give it the images of all steps, or set memory=None'
            )
        labels = np.array([at_step.shows_label(label) for label in range(scenario.num_classes)])
        seen = seen | kept
        counts = counts + ranked.shown_counts(kept, labels).sum(0).A1
        yield _Step(at_step, kept, labels, int(seen.sum()), counts)


@dataclass(frozen=True)
class _Held:
    """Images in memory: their ranks, the segments and the labels that they show."""

    ranks: np.ndarray
    counts: csr_matrix
    shown: np.ndarray

    @classmethod
    def nothing(cls, num_classes: int) -> _Held:
        counts = csr_matrix((0, num_classes), dtype=np.int64)
        return cls(np.zeros(0, np.int64), counts, np.zeros((0, num_classes), bool))

    def shown_again(self, step: _Step, ranked: _Ranked) -> _Held:
        """Add what a step shows of the images that are among its own; sort them by name."""
        again = step.kept[self.ranks][:, None]
        shown = self.shown | (again & step.labels)
        counts = self.counts + ranked.shown_counts(self.ranks, step.labels).multiply(again)
        order = np.argsort(self.ranks)
        return _Held(self.ranks[order], csr_matrix(counts)[order], shown[order])

    def joined(self, ranks: np.ndarray, step: _Step, ranked: _Ranked) -> _Held:
        """Return these images and others, as a step shows them."""
        counts = vstack([self.counts, ranked.shown_counts(ranks, step.labels)], format='csr')
        shown = np.broadcast_to(step.labels, (len(ranks), len(step.labels)))
        return _Held(
            np.concatenate([self.ranks, ranks]), counts, np.concatenate([self.shown, shown])
        )

    def take(self, chosen: Sequence[int]) -> _Held:
        rows = np.array(chosen, dtype=np.int64)
        return _Held(self.ranks[rows], self.counts[rows], self.shown[rows])


@TASK_UTILS.register_module()
class ClassProportionalMemory(ReplayMemory):
    """Images whose classes are as frequent as in all that was shown (BalConpas, arXiv 2407.16354).

    After step t with K_t seen classes, floor(size x K_{t-1} / K_t) of the images come out of the
    old memory, the others out of the images of step t that are not in it; where one kind has too
    few, the other gives the rest. Each part is chosen greedily, see
    :func:`choose_proportionally`.

    Note:
        The released program breaks ties by the order of a set, another one in each process; here
        the first name wins. Nothing is rounded: distances are compared as fractions.

    Args:
        size: See :class:`ReplayMemory`.
    """

    def choose(self, candidates: Candidates, number: int) -> list[int]:
        """Choose each part by the distance of the class frequencies to those of all steps."""
        counts, first = candidates.counts, candidates.num_old
        goal = candidates.shown
        nothing = np.zeros_like(goal)
        kept = choose_proportionally(counts[:first], candidates.quota, goal, nothing)
        held = counts[kept].sum(0).A1 if kept else nothing
        fresh = choose_proportionally(counts[first:], number - len(kept), goal, held)
        return [*kept, *(first + row for row in fresh)]


@TASK_UTILS.register_module()
class RandomMemory(ReplayMemory):
    """A random sample of all images seen so far, each as likely as any other.

    Each image draws a number from its name and the seed once and for all, and the smallest numbers
    stay: so the memory of a step is a sample of all steps before, not only of the last ones.

    Args:
        size: See :class:`ReplayMemory`.
        seed: Another seed gives another sample.

    Raises:
        TypeError: If the seed is no integer.
    """

    def __init__(self, size: int | float | None = None, seed: int = 0) -> None:
        super().__init__(size)
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise TypeError(f'memory.seed: expected an integer, got {seed!r}')
        self.seed = seed

    def choose(self, candidates: Candidates, number: int) -> list[int]:
        """Choose the images with the smallest numbers."""
        drawn = [self._draw(name) for name in candidates.names]
        return sorted(range(len(drawn)), key=drawn.__getitem__)[:number]

    def _draw(self, name: str) -> bytes:
        return hashlib.sha256(f'{self.seed}\0{name}'.encode('utf-8', 'surrogatepass')).digest()


def cached_memory(
    memory: ReplayMemory,
    index: ClassIndex,
    names: Sequence[str],
    scenario: Scenario,
    folder: str | Path | None,
) -> StoredImages:
    """Return what is in memory at a step, from a file if it was computed for the same data before.

    With a folder every process of a distributed run has to take part; one computes.

    Args:
        memory: The memory.
        index: The classes of all images of the dataset.
        names: Their names, with slashes.
        scenario: The scenario at the step.
        folder: Where the file is kept; None keeps none.

    Raises:
        ValueError: See :meth:`ReplayMemory.before_step`.
    """

    def compute() -> Arrays:
        stored = memory.before_step(index, names, scenario)
        return {'images': stored.images, 'shown': stored.shown}

    # nothing to choose, but its size to be checked
    if folder is None or scenario.step == 0:
        return StoredImages(**compute())
    settings = {'type': type(memory).__qualname__, **vars(memory)}
    rule = json.dumps([settings, scenario.to_dict()], sort_keys=True, default=str)
    path = Path(folder) / f'memory_{hashlib.sha256(rule.encode()).hexdigest()[:16]}.npz'
    accept = partial(_is_memory, num_images=len(index), num_classes=scenario.num_classes)
    key = partial(_key, rule, index, names)
    return StoredImages(**cached_arrays(path, key=key, compute=compute, accept=accept))


def _key(rule: str, index: ClassIndex, names: Sequence[str]) -> str:
    """Return a hash of all that a choice depends on."""
    digest = hashlib.sha256(json.dumps([__version__, rule, list(names)]).encode())
    for array in (index.labels, index.offsets, index.segments):
        digest.update(b'' if array is None else np.ascontiguousarray(array).tobytes())
        digest.update(b'\0')
    return digest.hexdigest()


def _is_memory(arrays: Arrays, *, num_images: int, num_classes: int) -> bool:
    """Tell whether arrays are a memory of a dataset of so many images and classes."""
    if set(arrays) != {'images', 'shown'}:
        return False
    images, shown = arrays['images'], arrays['shown']
    if images.dtype != np.int64 or images.ndim != 1 or shown.dtype != bool:
        return False
    return (
        shown.shape == (len(images), num_classes)
        and len(np.unique(images)) == len(images)
        and bool(((images >= 0) & (images < num_images)).all())
    )
