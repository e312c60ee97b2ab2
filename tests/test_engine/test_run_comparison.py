"""Runs that differ anywhere are told apart."""

import json
from collections import OrderedDict

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from mmcomformer.engine.run_comparison import compare_runs, differences

pytestmark = pytest.mark.families


class TestDifferences:
    @pytest.mark.parametrize(
        ('one', 'other'),
        [
            (torch.tensor([1.0]), torch.tensor([1.0 + 2**-23])),
            (torch.tensor([0.0]), torch.tensor([-0.0])),
            (torch.tensor([1.0]), torch.tensor([1.0], dtype=torch.float64)),
            (torch.zeros(2), torch.zeros(1, 2)),
            (np.zeros(2), np.zeros(2, dtype=np.int64)),
            (1, 1.0),
            (1, True),
            (0.1, 0.1 + 2**-56),
            ('a', 'b'),
            (None, 0),
            ([1], [1, 2]),
            ({'a': 1}, {}),
        ],
    )
    def test_other_bits(self, one, other):
        assert len(differences({'x': [one]}, {'x': [other]})) == 1
        assert len(differences({'x': [other]}, {'x': [one]})) == 1
        assert differences({'x': [one]}, {'x': [one]}) == []

    def test_names(self):
        one = {'a': {'b': [torch.ones(1), 2]}, 'c': 3, 'd': 1}
        other = OrderedDict(a={'b': (torch.zeros(1), 2)}, c=4, d=1)
        assert differences(one, other) == ['a.b[0]', 'c']

    def test_same_nan(self):
        assert differences(torch.tensor(float('nan')), torch.tensor(float('nan'))) == []


def write_run(
    folder,
    *,
    weight=1.0,
    loss=(0.5, 0.25),
    history=0.25,
    pq=30.0,
    lines=2,
    seconds=5.0,
    drawn=3,
):
    """Write what a run of one step leaves, as far as it is compared."""
    step = folder / 'step0'
    log = step / f'at-{seconds}' / 'vis_data'
    log.mkdir(parents=True)
    checkpoint = {
        'state_dict': {'weight': torch.tensor([weight])},
        'optimizer': {'lr': 0.1},
        'method_state': {'head.bank': {'drawn': torch.tensor(drawn)}},
        'meta': {'iter': 2, 'epoch': 0, 'seed': 0, 'time': seconds},
        'message_hub': {
            'log_scalars': {
                'train/loss': HistoryBuffer([0.5, history], [1, 1]),
                'train/data_time': HistoryBuffer([seconds], [1]),
            }
        },
    }
    torch.save(checkpoint, step / 'iter_2.pth')
    (step / 'last_checkpoint').write_text('iter_2.pth')
    logged = [
        {'loss': loss[i], 'time': seconds, 'data_time': seconds, 'iter': i + 1, 'step': i + 1}
        for i in range(lines)
    ]
    # an evaluation by itself has no iteration
    logged.append({'PQ': pq, 'step': 0})
    (log / 'scalars.json').write_text('\n'.join(map(json.dumps, logged)))
    summary = {'steps': [{'step': 0, 'seconds': seconds, 'metrics': {'PQ': pq}}]}
    (folder / 'summary.json').write_text(json.dumps(summary))
    return folder


def test_equal_but_for_times(tmp_path):
    runs = [write_run(tmp_path / str(seconds), seconds=seconds) for seconds in (5.0, 6.0)]
    assert compare_runs(*runs) == []


@pytest.mark.parametrize(
    ('change', 'difference'),
    [
        ({'weight': 1.0 + 2**-23}, 'step0/state_dict.weight'),
        ({'drawn': 4}, 'step0/method_state.head.bank.drawn'),
        ({'history': 0.5}, 'step0/histories.train/loss._log_history'),
        ({'loss': (0.5, 0.5)}, 'step0: loss logged at 2'),
        ({'lines': 1}, 'step0: nothing logged at 2'),
        ({'pq': 31.0}, 'summary.steps[0].metrics.PQ'),
    ],
)
def test_anything_else_differs(tmp_path, change, difference):
    runs = write_run(tmp_path / 'a'), write_run(tmp_path / 'b', **change)
    assert compare_runs(*runs) == [difference]
