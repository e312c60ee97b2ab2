"""Segments in a map of values."""

import numpy as np

from mmcomformer.engine.predictions import instances_of, segments_of


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


def test_instances_that_overlap():
    """Each keeps its own pixels; in the map the one with the highest score is on top."""
    large, inner, apart = (np.zeros((4, 6), bool) for _ in range(3))
    large[:3, :4] = True
    inner[1:3, 1:3] = True
    apart[3, 4:] = True
    for scores, top in (((0.9, 0.8, 0.7), 1), ((0.8, 0.9, 0.7), 2)):
        found = instances_of(
            np.stack([large, inner, apart]), [1, 0, 1], scores, names=['a', 'b'], data_sample='s'
        )
        assert [(s.name, s.area, s.box) for s in found.segments] == [
            ('b', 12, (0, 0, 4, 3)),
            ('a', 4, (1, 1, 2, 2)),
            ('b', 2, (4, 3, 2, 1)),
        ]
        assert [segment.score for segment in found.segments] == list(scores)
        assert [segment.id for segment in found.segments] == [1, 2, 3]
        assert (found.mask(found.segments[0]) == large).all()
        assert (found.mask(found.segments[1]) == inner).all()
        assert found.ids[1, 1] == top
        assert (found.ids[0, 0], found.ids[3, 5], found.ids[3, 0]) == (1, 3, 0)
        assert found.data_sample == 's'


def test_no_instances():
    found = instances_of(np.zeros((0, 2, 3), bool), [], [], names=['a'])
    assert found.segments == ()
    assert found.ids.tolist() == [[0, 0, 0], [0, 0, 0]]
