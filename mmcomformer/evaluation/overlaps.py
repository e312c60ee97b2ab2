"""How many pixels each pair of values has in two maps.

Pure NumPy. Segments are connected, so both maps are constant along most of a row: what is counted
are runs, of which there are about a hundred times fewer than pixels.

Letters in shapes: H W pixels, p different pairs, r runs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# pixels of a word of changes
_WORD = 32
_EXPONENT_BIAS = 127
_EXPONENT_SHIFT = 23
# bits of a run's length, and the longest run; a longer one is cut
_LENGTH_BITS = 16
_LONGEST = 2**_LENGTH_BITS - 1
# bits of a value: COCO's ids have 24
_VALUE_BITS = 24
# share of the words with a change above which looking at each pixel is faster
_DENSE = 0.75


def count_overlaps(
    first: NDArray[np.integer], second: NDArray[np.integer]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Count the pixels of each pair of values that two maps have at the same place.

    Args:
        first: Integers of shape (H, W), of any range that int64 holds.
        second: Integers of the same shape. Two maps of 8 bits each are fastest.

    Returns:
        The pairs that occur, in ascending order: the value in the first map, the value in the
        second, and the number of pixels, each int64 of shape (p,).

    Raises:
        TypeError: If a map does not hold integers.
        ValueError: If the shapes differ.

    Example:
        >>> pairs = count_overlaps(np.array([[0, 1], [1, 1]]), np.array([[5, 5], [5, 9]]))
        >>> [values.tolist() for values in pairs]
        [[0, 1, 1], [5, 5, 9], [1, 2, 1]]
    """
    for ids in (first, second):
        if ids.dtype.kind not in 'iu':
            raise TypeError(f'expected a map of integers, got dtype {ids.dtype}')
    if first.shape != second.shape:
        raise ValueError(f'expected maps of one shape, got {first.shape} and {second.shape}')
    if not first.size:
        return (np.zeros(0, np.int64),) * 3
    flat = first.ravel(), second.ravel()
    ends = _run_ends(*flat)
    lengths = ends + 1
    lengths[1:] -= lengths[:-1]
    small = first.dtype == second.dtype == np.uint8
    bits, dtype = (8, np.uint32) if small else (_VALUE_BITS, np.uint64)
    (of_first, first_ids), (of_second, second_ids) = (
        _within(ids.take(ends), bits, dtype) for ids in flat
    )
    of_first, of_second, areas = _sum_lengths(of_first, of_second, lengths.astype(dtype), bits)
    if first_ids is not None:
        of_first = first_ids[of_first]
    if second_ids is not None:
        of_second = second_ids[of_second]
    return of_first, of_second, areas


def _run_ends(first: NDArray[np.integer], second: NDArray[np.integer]) -> NDArray[Any]:
    """Return the last pixel of each run in which both flat maps are constant, ascending, (r,)."""
    last = first.size - 1
    changes = np.empty((last // _WORD + 1) * _WORD, dtype=bool)
    np.not_equal(first[1:], first[:-1], out=changes[:last])
    changes[:last] |= second[1:] != second[:-1]
    changes[last] = True
    changes[last + 1 :] = False
    changes[_LONGEST - 1 : last : _LONGEST] = True
    return _set_positions(changes)


def _set_positions(flags: NDArray[np.bool_]) -> NDArray[Any]:
    """Return where flags (a multiple of 32) are set, ascending; like ``np.flatnonzero``.

    Each word of 32 flags gives its lowest set bit, until none is left: where few are set, this
    is faster than looking at all of them.
    """
    words = np.packbits(flags, bitorder='little').view('<u4')
    index = (words != 0).nonzero()[0]
    if index.size > _DENSE * words.size or flags.size > np.iinfo(np.int32).max:
        return np.flatnonzero(flags)
    words, offset = words.take(index), index.astype(np.int32)
    offset *= _WORD
    offset -= _EXPONENT_BIAS
    found = []
    while words.size:
        lowest = words & -words
        # the exponent of a power of two, as a float, is the position of its bit
        position = lowest.astype(np.float32).view(np.int32)
        position >>= _EXPONENT_SHIFT
        position += offset
        found.append(position)
        words ^= lowest
        left = (words != 0).nonzero()[0]
        words, offset = words.take(left), offset.take(left)
    positions = np.concatenate(found)
    positions.sort()
    return positions


def _within(
    ids: NDArray[np.integer], bits: int, dtype: type[np.unsignedinteger]
) -> tuple[NDArray[Any], NDArray[np.int64] | None]:
    """Return ids as numbers of some bits, and the id of each number if they are not the same."""
    numbers = ids.astype(dtype)
    always_fits = ids.dtype.kind == 'u' and 8 * ids.dtype.itemsize <= bits
    # a negative id has become a large number
    if always_fits or not int(numbers.max()) >> bits:
        return numbers, None
    named, numbers = np.unique(ids, return_inverse=True)
    return numbers.reshape(-1).astype(dtype), named.astype(np.int64)


def _sum_lengths(
    first: NDArray[Any], second: NDArray[Any], lengths: NDArray[Any], bits: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Add the lengths of the runs (r,) of each pair of values.

    Both values, of some bits each, and the length become one number, so that one sort brings equal
    pairs together. The three arrays have the same unsigned type; ``first`` is overwritten.
    """
    runs = first
    runs <<= bits
    runs |= second
    runs <<= _LENGTH_BITS
    runs |= lengths
    runs.sort()
    pairs = runs >> _LENGTH_BITS
    is_first = np.empty(pairs.size, dtype=bool)
    is_first[0] = True
    np.not_equal(pairs[1:], pairs[:-1], out=is_first[1:])
    starts = is_first.nonzero()[0]
    runs &= _LONGEST
    areas = np.add.reduceat(runs, starts, dtype=np.int64)
    different = pairs.take(starts).astype(np.int64)
    return different >> bits, different & (2**bits - 1), areas
