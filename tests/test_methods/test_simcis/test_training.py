"""The configs of SimCIS train in both tasks, and the bank goes on where a checkpoint left it."""

import json

import pytest
import small_runs
import tiny
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from mmcomformer.engine import driver
from mmcomformer.engine.checkpoint import read_checkpoint
from mmcomformer.engine.request import Request

CONFIGS = {
    'panoptic': ('simcis_shapes_6-3.py', 'panoptic_head', ''),
    'semantic': ('simcis_shapes_semantic_6-3.py', 'decode_head', 'decode.'),
}
PARTS = ('cls', 'mask', 'dice', 'bbox', 'giou')
STUDENT = [f'{level}loss_{part}' for level in ('', 'd0.', 'd1.', 'd2.') for part in PARTS]
EXTRA = {'loss_select', 'loss_distill'}


@HOOKS.register_module()
class WatchSimCISHook(Hook):
    """Record the losses of each iteration and what the labeller is."""

    records = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        losses = {name: value.item() for name, value in outputs.items() if 'loss_' in name}
        self.records.append((losses, runner.model.pseudo_labeller, runner.model.mask_head.bank))


def train(task, step, root, work_dir, **more):
    """Train a step for two iterations, or up to ``max_iters``, and return what was recorded."""
    name, head, _ = CONFIGS[task]
    options = small_runs.small_options(root, head=head) | {
        'train_cfg.max_iters': 2,
        'train_cfg.val_interval': 2,
        'default_hooks.checkpoint.interval': 1,
        'default_hooks.checkpoint.max_keep_ckpts': -1,
        'default_hooks.watch.type': 'WatchSimCISHook',
        f'model.{head}.num_virtual': 3,
        'model.extra_losses.decoder': {'type': 'DecoderDistillLoss'},
    }
    resume = more.pop('resume', False)
    config = str(tiny.CONFIGS / name)
    WatchSimCISHook.records.clear()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    request = Request(
        config=config, step=step, work_dir=str(work_dir), cfg_options=options | more, resume=resume
    )
    driver.run(request)
    torch.set_num_threads(threads)
    return list(WatchSimCISHook.records)


@pytest.mark.families
@pytest.mark.parametrize('task', CONFIGS)
def test_two_steps(task, shapes_root, tmp_path, monkeypatch):
    # a machine without an accelerator, wherever the test runs
    monkeypatch.setattr('mmcomformer.engine.launch.get_device', lambda: 'cpu')
    _, head, prefix = CONFIGS[task]
    student = {prefix + name for name in STUDENT}
    for losses, labeller, _ in train(task, 0, shapes_root, tmp_path):
        assert (set(losses), labeller) == (student, None)
    records = train(task, 1, shapes_root, tmp_path)
    assert len(records) == 2
    for losses, labeller, bank in records:
        assert set(losses) == student | {prefix + name for name in EXTRA}
        assert all(losses[prefix + name] > 0 for name in EXTRA)
        expected = {'panoptic': (0.35, False, 0.06), 'semantic': (0.0, True, None)}[task]
        activation = labeller.class_activation
        assert (labeller.score_thr, labeller.merge_classes, activation.temperature) == expected
        assert (labeller.share, labeller.overlap_thr) == ('strong', 0.8)
        assert bank.can_draw
    summary = json.loads((tmp_path / 'summary.json').read_text())
    assert summary['method'] == 'SimCIS'
    assert [step['step'] for step in summary['steps']] == [0, 1]
    states = [
        read_checkpoint(tmp_path / f'step{step}' / 'iter_2.pth')['method_state'][f'{head}.bank']
        for step in (0, 1)
    ]
    # what step 1 draws from is what step 0 left
    assert states[0]['sizes'].sum() > 0
    assert torch.equal(states[1]['drawn'], states[0]['queries'])
    assert len(states[1]['sizes']) == 9
    assert states[1]['sizes'].sum() > states[0]['sizes'].sum()
    if task == 'panoptic':
        check_resumed(records[1][0], shapes_root, tmp_path)


def check_resumed(losses, root, work_dir):
    """A run that is killed after an iteration ends as the one that was not, bit by bit."""
    last, before = (work_dir / 'step1' / f'iter_{i}.pth' for i in (2, 1))
    expected = read_checkpoint(last)
    last.unlink()
    (work_dir / 'step1' / 'last_checkpoint').write_text(str(before))
    (resumed,) = train('panoptic', 1, root, work_dir, resume=True)
    assert resumed[0] == losses
    found = read_checkpoint(last)
    for content in (found, expected):
        content['state_dict'].update(content['method_state']['panoptic_head.bank'])
    assert set(found['state_dict']) == set(expected['state_dict'])
    for name, value in expected['state_dict'].items():
        assert torch.equal(value, found['state_dict'][name]), name
