import json
import multiprocessing
import os
import queue
from collections import Counter

import pipeline
import pytest

pytestmark = pytest.mark.families

SIZE = ('--samples', 3, '--height', 60, '--width', 80, '--crop', 64, '--runs', 2)


def test_figures(run_benchmark, tmp_path, capsys):
    out = tmp_path / 'figures.json'
    assert run_benchmark(pipeline, *SIZE, '--json', out) is None
    assert 'both pipelines end with the same masks' in capsys.readouterr().out
    content = json.loads(out.read_text())
    assert content['benchmark'] == 'pipeline'
    assert content['checks'] == {'same images': True, 'same masks': True}
    assert content['arguments']['crop'] == 64
    times = {f'{prefix}{name}' for prefix in ('', 'packed, ') for name in ('ours', 'stock')}
    assert set(content['figures']) == {
        'image alone',
        *times,
        *(f'workers, {name}' for name in ('image alone', 'ours', 'stock')),
        'stock / ours, workers',
        *(f'annotation, {name}' for name in times),
        'stock / ours, whole',
        'stock / ours, annotation',
        'stock / ours, whole, packed',
        'stock / ours, annotation, packed',
    }
    assert all(figure['runs'] == 2 for figure in content['figures'].values())


@pytest.mark.parametrize('kind', ['masks', 'images'])
def test_difference(run_benchmark, monkeypatch, tmp_path, kind):
    """One pixel of one pipeline is changed."""
    apply, out = pipeline.apply, tmp_path / 'figures.json'

    def change(transforms, sample, seed):
        packed = apply(transforms, sample, seed)
        truth = packed['data_samples']
        if 'gt_sem_seg' in truth:
            return packed
        pixels = packed['inputs'] if kind == 'images' else truth.gt_panoptic_seg.sem_seg
        pixels[0, 0, 0] ^= 1
        return packed

    monkeypatch.setattr(pipeline, 'apply', change)
    message = run_benchmark(pipeline, *SIZE, '--json', out)
    assert message == f'error: sample 0: the pipelines end with different {kind}'
    assert not out.exists()


def test_samples_through_workers(run_benchmark, monkeypatch):
    """Every pass takes all samples from worker processes, in the passes' own order."""
    apply, parent, calls = pipeline.apply, os.getpid(), multiprocessing.get_context('fork').Queue()

    def record(transforms, sample, seed):
        if os.getpid() != parent:
            calls.put((os.getpid(), sample['img_path'][-5:], seed))
        return apply(transforms, sample, seed)

    monkeypatch.setattr(pipeline, 'apply', record)
    assert run_benchmark(pipeline, *SIZE, '--workers', 1) is None
    found = [calls.get(timeout=10) for _ in range(27)]
    with pytest.raises(queue.Empty):
        calls.get(timeout=0.1)
    # one worker for each of three pipelines; a first pass, then two that are measured
    assert len({process for process, *_ in found}) == 3
    seeds = Counter((path, seed) for _, path, seed in found)
    first, second = ({(f'{i % 3}.jpg', i): n for i in range(a, a + 3)} for a, n in ((0, 6), (3, 3)))
    assert seeds == {**first, **second}


def test_wrong_worker_count(run_benchmark):
    assert run_benchmark(pipeline, '--workers', 0) == 2


def test_size_that_does_not_fit(run_benchmark):
    message = run_benchmark(pipeline, '--crop', 10_000_000)
    assert message.startswith('error: this size does not fit: about ')
    assert '\n' not in message
