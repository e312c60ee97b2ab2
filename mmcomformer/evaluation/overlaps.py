"""How many pixels each pair of values has in two maps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# values of one map in a key of two; COCO's ids have 24 bits
_BITS = 32
_LOWEST, _HIGHEST = -(2 ** (_BITS - 1)), 2 ** (_BITS - 1) - 1


def count_overlaps(
    first: NDArray[np.integer], second: NDArray[np.integer]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Count the pixels of each pair of values that two maps have at the same place.

    Args:
        first: Integers of shape (H, W), of 32 bits with sign.
        second: The same.

    Returns:
        The p pairs that occur, in ascending order: the value in the first map, the value in the
        second, and the number of pixels, each int64 of shape (p,).

    Raises:
        TypeError: If a map does not hold integers.
        ValueError: If the shapes differ, or a value has more bits.

    Example:
        >>> pairs = count_overlaps(np.array([[0, 1], [1, 1]]), np.array([[5, 5], [5, 9]]))
        >>> [values.tolist() for values in pairs]
        [[0, 1, 1], [5, 5, 9], [1, 2, 1]]
    """
    if first.shape != second.shape:
        raise ValueError(f'expected maps of one shape, got {first.shape} and {second.shape}')
    high, low = (_checked(ids).astype(np.int64) for ids in (first, second))
    pairs, areas = np.unique((high << _BITS) + (low - _LOWEST), return_counts=True)
    return pairs >> _BITS, (pairs & (2**_BITS - 1)) + _LOWEST, areas.astype(np.int64)


def _checked(ids: NDArray[np.integer]) -> NDArray[np.integer]:
    if ids.dtype.kind not in 'iu':
        raise TypeError(f'expected a map of integers, got dtype {ids.dtype}')
    if ids.size and not np.can_cast(ids.dtype, np.int32):
        low, high = int(ids.min()), int(ids.max())
        if not _LOWEST <= low <= high <= _HIGHEST:
            raise ValueError(f'expected ids of {_BITS} bits with sign, got {low} to {high}')
    return ids
