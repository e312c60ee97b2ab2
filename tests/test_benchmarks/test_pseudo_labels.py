import json

import pseudo_labels
import pytest

SIZE = ('--height', 40, '--width', 48, '--queries', 6, '--kept', 2, 6, '--classes', 3, '--runs', 2)


def test_figures(benchmark, tmp_path, capsys):
    out = tmp_path / 'figures.json'
    assert benchmark(pseudo_labels, *SIZE, '--json', out) is None
    assert 'both ways give the same results' in capsys.readouterr().out
    content = json.loads(out.read_text())
    assert content['benchmark'] == 'pseudo_labels'
    assert content['checks'] == {'same results': True}
    assert set(content['figures']) == {
        f'{who}, {what}, {kept} kept'
        for who in ('loop', 'ours', 'loop / ours')
        for what in ('decision', 'whole call')
        for kept in (2, 6)
    }
    assert all(figure['runs'] == 2 for figure in content['figures'].values())


@pytest.mark.parametrize('part', ['owner', 'valid'])
def test_difference(benchmark, monkeypatch, tmp_path, part):
    """One pixel or one query of ours is changed."""
    label, out = pseudo_labels.mask_pseudo_labels, tmp_path / 'figures.json'

    def change(*args):
        owner, classes, valid = label(*args)
        if part == 'owner':
            owner[-1, -1] = 5 if owner[-1, -1] < 5 else 4
        else:
            valid[0] ^= True
        return owner, classes, valid

    monkeypatch.setattr(pseudo_labels, 'mask_pseudo_labels', change)
    message = benchmark(pseudo_labels, *SIZE, '--json', out)
    assert message == 'error: decision, 2 kept, image 0: the results differ'
    assert not out.exists()


def test_whole_call_finds_pseudo_labels(benchmark, monkeypatch):
    """What is compared must not be empty."""
    counts = []
    is_same = pseudo_labels.is_same

    def count(expected, masks):
        counts.append(len(expected))
        return is_same(expected, masks)

    monkeypatch.setattr(pseudo_labels, 'is_same', count)
    benchmark(pseudo_labels, *SIZE)
    assert len(counts) == 8
    assert min(counts) > 0


def test_size_that_does_not_fit(benchmark):
    message = benchmark(pseudo_labels, '--width', 10_000_000)
    assert message.startswith('error: this size does not fit: about ')
    assert '\n' not in message


def test_more_kept_than_there_are(benchmark):
    message = benchmark(pseudo_labels, '--kept', 101)
    assert message == 'error: --kept 101: expected at most the number of queries, 100'
