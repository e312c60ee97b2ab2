import json

import pipeline
import pytest

pytestmark = pytest.mark.families

SIZE = ('--samples', 2, '--height', 60, '--width', 80, '--crop', 64, '--runs', 2)


def test_figures(benchmark, tmp_path, capsys):
    out = tmp_path / 'figures.json'
    assert benchmark(pipeline, *SIZE, '--json', out) is None
    assert 'both pipelines end with the same masks' in capsys.readouterr().out
    content = json.loads(out.read_text())
    assert content['benchmark'] == 'pipeline'
    assert content['checks'] == {'same images': True, 'same masks': True}
    assert content['arguments']['crop'] == 64
    times = {f'{prefix}{name}' for prefix in ('', 'packed, ') for name in ('ours', 'stock')}
    assert set(content['figures']) == {
        'image alone',
        *times,
        *(f'annotation, {name}' for name in times),
        'stock / ours, whole',
        'stock / ours, annotation',
        'stock / ours, whole, packed',
        'stock / ours, annotation, packed',
    }
    assert all(figure['runs'] == 2 for figure in content['figures'].values())


@pytest.mark.parametrize('kind', ['masks', 'images'])
def test_difference(benchmark, monkeypatch, tmp_path, kind):
    """One pixel of one pipeline is changed."""
    apply, out = pipeline.apply, tmp_path / 'figures.json'

    def change(transforms, sample, seed):
        packed = apply(transforms, sample, seed)
        truth = packed['data_samples']
        if 'gt_sem_seg' in truth:
            return packed
        pixels = packed['inputs'] if kind == 'images' else truth.gt_instances.masks.masks
        pixels[0, 0, 0] ^= 1
        return packed

    monkeypatch.setattr(pipeline, 'apply', change)
    message = benchmark(pipeline, *SIZE, '--json', out)
    assert message == f'error: sample 0: the pipelines end with different {kind}'
    assert not out.exists()


def test_size_that_does_not_fit(benchmark):
    message = benchmark(pipeline, '--crop', 10_000_000)
    assert message.startswith('error: this size does not fit: about ')
    assert '\n' not in message
