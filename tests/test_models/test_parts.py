"""Connected parts against a flood fill, pixel by pixel."""

import numpy as np
import pytest
import torch

from mmcomformer.models.parts import split_parts


def flooded(slots, slot):
    """Return the sets of pixels of a slot that touch, in the order of their first pixels."""
    left = {(int(y), int(x)) for y, x in zip(*np.nonzero(slots == slot), strict=True)}
    parts = []
    while left:
        part, edge = set(), [min(left)]
        while edge:
            y, x = edge.pop()
            if (y, x) in left:
                left.remove((y, x))
                part.add((y, x))
                edge += [(y + i, x + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        parts.append(part)
    return parts


@pytest.mark.parametrize('share', [0.0, 0.1, 0.25, 0.5, 1.0])
def test_equals_a_flood_fill(share):
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(80):
        slots = rng.integers(-1, 4, rng.integers(2, 9, 2))
        may = rng.random(4) < 0.7
        owner, parents = split_parts(torch.from_numpy(slots), torch.from_numpy(may), share)
        assert owner.dtype == parents.dtype == torch.int64
        found = owner.numpy()
        # pixels without a slot, and those of slots that stay whole
        kept = ~np.isin(slots, np.flatnonzero(may))
        np.testing.assert_array_equal(found[kept], slots[kept])
        number = dict.fromkeys(range(4), 0)
        for slot in np.flatnonzero(may):
            parts = flooded(slots, slot)
            if not parts:
                continue
            largest = max(parts, key=len)
            for part in parts:
                values = {int(found[pixel]) for pixel in part}
                assert len(values) == 1
                split = len(part) >= share * sum(map(len, parts)) and part is not largest
                seen.add(split)
                value = values.pop()
                assert (value >= 4) == split
                if split:
                    number[slot] += 1
                    assert parents[value - 4] == slot
                else:
                    assert value == slot
        assert len(parents) == sum(number.values())
        assert np.bincount(parents, minlength=4).tolist() == list(number.values())
        assert set(np.unique(found[found >= 4])) == set(range(4, 4 + len(parents)))
    # more than half of a segment is its largest part
    assert seen == ({False} if share > 0.5 else {False, True})


def test_no_pixel_at_all():
    owner, parents = split_parts(torch.full((2, 3), -1), torch.ones(2, dtype=torch.bool), 0.1)
    assert (owner == -1).all()
    assert parents.tolist() == []
