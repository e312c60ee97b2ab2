import json

import numpy as np
import panoptic_quality
import pytest

SIZE = ('--images', 3, '--height', 40, '--width', 60, '--segments', 6, '--classes', 5)
SIZE += ('--passes', 2, '--runs', 2)


def test_figures(benchmark, tmp_path, capsys):
    out = tmp_path / 'figures.json'
    assert benchmark(panoptic_quality, *SIZE, '--json', out) is None
    assert 'both ways are equal to 1e-09' in capsys.readouterr().out
    content = json.loads(out.read_text())
    assert content['benchmark'] == 'panoptic_quality'
    assert content['checks'] == {'equal to 1e-09': True}
    assert set(content['figures']) == {
        f'{way}, {ids} ids{kind}'
        for way in ('plain', 'ours', 'plain / ours')
        for ids in ('raw', 'compact', "the metric's")
        for kind in ('', ', noisy')
    }
    assert all(figure['runs'] == 2 for figure in content['figures'].values())


@pytest.mark.parametrize('field', ['iou_sum', 'tp', 'fp', 'fn'])
def test_difference(benchmark, monkeypatch, tmp_path, field):
    plain, out = panoptic_quality.plain_stats, tmp_path / 'figures.json'

    def change(*args):
        stats = plain(*args)
        getattr(stats, field)[0] += 1
        return stats

    monkeypatch.setattr(panoptic_quality, 'plain_stats', change)
    message = benchmark(panoptic_quality, *SIZE, '--json', out)
    assert message.startswith(f'error: raw ids, image 0: {field} differs by ')
    assert not out.exists()


def test_maps_hold_what_evaluation_meets():
    """Matches, misses, VOID and crowds, so that the comparison means something."""
    rng = np.random.default_rng(0)
    size = panoptic_quality.argparse.Namespace(height=60, width=80, segments=20, classes=150)
    totals = np.zeros(3)
    for _ in range(5):
        pair = panoptic_quality.draw(rng, size, noise=0.0)
        raw = panoptic_quality.with_raw_ids(pair, rng)
        assert (pair.gt_ids == 0).any()
        assert any(is_crowd for _, is_crowd in pair.gt_segments.values())
        assert raw.pred_ids.max() > 2**20
        stats = panoptic_quality.plain_stats(pair, 150)
        totals += [stats.tp.sum(), stats.fp.sum(), stats.fn.sum()]
    assert (totals > 5).all()


def test_images_without_ground_truth(benchmark):
    # the only segment of some images is VOID
    assert benchmark(panoptic_quality, *SIZE, '--images', 20, '--segments', 1) is None


@pytest.mark.parametrize(
    ('name', 'value'), [('--noise', 0), ('--classes', 1000), ('--segments', 256)]
)
def test_wrong_arguments(benchmark, name, value, capsys):
    assert benchmark(panoptic_quality, name, value) == 2
    assert f'{name}: expected ' in capsys.readouterr().err


def test_size_that_does_not_fit(benchmark):
    message = benchmark(panoptic_quality, '--width', 100_000_000)
    assert message.startswith('error: this size does not fit: about ')
    assert '\n' not in message
