import numpy as np
import pytest
from report_runs import make_run

from mmcomformer.report.collected import Evaluation
from mmcomformer.report.numbers import (
    by_loss,
    class_histories,
    confusion_table,
    of_machines,
)


def entry(step, classes, values):
    return {
        'step': step,
        'classes': classes,
        'per_class': {name: {'PQ': value} for name, value in values.items()},
    }


def summary(*steps, order=('a', 'b', 'c')):
    return {'task': 'panoptic', 'class_order': list(order), 'steps': list(steps)}


def test_values_and_losses_over_steps():
    found = class_histories(
        summary(
            entry(0, ['a'], {'a': 50.0}),
            entry(1, ['b'], {'b': 30.0, 'a': 40.0}),
            entry(2, ['c'], {'c': None, 'a': 55.0, 'b': None}),
        )
    )
    assert [h.name for h in found] == ['a', 'b', 'c']
    assert [h.taught for h in found] == [0, 1, 2]
    assert [list(h.values) for h in found] == [[50.0, 40.0, 55.0], [None, 30.0, None], [None] * 3]
    assert [list(h.losses) for h in found] == [[None, 10.0, -5.0], [None] * 3, [None] * 3]
    assert [h.name for h in by_loss(found)] == ['a']


def test_step_that_is_missing():
    found = class_histories(
        summary(entry(0, ['a'], {'a': 50.0}), entry(2, ['c'], {'a': 40.0, 'b': 20.0, 'c': 1.0}))
    )
    assert [(h.name, h.taught, h.lost) for h in found] == [
        ('a', 0, 10.0),
        ('b', None, None),
        ('c', 2, None),
    ]


def test_background_that_no_step_teaches_comes_first():
    found = class_histories(summary(entry(0, ['a'], {'a': 50.0, 'background': 90.0})))
    assert [h.name for h in found] == ['background', 'a']


def test_forgetting_is_the_mean_of_the_losses(tmp_path):
    made = make_run(tmp_path)
    losses = [h.lost for h in class_histories(made) if h.lost is not None]
    assert sum(losses) / len(losses) == pytest.approx(made['final']['PQ']['forgetting'])


# labels a, b, c and nothing
CONFUSION = np.array([[6, 1, 0, 3], [0, 0, 0, 0], [2, 3, 0, 5], [1, 0, 0, 9]])


def test_confusion_in_learning_order():
    evaluation = Evaluation(['a', 'b', 'c'], [], {}, CONFUSION)
    table = confusion_table(evaluation, ['b', 'a'])
    assert table.rows == ['b', 'a', 'not taught yet', 'unlabelled']
    assert table.columns == ['b', 'a', 'nothing']
    assert table.pixels.tolist() == [[0, 0, 0], [1, 6, 3], [3, 2, 5], [0, 1, 9]]
    np.testing.assert_allclose(table.shares[1:], [[10, 60, 30], [30, 20, 50], [0, 10, 90]])
    # a class that no image shows has no shares
    assert np.isnan(table.shares[0]).all()
    assert table.cells()[0] == ('b', 0, [(None, 0)] * 3)
    assert table.takers('a') == [('nothing', 30.0), ('b', 10.0)]
    assert table.takers('b') == []


def test_takers_of_next_to_nothing_are_not_told():
    confusion = np.array([[99_960, 40, 0], [0, 0, 0], [0, 0, 0]])
    table = confusion_table(Evaluation(['a', 'b'], [], {}, confusion), ['a', 'b'])
    assert table.takers('a') == []
    confusion[0, 1] = 60
    table = confusion_table(Evaluation(['a', 'b'], [], {}, confusion), ['a', 'b'])
    assert [name for name, _ in table.takers('a')] == ['b']


def test_every_pixel_is_in_the_table():
    evaluation = Evaluation(['a', 'b', 'c'], [], {}, CONFUSION)
    assert confusion_table(evaluation, ['c']).pixels.sum() == CONFUSION.sum()


def test_rows_without_pixels_that_are_no_class_are_left_out():
    confusion = CONFUSION.copy()
    confusion[3] = 0
    evaluation = Evaluation(['a', 'b', 'c'], [], {}, confusion)
    assert confusion_table(evaluation, ['a', 'b', 'c']).rows == ['a', 'b', 'c']


def test_no_confusion():
    assert confusion_table(Evaluation(['a'], [], {}), ['a']) is None


def test_machines_once():
    machine = {'device': 'X', 'versions': {'torch': '2.9'}}
    other = {'device': 'X', 'versions': {'torch': '3.0'}}
    steps = [{'machine': machine}, {}, {'machine': other}, {'machine': None}]
    assert of_machines(steps) == {'device': 'X', 'torch': '2.9, 3.0'}
