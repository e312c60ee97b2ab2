import json

import matching
import pytest

pytestmark = pytest.mark.families

SIZE = ('--levels', 2, '--queries', 8, '--size', 64, '--points', 200, '--classes', 4)
SIZE += ('--truth', 2, '--pseudo', 3, '--runs', 2)


def test_figures(run_benchmark, tmp_path, capsys):
    out = tmp_path / 'figures.json'
    assert run_benchmark(matching, *SIZE, '--json', out) is None
    assert 'both ways give the same assignments' in capsys.readouterr().out
    content = json.loads(out.read_text())
    assert content['benchmark'] == 'matching'
    assert content['checks'] == {'same assignments': True}
    assert set(content['figures']) == {
        f'{way}, {name}'
        for way in ('loop', 'ours', 'loop / ours')
        for name in ('ground truth', 'with pseudo-labels')
    }
    assert all(figure['runs'] == 2 for figure in content['figures'].values())


def test_difference(run_benchmark, monkeypatch, tmp_path):
    """Two targets of one image are exchanged."""
    match, out = matching.match_at_once, tmp_path / 'figures.json'

    def change(*args):
        assignments = match(*args)
        queries, targets = assignments[1][0]
        assignments[1][0] = (queries, targets[::-1])
        return assignments

    monkeypatch.setattr(matching, 'match_at_once', change)
    message = run_benchmark(matching, *SIZE, '--json', out)
    assert message == 'error: ground truth, level 1, image 0: the assignments differ'
    assert not out.exists()


def test_more_pseudo_labels_than_queries(run_benchmark):
    message = run_benchmark(matching, '--pseudo', 101)
    assert message == 'error: --pseudo 101: expected at most the number of queries, 100'


def test_size_that_does_not_fit(run_benchmark):
    message = run_benchmark(matching, '--size', 10_000_000)
    assert message.startswith('error: this size does not fit: about ')
    assert '\n' not in message
