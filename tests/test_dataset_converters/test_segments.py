import numpy as np
import pytest

from mmcomformer.dataset_converters.segments import (
    Segment,
    distinct_id,
    make_panoptic_map,
    paste_instances,
    stuff_layers,
)
from mmcomformer.datasets.panoptic_png import MAX_ID


def test_distinct_ids():
    ids = [distinct_id(number) for number in range(1, 70000)]
    assert len(set(ids)) == len(ids)
    assert min(ids) >= 1
    assert max(ids) <= MAX_ID


def test_make_panoptic_map():
    layers = np.array([[0, 1, 1, 3], [0, 1, 3, 3]])
    panoptic, hidden = make_panoptic_map(layers, [Segment(4), Segment(9), Segment(2, iscrowd=True)])
    assert hidden == [1]
    assert panoptic.ids.dtype == np.int32
    first, third = distinct_id(1), distinct_id(3)
    assert panoptic.ids.tolist() == [[0, first, first, third], [0, first, third, third]]
    assert panoptic.segments_info == [
        {'id': first, 'category_id': 4, 'iscrowd': 0, 'bbox': [1, 0, 2, 2], 'area': 3},
        {'id': third, 'category_id': 2, 'iscrowd': 1, 'bbox': [2, 0, 2, 2], 'area': 3},
    ]


def test_no_segment():
    panoptic, hidden = make_panoptic_map(np.zeros((2, 3), np.int32), [])
    assert panoptic.segments_info == hidden == []
    assert (panoptic.ids == 0).all()


def test_stuff_layers():
    labels = np.array([[0, 3, 3, 1]], dtype=np.uint8)
    layers, segments = stuff_layers(labels, [-1, 11, 12, 13])
    assert layers.tolist() == [[0, 2, 2, 1]]
    assert segments == [Segment(11), Segment(13)]


def test_paste_does_not_change_its_input():
    base = np.array([[1, 1, 0]])
    layers, shared = paste_instances(
        base, [np.array([[True, False, True]])], [False], first=2, overlap='error'
    )
    assert layers.tolist() == [[2, 1, 2]]
    assert base.tolist() == [[1, 1, 0]]
    assert shared == 0


@pytest.mark.parametrize(
    ('overlap', 'expected'), [('later', [3, 2, 3, 3, 0]), ('larger-first', [2, 2, 3, 3, 0])]
)
def test_paste_overlapping(overlap, expected):
    masks = [np.array([[1, 1, 0, 0, 0]], bool), np.array([[1, 0, 1, 1, 0]], bool)]
    layers, shared = paste_instances(
        np.zeros((1, 5), int), masks, [False, False], first=2, overlap=overlap
    )
    assert layers.tolist() == [expected]
    assert shared == 1
