"""Choosing images whose classes are as frequent, together, as a goal says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix


def choose_proportionally(
    counts: csr_matrix, number: int, goal: np.ndarray, held: np.ndarray
) -> list[int]:
    """Choose images so that the frequencies of classes approach those of a goal, greedily.

    Each time the image a is added to the held counts n that minimises
    ``|| (n + a) / sum(n + a) - goal / sum(goal) ||_1``; of equal ones the first.

    Multiplied by both divisors the distance is a sum of integers. All classes that an image lacks
    contribute the same as for any other image with as many segments, so a choice takes as long as
    the pool has entries, not images times classes.

    Args:
        counts: Segments of each class of P images, sparse, int64, shape (P, C); every image has
            one at least.
        number: How many images to choose, at most P.
        goal: Segments of each class, int64, shape (C,), not all zero.
        held: Segments of each class that are there before, int64, shape (C,).

    Returns:
        Rows of ``counts``, in the order in which they were chosen.

    Example:
        >>> pool = csr_matrix([[3, 0], [1, 1], [0, 1]])
        >>> choose_proportionally(pool, 2, np.array([4, 2]), np.array([0, 0]))
        [1, 0]
    """
    pool = _Pool.of(counts)
    total, held = int(goal.sum()), held.copy()
    chosen: list[int] = []
    for _ in range(number):
        distances = pool.distances(held, goal, total)
        distances[chosen] = np.inf
        # the first of the smallest: fractions of integers below 2^53 that are equal stay equal
        chosen.append(int(distances.argmin()))
        held += counts[chosen[-1]].toarray()[0]
    return chosen


@dataclass(frozen=True)
class _Pool:
    """Images to choose from, as what tells their distances at once.

    Attributes:
        sizes: The numbers of segments that occur, shape (S,).
        size_of: Which of them each image has, shape (P,).
        size, label, added: One row for each combination of these that occurs, shape (U,): images of
            that size add so many segments of that label.
        rows_of: Which rows an image has, sparse, ones, shape (P, U).
    """

    sizes: np.ndarray
    size_of: np.ndarray
    size: np.ndarray
    label: np.ndarray
    added: np.ndarray
    rows_of: csr_matrix

    @classmethod
    def of(cls, counts: csr_matrix) -> _Pool:
        sizes, size_of = np.unique(counts.sum(1).A1, return_inverse=True)
        image = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
        entries = np.stack([size_of[image], counts.indices, counts.data])
        # one number for each entry: rows are found faster than those of an array
        shape = tuple(entries.max(1, initial=0) + 1)
        keys, row_of = np.unique(np.ravel_multi_index(tuple(entries), shape), return_inverse=True)
        rows_of = csr_matrix(
            (np.ones_like(row_of), row_of, counts.indptr), (counts.shape[0], len(keys))
        )
        size, label, added = np.asarray(np.unravel_index(keys, shape))
        return cls(sizes, size_of, size, label, added, rows_of)

    def distances(self, held: np.ndarray, goal: np.ndarray, total: int) -> np.ndarray:
        """Return the distance to the goal that each image would lead to, times ``total``."""
        totals = held.sum() + self.sizes
        # (S, C): what each class is too many, before the image adds to it
        excess = total * held - totals[:, None] * goal
        before = excess[self.size, self.label]
        change = np.abs(before + total * self.added) - np.abs(before)
        # (P,): all classes as if the image had none, and those that it has
        distance = np.abs(excess).sum(1)[self.size_of] + self.rows_of @ change
        return distance / totals[self.size_of]
