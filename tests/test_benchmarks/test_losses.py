import json

import losses
import pytest

pytestmark = pytest.mark.families

SIZE = ('--levels', 2, '--queries', 8, '--map', 16, '--points', 100, '--targets', 3, '--runs', 2)


def test_figures(benchmark, tmp_path, capsys):
    out = tmp_path / 'figures.json'
    assert benchmark(losses, *SIZE, '--json', out) is None
    assert 'all ways give the same losses and gradients' in capsys.readouterr().out
    content = json.loads(out.read_text())
    assert content['benchmark'] == 'losses'
    assert content['checks'] == {'same losses and gradients': True}
    names = set(losses.WAYS)
    assert set(content['figures']) == names | {f'{n} / by level' for n in names - {'by level'}}
    assert all(figure['runs'] == 2 for figure in content['figures'].values())


@pytest.mark.parametrize('part', ['losses', 'gradients'])
def test_difference(benchmark, monkeypatch, tmp_path, part):
    step, out = losses.step, tmp_path / 'figures.json'

    def change(way, *args):
        loss, gradients = step(way, *args)
        if way is losses.together:
            (loss if part == 'losses' else gradients[0]).view(-1)[0].data.add_(1e-3)
        return loss, gradients

    monkeypatch.setattr(losses, 'step', change)
    message = benchmark(losses, *SIZE, '--json', out)
    assert message == 'error: both maps in one call: losses or gradients differ'
    assert not out.exists()


def test_more_targets_than_queries(benchmark):
    message = benchmark(losses, '--targets', 101)
    assert message == 'error: --targets 101: expected at most the number of queries, 100'


def test_size_that_does_not_fit(benchmark):
    message = benchmark(losses, '--map', 1_000_000)
    assert message.startswith('error: this size does not fit: about ')
    assert '\n' not in message
