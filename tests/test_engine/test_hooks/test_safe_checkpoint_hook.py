"""A kill at any moment of saving leaves a checkpoint that can be loaded."""

import shutil
from pathlib import Path

import pytest
import torch
from mmengine.hooks import CheckpointHook, Hook
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


def run(work_dir, hook, iters=6, name='save', **resumed):
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
        custom_hooks=hook if isinstance(hook, list) else [hook],
        experiment_name=f'{name}_{work_dir.name}',
        **resumed,
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


class BestHook(Hook):
    """Saves a best checkpoint after the last iteration, as a validation would."""

    priority = 'LOWEST'

    def __init__(self, checkpoint_hook):
        self.checkpoint_hook = checkpoint_hook

    def after_train(self, runner):
        self.checkpoint_hook.after_val_epoch(runner, {'score': 1.0})


def test_kept_checkpoints_are_known_after_a_resume(tmp_path):
    """Else the oldest of before would stay for ever."""
    run(tmp_path, hook_of(max_keep_ckpts=2))
    assert files(tmp_path) == ['iter_4.pth', 'iter_6.pth']
    run(tmp_path, hook_of(max_keep_ckpts=2), iters=10, name='resumed', resume=True)
    assert files(tmp_path) == ['iter_10.pth', 'iter_8.pth']


def test_a_copied_run_leaves_the_best_checkpoint_of_the_original(tmp_path):
    """The paths that a checkpoint remembers are followed by name, in the present folder."""
    best = {'save_best': 'score', 'rule': 'greater', 'max_keep_ckpts': 1}
    original, copy = tmp_path / 'original', tmp_path / 'copy'
    hook = hook_of(**best)
    run(original, [BestHook(hook), hook], iters=2)
    # it has to be in a checkpoint, as after a validation in the middle of training
    path = original / 'iter_2.pth'
    checkpoint = torch.load(path, weights_only=False)
    checkpoint['message_hub']['runtime_info'].update(
        best_score=1.0, best_ckpt=str(original / 'best_score_iter_2.pth')
    )
    torch.save(checkpoint, path)
    shutil.copytree(original, copy)
    hook = hook_of(**best)
    hook.is_better_than = {'score': lambda new, old: True}
    run(copy, [BestHook(hook), hook], iters=4, resume=True, load_from=str(copy / 'iter_2.pth'))
    assert (original / 'best_score_iter_2.pth').exists()
    assert [path.name for path in copy.glob('best*')] == ['best_score_iter_4.pth']


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
