"""Groups of classes, average over steps and forgetting, by hand."""

import pytest

from mmcomformer.evaluation.groups import average_over_steps, forgetting, group_means, mean
from mmcomformer.scenario import Scenario

MIXED = Scenario(
    increments=[2, 1, 1],
    thing_classes=['cat', 'dog', 'bus'],
    stuff_classes=['sky', 'sea'],
    class_order=['sky', 'dog', 'sea', 'cat'],
)
VALUES = {'cat': 8.0, 'dog': 20.0, 'bus': 99.0, 'sky': 40.0, 'sea': 60.0}


@pytest.mark.parametrize(
    ('step', 'expected'),
    [
        (0, {'base': 30.0, 'new': None, 'all': 30.0}),
        (1, {'base': 30.0, 'new': 60.0, 'all': 40.0}),
        (2, {'base': 30.0, 'new': 34.0, 'all': 32.0}),
    ],
)
def test_groups_follow_the_learning_order(step, expected):
    assert group_means(VALUES, MIXED.at_step(step)) == expected


def test_classes_without_a_value_leave_the_mean():
    values = {'sky': float('nan'), 'dog': 10.0, 'sea': None}
    assert group_means(values, MIXED.at_step(1)) == {'base': 10.0, 'new': None, 'all': 10.0}


def test_background_counts_in_base_and_all():
    # bus is no class to learn here
    assert group_means(VALUES, MIXED.at_step(2), background='bus') == {
        'base': (99.0 + 40.0 + 20.0) / 3,
        'new': 34.0,
        'all': (99.0 + 40.0 + 20.0 + 60.0 + 8.0) / 5,
    }
    means = group_means(VALUES, MIXED.at_step(2), background='bus', num_base=3)
    assert means['base'] == (99.0 + 40.0 + 20.0 + 60.0) / 4
    assert means['new'] == 8.0


def test_missing_background():
    with pytest.raises(ValueError, match=r"classes \['nothing'\] are missing"):
        group_means(VALUES, MIXED, background='nothing')


def test_missing_seen_class():
    with pytest.raises(ValueError, match=r"seen classes \['sea'\] are missing"):
        group_means({'sky': 1.0, 'dog': 1.0}, MIXED.at_step(1))


def test_mean_of_nothing():
    assert mean([]) is None


@pytest.mark.parametrize(
    ('values', 'expected'),
    [
        ([60.0], 60.0),
        ([60.0, 40.0, 20.0], 40.0),
        ([60.0, None], None),
        ([float('nan'), 1.0], None),
        ([], None),
    ],
)
def test_average_over_steps(values, expected):
    assert average_over_steps(values) == expected


TAUGHT = [['sky', 'dog'], ['sea'], ['cat']]


def test_forgetting_compares_with_the_step_that_taught_the_class():
    history = [
        {'sky': 50.0, 'dog': 30.0},
        {'sky': 10.0, 'dog': 99.0, 'sea': 80.0},
        {'sky': 40.0, 'dog': 36.0, 'sea': 60.0, 'cat': 5.0},
    ]
    assert forgetting(history[:1], TAUGHT[:1]) is None
    assert forgetting(history[:2], TAUGHT[:2]) == pytest.approx((40.0 - 69.0) / 2)
    assert forgetting(history, TAUGHT) == pytest.approx((10.0 - 6.0 + 20.0) / 3)


def test_forgetting_leaves_out_classes_without_a_value():
    history = [{'sky': None, 'dog': 30.0}, {'sky': 10.0, 'dog': 20.0, 'sea': None}]
    assert forgetting(history, TAUGHT[:2]) == 10.0
    history = [{'sky': 5.0, 'dog': 30.0}, {'sky': float('nan'), 'dog': 20.0}]
    assert forgetting(history, TAUGHT[:2]) == 10.0


@pytest.mark.parametrize('unknown', [0, 1, 2])
def test_forgetting_with_an_unknown_step(unknown):
    history = [{'sky': 1.0, 'dog': 1.0, 'sea': 1.0, 'cat': 1.0}] * 3
    history[unknown] = None
    assert forgetting(history, TAUGHT) is None


def test_forgetting_of_different_lengths():
    with pytest.raises(ValueError, match='one entry per step each, got 1 and 3'):
        forgetting([{}], TAUGHT)
