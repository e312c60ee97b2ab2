"""Both tasks train two steps, in one process and in two, with images from memory among others."""

import functools
import json
import os

import pytest
import runs
import several
import small_runs
import tiny
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from mmcomformer.engine import driver
from mmcomformer.engine.request import Request

pytestmark = pytest.mark.families

CONFIGS = {
    'panoptic': ('balconpas_shapes_6-3.py', 'panoptic_head'),
    'semantic': ('balconpas_shapes_semantic_6-3.py', 'decode_head'),
}
LEVELS = ('', 'd0.', 'd1.', 'd2.')


@HOOKS.register_module()
class ReplayHook(Hook):
    """Takes one image of each later batch for one from memory; records losses and targets."""

    records = []

    def before_train(self, runner):
        self.head = getattr(runner.model, 'module', runner.model).mask_head
        supervised = self.head.supervised_losses

        def watched(output, targets):
            self.targets = targets
            return supervised(output, targets)

        self.head.supervised_losses = watched

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if self.head.scenario.step:
            data_batch['data_samples'][0].set_metainfo(dict(from_memory=True))

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.records.append(
            (
                {
                    name.removeprefix('decode.'): loss.item()
                    for name, loss in outputs.items()
                    if 'loss_' in name
                },
                [int((target.is_pseudo & target.valid).sum()) for target in self.targets],
                [target.from_memory for target in self.targets],
            )
        )


def train(task, root, work_dir, steps=(0, 1), **more):
    """Train two iterations of each step and return what every iteration had."""
    name, head = CONFIGS[task]
    options = small_runs.small_options(root, head=head, **more)
    options |= {'train_cfg.max_iters': 2, 'train_cfg.val_interval': 2}
    options['default_hooks.replay.type'] = 'ReplayHook'
    ReplayHook.records.clear()
    launcher = 'pytorch' if torch.distributed.is_initialized() else 'none'
    config = str(tiny.CONFIGS / name)
    for step in steps:
        driver.run(
            Request(
                config=config,
                step=step,
                work_dir=str(work_dir),
                cfg_options=options,
                launcher=launcher,
            )
        )
    return list(ReplayHook.records)


@pytest.fixture(autouse=True)
def _on_the_cpu(monkeypatch):
    """A machine without an accelerator, wherever the test runs."""
    monkeypatch.setattr('mmcomformer.engine.launch.get_device', lambda: 'cpu')


def check(records):
    supervised = {f'{level}loss_{part}' for level in LEVELS for part in ('cls', 'mask', 'dice')}
    tokens = {f'{level}loss_token' for level in LEVELS}
    assert len(records) == 4
    for losses, pseudo, stored in records[:2]:
        assert losses.keys() == supervised
        assert (pseudo, stored) == ([0, 0], [False, False])
    for losses, (in_stored, in_current), stored in records[2:]:
        assert losses.keys() == supervised | tokens
        assert stored == [True, False]
        assert in_stored == 0
        # student and teacher start from the same learned queries
        compared = tokens - {'d0.loss_token'}
        assert {losses[name] > 0 for name in compared} == {in_current > 0}
    return sum(in_current for _, (_, in_current), _ in records[2:])


def test_semantic(shapes_root, tmp_path):
    assert check(train('semantic', shapes_root, tmp_path)) > 0
    summary = json.loads((tmp_path / 'summary.json').read_text())
    assert (summary['method'], summary['task']) == ('BalConpas', 'semantic')
    assert [step['step'] for step in summary['steps']] == [0, 1]


def train_process(root, work_dir, port, rank):
    os.environ |= {
        'RANK': str(rank),
        'LOCAL_RANK': str(rank),
        'WORLD_SIZE': '2',
        'MASTER_ADDR': '127.0.0.1',
        'MASTER_PORT': port,
    }
    return train('panoptic', root, work_dir)


def test_panoptic_in_two_processes(shapes_root, tmp_path):
    """Each has an image from memory, and another current one."""
    meeting = tmp_path / 'meeting'
    meeting.mkdir()
    work = functools.partial(train_process, shapes_root, tmp_path / 'run', str(runs.free_port()))
    parts = several.run_two(work, meeting)
    assert sum(map(check, parts)) > 0
    assert parts[0] != parts[1]
    summary = json.loads((tmp_path / 'run' / 'summary.json').read_text())
    assert (summary['method'], summary['task']) == ('BalConpas', 'panoptic')
    assert [step['step'] for step in summary['steps']] == [0, 1]
