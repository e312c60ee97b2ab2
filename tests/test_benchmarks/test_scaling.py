import json
from types import SimpleNamespace

import pytest
import scaling
import stepping

pytestmark = pytest.mark.families

SMALL = (
    *('--batch', 1, '--resolution', 64, '--queries', 8, '--pseudo', 2, '--runs', 1),
    *('--batches', 1, 2, '--resolutions', 64, '--many-queries', 8),
    *('--old-classes', 4, '--classes', 14, '--steps', 2, 3),
)


def test_figures(run_benchmark, monkeypatch, tmp_path):
    """Everything but the training itself, whose time and memory the next test measures."""
    out = tmp_path / 'figures.json'
    monkeypatch.setattr(scaling, 'peak_of_steps', lambda size, **_: 10**6 + size.batch)
    monkeypatch.setattr(
        scaling, 'Training', lambda size, **_: SimpleNamespace(step=lambda call: None)
    )
    assert run_benchmark(scaling, *SMALL, '--json', out) is None
    content = json.loads(out.read_text())
    assert content['benchmark'] == 'scaling'
    expected = {
        *(f'images {n}' for n in (1, 2)),
        *('pixels of the side 64', 'queries 8', 'old classes 4'),
        *(f'steps {n}' for n in (2, 3)),
    }
    growth = {
        f'{name}: {fit}'
        for name in ('images', 'steps')
        for fit in ('exponent', 'last / first', 'for one more, % of the first')
    }
    names = {f'{what}, {name}' for what in ('ms', 'MB') for name in expected | growth}
    assert set(content['figures']) == names | {'MB before training'}


def test_time_of_each_size():
    size = stepping.Size('tiny', batch=1, resolution=64, queries=8, increments=(4, 10), pseudo=2)
    times = scaling.measure_time({8: size}, 'cpu', 1)
    assert len(times[8]) == 1
    assert times[8][0] > 1


def test_growth():
    growth = scaling.growth_of('ms', [1, 2, 4], [5.0, 10.0, 20.0])
    assert growth == pytest.approx(
        {'ms: exponent': 1, 'ms: last / first': 4, 'ms: for one more, % of the first': 100}
    )
    assert scaling.growth_of('ms', [1, 2, 4], [5.0] * 3)['ms: exponent'] == pytest.approx(0)
    assert scaling.growth_of('ms', [3], [5.0]) == {}


def test_same_classes_in_more_steps():
    for steps in (2, 3, 7, 41):
        increments = scaling.cut(50, steps)
        assert (len(increments), sum(increments), increments[-1]) == (steps, 50, 10)
        assert max(increments[:-1]) - min(increments[:-1]) <= 1


@pytest.mark.parametrize('steps', [1, 42])
def test_steps_that_do_not_fit(run_benchmark, steps):
    message = run_benchmark(scaling, '--classes', 50, '--steps', steps)
    assert message == f'error: --steps {steps}: expected 2 to 41 with 50 classes'


def test_other_wrong_sizes(run_benchmark):
    assert run_benchmark(scaling, '--resolutions', 70).startswith('error: a side of 70: expected ')
    message = run_benchmark(scaling, '--batches', 10**9)
    assert message.startswith('error: this size does not fit: about ')
    assert '\n' not in message
