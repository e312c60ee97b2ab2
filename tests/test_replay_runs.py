"""Trainings with a memory: what is trained on, what is told, and resuming."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import DATASETS, HOOKS, DefaultScope
from several import run_two
from small_runs import CONFIG, small_options

from mmcomformer.datasets import memory
from mmcomformer.engine import driver
from mmcomformer.engine.request import Request, load_config

pytestmark = pytest.mark.families

ITERS, SIZE, STOP = 3, 12, 2


@HOOKS.register_module()
class WatchMemoryHook(Hook):
    """Record which samples of each batch are from memory, and stop where a test wants it."""

    priority = 'LOWEST'
    records = []

    def __init__(self, stop=None):
        self.stop = stop

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        samples = data_batch['data_samples']
        marks = [sample.metainfo.get('from_memory', False) for sample in samples]
        self.records.append((runner.iter, marks, outputs['loss'].item()))
        if runner.iter + 1 == self.stop:
            raise KeyboardInterrupt


@pytest.fixture
def train(shapes_root, monkeypatch):
    """Train a step in a folder, and return what was recorded of its iterations."""
    monkeypatch.setattr('mmcomformer.engine.launch.get_device', lambda: 'cpu')
    # mmengine's takes longer than the training
    monkeypatch.setattr(Config, 'pretty_text', property(lambda cfg: repr(cfg.to_dict())))
    splits = ('train', 'val', 'test')
    options = small_options(shapes_root)
    options |= {f'{split}_dataloader.dataset.serialize_data': False for split in splits}
    options |= {
        'memory.size': SIZE,
        'train_cfg.max_iters': ITERS,
        'train_cfg.val_interval': ITERS,
        'default_hooks.checkpoint.interval': STOP,
        'default_hooks.watch.type': 'WatchMemoryHook',
    }

    def run(work_dir, step, *, stop=None, resume=False, teacher=None, **changes):
        WatchMemoryHook.records.clear()
        threads = torch.get_num_threads()
        request = Request(
            config=CONFIG,
            step=step,
            work_dir=str(work_dir),
            resume=resume,
            teacher=teacher,
            cfg_options={**options, 'default_hooks.watch.stop': stop, **changes},
        )
        with DefaultScope.overwrite_default_scope(None):
            driver.run(request)
        torch.set_num_threads(threads)
        return list(WatchMemoryHook.records)

    return run


def weights(work_dir):
    content = torch.load(work_dir / 'step1' / f'iter_{ITERS}.pth', weights_only=False)
    return content['state_dict']


def test_a_step_and_its_resumption(train, tmp_path):
    whole, killed = tmp_path / 'whole', tmp_path / 'killed'
    assert not any(any(marks) for _, marks, _ in train(whole, 0))
    shutil.copytree(whole, killed)
    # the memory would hold images that the model has not seen
    teacher = str(whole / 'step0' / f'iter_{ITERS}.pth')
    with pytest.raises(RuntimeError, match=r"setting 'disjoint' .* trained with 'overlap'"):
        train(tmp_path / 'other', 1, teacher=teacher, **{'scenario.setting': 'disjoint'})
    assert WatchMemoryHook.records == []

    records = train(whole, 1)
    marks = [mark for _, of_batch, _ in records for mark in of_batch]
    assert True in marks
    assert False in marks
    summary = json.loads((whole / 'summary.json').read_text())
    assert [step['memory_images'] for step in summary['steps']] == [0, SIZE]

    with pytest.raises(KeyboardInterrupt):
        train(killed, 1, stop=STOP)
    with pytest.raises(RuntimeError, match=r'dataset\.memory\.size was 12 and is 11'):
        train(killed, 1, resume=True, **{'memory.size': SIZE - 1})
    assert train(killed, 1, resume=True) == records[STOP:]
    expected = weights(whole)
    assert all(value.equal(expected[key]) for key, value in weights(killed).items())
    again = json.loads((killed / 'summary.json').read_text())
    for key in ('train_images', 'memory_images', 'metrics'):
        assert again['steps'][1][key] == summary['steps'][1][key]


@pytest.mark.parametrize('size', [0, 1000, 1.5])
def test_bad_sizes_end_step_0_before_it_is_trained(train, tmp_path, size):
    with pytest.raises(ValueError, match=r'memory\.size: expected .*, got '):
        train(tmp_path, 0, **{'memory.size': size})
    assert not list(tmp_path.rglob('*.pth'))
    assert WatchMemoryHook.records == []


def test_two_processes_choose_once(shapes_root, tmp_path, mmdet_scope):
    """The first one chooses, and both have the same images."""
    data = tmp_path / 'set'
    shutil.copytree(shapes_root, data, ignore=shutil.ignore_patterns('.mmcomformer'))
    options = small_options(data, **{'memory.size': 5})
    config = load_config(Request(CONFIG, cfg_options=options), 2).train_dataloader.dataset
    choose, calls = memory.ClassProportionalMemory.choose, []
    memory.ClassProportionalMemory.choose = lambda *args: (calls.append(1), choose(*args))[1]

    def build(rank):
        dataset = DATASETS.build(config)
        first = len(dataset) - dataset.num_from_memory
        paths = [dataset.get_data_info(i)['img_path'] for i in range(first, len(dataset))]
        return len(calls), [Path(path).name for path in paths]

    try:
        (tmp_path / 'meet').mkdir()
        (first, names), (second, others) = run_two(build, tmp_path / 'meet')
    finally:
        memory.ClassProportionalMemory.choose = choose
    assert names == others
    assert len(names) == 5
    assert (first, second) == (2, 0)
