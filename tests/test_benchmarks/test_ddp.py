import json
import tempfile

import ddp
import pytest
import stepping
import torch

pytestmark = pytest.mark.families

SIZE = stepping.Size('tiny', batch=1, resolution=64, queries=8, increments=(6, 3), pseudo=2)
COUNTS = {'gradients': [100.0], 'other': [4.0], 'seconds': [1.0], 'student': [100.0]}


def test_two_processes(tmp_path, monkeypatch):
    """Both kinds of training send the gradients of the student and the number of targets."""
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    figures = ddp.train_in_processes(2, SIZE, 'cpu', runs=1)
    assert list(tmp_path.iterdir()) == []
    fine_tuning, comformer = (figures[kind] for kind in ddp.KINDS)
    # 3 M parameters
    assert 12e6 < comformer['student'][0] < 13e6
    for of_kind in (fine_tuning, comformer):
        assert of_kind['gradients'] == of_kind['student'] == comformer['student']
        assert of_kind['other'] == [4]
    assert set(ddp.checks_of(figures).values()) == {True}


def test_figures(benchmark, monkeypatch, tmp_path):
    out = tmp_path / 'figures.json'
    monkeypatch.setattr(ddp, 'train_in_processes', lambda *_: dict.fromkeys(ddp.KINDS, COUNTS))
    assert benchmark(ddp, '--json', out) is None
    content = json.loads(out.read_text())
    assert content['benchmark'] == 'ddp'
    assert set(content['checks'].values()) == {True}
    figures = {name: figure['median'] for name, figure in content['figures'].items()}
    assert figures.pop('parameters that the student learns, bytes') == 100
    assert figures == {
        f'{kind}, processes: {world}, {name}, bytes': (world - 1) * COUNTS[name][0]
        for kind in ddp.KINDS
        for world in (1, 2)
        for name in ('gradients', 'other')
    }


@pytest.mark.parametrize('name', ['gradients', 'other'])
def test_teacher_that_sends(benchmark, monkeypatch, name):
    """One byte more with a teacher than without."""
    counts = {'fine-tuning': COUNTS, 'CoMFormer': {**COUNTS, name: [COUNTS[name][0] + 1]}}
    monkeypatch.setattr(ddp, 'train_in_processes', lambda *_: counts)
    message = benchmark(ddp)
    assert message.startswith('error: it does not hold that the ')


def test_counter():
    counter, tensor = ddp.Counter(), torch.zeros(3, 2)
    counter.watch(lambda *_, **__: None)(tensor, op='sum', extra=tensor.long())
    assert (counter.gradients, counter.other) == (0, 4 * 6 + 8 * 6)


def test_efficiency():
    one, two = ({kind: {'seconds': [s]} for kind in ddp.KINDS} for s in (1.0, 1.25))
    series = ddp.efficiency(one, two)
    assert series['CoMFormer, efficiency'] == [0.8]
    assert series['fine-tuning, processes: 2, ms'] == [1250.0]


def test_size_that_does_not_fit(benchmark):
    message = benchmark(ddp, '--queries', 10**9)
    assert message.startswith('error: this size does not fit: about ')


def test_error_of_a_process(monkeypatch):
    def fail(*_, **__):
        message = '\n\n-- Process 1 terminated\nTraceback ...\nRuntimeError: the end\n'
        raise torch.multiprocessing.ProcessRaisedException(message, 1, 2)

    monkeypatch.setattr(torch.multiprocessing, 'spawn', fail)
    match = r'one of 2 processes failed: RuntimeError: the end'
    with pytest.raises(ddp.BenchmarkError, match=match):
        ddp.train_in_processes(2, SIZE, 'cpu', 1)


@pytest.mark.skipif(torch.cuda.device_count() > 1, reason='there are GPUs')
def test_devices_that_are_not_there(benchmark):
    assert benchmark(ddp, '--device', 'cuda').startswith('error: --device cuda: ')
