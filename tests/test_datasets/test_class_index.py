import numpy as np
import pytest

from mmcomformer.datasets.class_index import ClassIndex
from mmcomformer.scenario import Scenario


def make_segments(*images):
    return [[{'label': label} for label in image] for image in images]


def test_labels_are_distinct_and_sorted():
    index = ClassIndex.from_segments(make_segments([4, 0, 4], [], [2]), num_classes=5)
    assert len(index) == 3
    assert [index[i].tolist() for i in range(3)] == [[0, 4], [], [2]]
    assert index.offsets.tolist() == [0, 2, 2, 3]


def test_crowds_do_not_count():
    segments = [[{'label': 1, 'iscrowd': True}, {'label': 2, 'iscrowd': False}]]
    assert ClassIndex.from_segments(segments, num_classes=3)[0].tolist() == [2]


@pytest.mark.parametrize('segments', [[], [[]], [[], []]])
def test_nothing_to_index(segments):
    index = ClassIndex.from_segments(segments, num_classes=3)
    assert len(index) == len(segments)
    assert index.labels.size == 0
    assert index.images_per_class(3).tolist() == [0, 0, 0]


def test_against_brute_force():
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 7, rng.integers(0, 6)).tolist() for _ in range(50)]
    index = ClassIndex.from_segments(make_segments(*images), num_classes=7)
    assert [index[i].tolist() for i in range(50)] == [sorted(set(image)) for image in images]
    expected = [sum(label in image for image in images) for label in range(7)]
    assert index.images_per_class(7).tolist() == expected


@pytest.mark.parametrize(
    ('setting', 'step', 'expected'),
    [
        ('overlap', 0, [1, 0, 1, 0]),
        ('overlap', 1, [0, 1, 1, 0]),
        ('disjoint', 0, [1, 0, 0, 0]),
        ('disjoint', 1, [0, 1, 1, 0]),
        ('sequential', 0, [1, 0, 0, 0]),
        ('sequential', 1, [0, 1, 1, 0]),
    ],
)
def test_kept_images(setting, step, expected):
    scenario = Scenario(
        increments=[1, 1],
        thing_classes=['cat'],
        stuff_classes=['sky'],
        class_order=['sky', 'cat'],
        setting=setting,
        step=step,
    )
    index = ClassIndex.from_segments(make_segments([1], [0], [0, 1], []), num_classes=2)
    kept = index.kept_images(scenario)
    assert kept.dtype == bool
    assert kept.tolist() == [bool(keep) for keep in expected]
