"""Ties, large counts and what is held already; whole selections are in test_memory.py."""

import numpy as np
from scipy.sparse import csr_matrix

from mmcomformer.datasets.proportional_choice import choose_proportionally


def test_equally_good_images():
    """Twice the same, and another one at the same distance: the first wins."""
    pool = csr_matrix([[0, 2], [2, 0], [1, 1], [1, 1], [2, 2]])
    goal, nothing = np.array([3, 3]), np.array([0, 0])
    assert choose_proportionally(pool, 3, goal, nothing) == [2, 3, 4]
    assert choose_proportionally(pool[[0, 1]], 1, goal, nothing) == [0]


def test_fractions_that_floats_do_not_tell_apart():
    """Sums of rounded shares differ in the last digit for images that are equally good."""
    pool = csr_matrix([[1, 2, 7], [10, 20, 70], [3, 6, 21]])
    assert choose_proportionally(pool, 3, np.array([1, 2, 7]), np.array([0, 0, 0])) == [0, 1, 2]


def test_what_is_held_counts():
    pool = csr_matrix([[1, 0], [0, 1]])
    assert choose_proportionally(pool, 1, np.array([1, 1]), np.array([3, 0])) == [1]
    assert choose_proportionally(pool, 1, np.array([1, 1]), np.array([0, 3])) == [0]


def test_large_counts():
    """As many segments as ten times COCO's, in integers of 64 bits."""
    pool = csr_matrix(np.array([[9_000_000, 1], [1, 9_000_000], [5_000_000, 5_000_000]]))
    goal = np.array([10_000_000, 10_000_000])
    assert choose_proportionally(pool, 3, goal, np.array([0, 0])) == [2, 0, 1]
