import json

import fusion
import pytest

pytestmark = pytest.mark.families

SIZE = ('--height', 40, '--width', 53, '--input-height', 32, '--input-width', 48, '--queries', 6)
SIZE += ('--kept', 2, 6, '--classes', 3, '--runs', 2)


def test_figures(benchmark, tmp_path, capsys):
    out = tmp_path / 'figures.json'
    assert benchmark(fusion, *SIZE, '--json', out) is None
    assert 'both ways give the same results' in capsys.readouterr().out
    content = json.loads(out.read_text())
    assert content['benchmark'] == 'fusion'
    assert content['checks'] == {'same results': True}
    assert set(content['figures']) == {
        f'{who}, {what}, {kept} kept'
        for who in ('loop', 'ours', 'loop / ours')
        for what in ('decision', 'whole call')
        for kept in (2, 6)
    }
    assert all(figure['runs'] == 2 for figure in content['figures'].values())


def test_difference(benchmark, monkeypatch, tmp_path):
    """One pixel of the loop's last map is changed."""
    fuse, out = fusion.fuse_in_a_loop, tmp_path / 'figures.json'

    def change(kept, *args):
        result = fuse(kept, *args)
        result[0, 0] += 1
        return result

    monkeypatch.setattr(fusion, 'fuse_in_a_loop', change)
    message = benchmark(fusion, *SIZE, '--json', out)
    assert message == 'error: decision, 2 kept, image 0: the results differ'
    assert not out.exists()


def test_size_that_does_not_fit(benchmark):
    message = benchmark(fusion, '--input-height', 10_000_000)
    assert message.startswith('error: this size does not fit: about ')
    assert '\n' not in message
