"""Segments in a map of values."""

import numpy as np

from mmcomformer.engine.predictions import segments_of


def test_segments_of():
    codes = np.full((4, 6), 3)
    codes[0, 1:3], codes[2:, 4:], codes[1:3, 0] = 1000, 2000, 2
    found = segments_of(
        codes, names=['cat', 'dog', 'sky'], num_things=2, scores={1000: 0.5, 2000: 0.75, 2: 1.0}
    )
    assert [(s.id, s.name, s.label, s.is_thing) for s in found.segments] == [
        (1, 'cat', 0, True), (2, 'sky', 2, False), (3, 'cat', 0, True),
    ]  # fmt: skip
    assert [segment.score for segment in found.segments] == [0.75, 1.0, 0.5]
    assert [segment.area for segment in found.segments] == [4, 2, 2]
    assert [segment.box for segment in found.segments] == [(4, 2, 2, 2), (0, 1, 1, 2), (1, 0, 2, 1)]
    assert found.ids.tolist() == [
        [0, 3, 3, 0, 0, 0], [2, 0, 0, 0, 0, 0], [2, 0, 0, 0, 1, 1], [0, 0, 0, 0, 1, 1],
    ]  # fmt: skip


def test_segments_of_nothing():
    found = segments_of(np.full((2, 2), 255), names=['a'], num_things=0)
    assert found.segments == ()
    assert not found.ids.any()
