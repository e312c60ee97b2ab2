"""What trackers are shown of a run."""

import numpy as np
import pytest
from report_runs import make_run

from mmcomformer.report.plots import heat_map
from mmcomformer.report.tracker_pictures import tracker_pictures


def test_names_and_sizes(tmp_path):
    make_run(tmp_path, images=9)
    shown = tracker_pictures(tmp_path)
    assert list(shown) == ['class_by_step', 'predictions']
    for picture in shown.values():
        assert (picture.dtype, picture.shape[2]) == (np.uint8, 3)
    # images of 24 x 32, enlarged to 216 x 288, with captions: 8 rows, 4 columns and margins
    assert shown['predictions'].shape == (8 * (216 + 70), 4 * (288 + 10) + 10, 3)


def test_predictions_are_those_of_the_last_two_steps(tmp_path):
    """What the run had before them is not needed."""
    make_run(tmp_path, images=2)
    before = tracker_pictures(tmp_path)['predictions']
    (tmp_path / 'step0' / 'evaluation.npz').unlink()
    np.testing.assert_array_equal(tracker_pictures(tmp_path)['predictions'], before)
    (tmp_path / 'step1' / 'evaluation.npz').unlink()
    narrower = tracker_pictures(tmp_path)['predictions']
    assert narrower.shape[1] == before.shape[1] - 298
    (tmp_path / 'step2' / 'evaluation.npz').unlink()
    assert list(tracker_pictures(tmp_path)) == ['class_by_step']


@pytest.mark.parametrize(('options', 'names'), [({'steps': 0}, []), ({'images': 0}, 1)])
def test_nothing_to_show(tmp_path, options, names):
    make_run(tmp_path, **options)
    assert list(tracker_pictures(tmp_path)) == ([] if names == [] else ['class_by_step'])


def test_heat_map_colours_each_cell_by_its_value():
    values = np.array([[0.0, 100.0], [np.nan, 50.0]])
    shown = heat_map(values, ['cat', '🐈'], ['after 0', 'after 1'], title='PQ').astype(int)
    # where most of a row of pixels is of one colour: the cells, from the darkest to white
    dark = (shown.sum(-1) < 250) & (shown[..., 2] > shown[..., 0] + 40)
    rows, columns = np.nonzero(dark)
    middle = [shown.shape[0] // 2, shown.shape[1] // 2]
    # the cell of 100 is at the top right
    assert rows.mean() < middle[0] + 20
    assert columns.mean() > middle[1]
    assert len(rows) > 500


def test_heat_map_of_many_classes():
    few, many = (
        heat_map(np.full((n, 11), 50.0), [f'c{i}' for i in range(n)], ['x'] * 11, title='PQ')
        for n in (12, 150)
    )
    assert few.shape[0] < many.shape[0] < 2500
