"""A kill at any moment of saving leaves a checkpoint that can be loaded."""

from pathlib import Path

import pytest
import torch
from mmengine.hooks import CheckpointHook
from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from mmengine.runner import Runner, find_latest_checkpoint
from torch.utils.data import DataLoader

from mmcomformer.engine.hooks import SafeCheckpointHook

pytestmark = pytest.mark.families


class Line(BaseModel):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, inputs, mode='loss'):
        return {'loss': (self.weight * inputs).sum()}


class Killed(BaseException):
    """Ends a run as a kill does: no handler of ours sees it."""


def run(work_dir, hook, iters=6, name='save'):
    MessageHub._instance_dict.clear()
    data = [{'inputs': torch.tensor([float(i)])} for i in range(8)]
    loader = DataLoader(data, batch_size=1)
    runner = Runner(
        model=Line(),
        work_dir=str(work_dir),
        train_dataloader=loader,
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.1}},
        train_cfg={'by_epoch': False, 'max_iters': iters},
        default_hooks={'checkpoint': None, 'logger': None},
        custom_hooks=[hook],
        experiment_name=f'{name}_{work_dir.name}',
    )
    runner.train()


def hook_of(kind=SafeCheckpointHook, **arguments):
    return kind(by_epoch=False, interval=2, **arguments)


def files(work_dir):
    return sorted(path.name for path in Path(work_dir).glob('iter_*'))


@pytest.mark.parametrize('keep', [1, 2, -1])
def test_keeps_what_the_stock_hook_keeps(tmp_path, keep):
    run(tmp_path / 'ours', hook_of(max_keep_ckpts=keep))
    run(tmp_path / 'stock', hook_of(CheckpointHook, max_keep_ckpts=keep))
    assert files(tmp_path / 'ours') == files(tmp_path / 'stock')
    latest = find_latest_checkpoint(str(tmp_path / 'ours'))
    assert Path(latest).name == 'iter_6.pth'
    assert Path(latest).is_file()


def test_a_kill_while_writing(tmp_path, monkeypatch):
    """The third checkpoint is cut short: the second is there, complete, and pointed to."""
    saved = []

    def save(self, out_dir, filename, *args, **kwargs):
        saved.append(filename)
        if len(saved) == 3:
            (Path(out_dir) / filename).write_bytes(b'half')
            raise Killed
        original(self, out_dir, filename, *args, **kwargs)

    original = Runner.save_checkpoint
    monkeypatch.setattr(Runner, 'save_checkpoint', save)
    with pytest.raises(Killed):
        run(tmp_path, hook_of(max_keep_ckpts=1))
    latest = find_latest_checkpoint(str(tmp_path))
    assert Path(latest).name == 'iter_4.pth'
    assert torch.load(latest, weights_only=False)['meta']['iter'] == 4


def test_the_stock_hook_would_have_lost_it(tmp_path, monkeypatch):
    """Why there is a hook of our own."""

    def save(self, out_dir, filename, *args, **kwargs):
        if '6' in filename:
            raise Killed
        original(self, out_dir, filename, *args, **kwargs)

    original = Runner.save_checkpoint
    monkeypatch.setattr(Runner, 'save_checkpoint', save)
    with pytest.raises(Killed):
        run(tmp_path, hook_of(CheckpointHook, max_keep_ckpts=1))
    assert files(tmp_path) == []


def test_a_kill_before_the_pointer(tmp_path, monkeypatch):
    """Between renaming and pointing: the pointer names the older one, which still exists."""
    import mmcomformer.engine.hooks.safe_checkpoint_hook as module

    calls = []

    def replaced(path):
        calls.append(path)
        if len(calls) == 2:
            raise Killed
        return original(path)

    original = module.replaced_file
    monkeypatch.setattr(module, 'replaced_file', replaced)
    with pytest.raises(Killed):
        run(tmp_path, hook_of(max_keep_ckpts=1))
    latest = find_latest_checkpoint(str(tmp_path))
    assert Path(latest).name == 'iter_2.pth'
    assert Path(latest).is_file()
