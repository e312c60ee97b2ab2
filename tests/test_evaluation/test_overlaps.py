"""Counting pairs of values in two maps, against a plain count."""

from collections import Counter

import numpy as np
import pytest

from mmcomformer.evaluation.overlaps import count_overlaps


def plain_count(first, second):
    pairs = Counter(zip(first.ravel().tolist(), second.ravel().tolist(), strict=True))
    return [[*pair, count] for pair, count in sorted(pairs.items())]


def assert_counted(first, second):
    found = count_overlaps(first, second)
    assert all(column.dtype == np.int64 for column in found)
    assert np.stack(found, axis=1).tolist() == plain_count(first, second)


@pytest.mark.parametrize('dtypes', [('u1', 'u1'), ('u1', 'i4'), ('i4', 'u1'), ('i8', 'u2')])
def test_types(dtypes):
    maps = np.random.default_rng(0).integers(0, 4, (2, 7, 11))
    assert_counted(*(ids.astype(dtype) for ids, dtype in zip(maps, dtypes, strict=True)))


def test_extreme_values_of_each_type():
    rng = np.random.default_rng(0)
    for types in (('u1', 'u1'), ('i1', 'u1'), ('i4', 'i4'), ('u4', 'i8'), ('i8', 'u2')):
        limits = [
            [max(np.iinfo(t).min, -(2**31)), 0, 1, min(np.iinfo(t).max, 2**31 - 1)] for t in types
        ]
        maps = (
            np.array(v, t)[rng.integers(0, 4, (6, 9))] for v, t in zip(limits, types, strict=True)
        )
        assert_counted(*maps)


def test_any_layout_in_memory():
    maps = np.random.default_rng(0).integers(0, 3, (2, 8, 6))
    assert_counted(maps[0].T, maps[1].T)
    assert_counted(maps[0, ::2], maps[1, 1::2])


def test_no_pixel():
    assert [column.tolist() for column in count_overlaps(*np.zeros((2, 0, 4), int))] == [[]] * 3
    assert_counted(np.array([[3]]), np.array([[4]]))


@pytest.mark.parametrize(
    ('second', 'error', 'message'),
    [
        (np.zeros((2, 3)), TypeError, 'expected a map of integers, got dtype float64'),
        (np.zeros((2, 2), int), ValueError, r'one shape, got \(2, 3\) and \(2, 2\)'),
        (np.full((2, 3), 2**31), ValueError, 'ids of 32 bits with sign, got 2147483648 to'),
        (np.full((2, 3), -(2**31) - 1), ValueError, 'ids of 32 bits .*, got -2147483649 to'),
    ],
)
def test_bad_input(second, error, message):
    with pytest.raises(error, match=message):
        count_overlaps(np.zeros((2, 3), int), second)
