"""The configs of the other methods train, and their losses are those of the method."""

import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from mmcomformer.engine import driver
from mmcomformer.engine.request import Request, load_config

CONFIGS = Path(__file__).parents[2] / 'configs'
LEVELS = ('', 'd0.', 'd1.', 'd2.')
STUDENT = {f'{level}loss_{part}' for level in LEVELS for part in ('cls', 'mask', 'dice')}
PIXELS = {f'{level}loss_cls' for level in LEVELS}


@HOOKS.register_module()
class WatchMethodHook(Hook):
    """Record the losses and the teacher of each iteration."""

    records = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        model = runner.model
        self.records.append(
            (
                {
                    key.removeprefix('decode.'): value.item()
                    for key, value in outputs.items()
                    if 'loss_' in key
                },
                model.teacher is not None,
                model.pseudo_labeller is not None,
                type(model.mask_head.loss_cls).__name__,
            )
        )


def train(name, step, root, work_dir):
    """Train a step for two iterations and return what each had."""
    splits = ('train', 'val', 'test')
    options = {f'{split}_dataloader.dataset.dataset.data_root': f'{root}/' for split in splits}
    options |= {
        'train_dataloader.batch_size': 2,
        'train_cfg.max_iters': 2,
        'train_cfg.val_interval': 2,
        'default_hooks.checkpoint.interval': 2,
        'val_dataloader.dataset.indices': 4,
        'default_hooks.watch.type': 'WatchMethodHook',
        f'model.{"decode_head" if "semantic" in name else "panoptic_head"}.num_queries': 10,
        'visualizer.vis_backends': [],
        # its page takes as long as the rest
        'default_hooks.report.enabled': False,
    }
    if 'replay' in name:
        options['memory.size'] = 2
    if not name.startswith('per_pixel'):
        options['model.train_cfg.num_points'] = 64
    WatchMethodHook.records.clear()
    config = str(CONFIGS / name)
    threads = torch.get_num_threads()
    driver.run(Request(config=config, step=step, work_dir=str(work_dir), cfg_options=options))
    torch.set_num_threads(threads)
    return list(WatchMethodHook.records)


@pytest.mark.families
@pytest.mark.parametrize(
    ('name', 'method', 'extra', 'pseudo', 'loss_cls'),
    [
        ('mib_shapes_6-3.py', 'MiB', 'loss_distill', False, 'UnbiasedClassLoss'),
        ('mib_shapes_semantic_6-3.py', 'MiB', 'loss_distill', False, 'UnbiasedClassLoss'),
        ('plop_shapes_6-3.py', 'PLOP', 'loss_feature', True, 'FocalClassLoss'),
        ('plop_shapes_semantic_6-3.py', 'PLOP', 'loss_feature', True, 'FocalClassLoss'),
        ('per_pixel_shapes_semantic_6-3.py', 'per pixel', None, False, 'PixelClassLoss'),
        ('ours_shapes_6-3.py', 'ours', 'loss_token', True, 'BalancedClassLoss'),
        ('ours_shapes_semantic_6-3.py', 'ours', 'loss_token', True, 'BalancedClassLoss'),
        (
            'ours_replay_shapes_6-3.py', 'ours with replay', 'loss_token', True,
            'BalancedClassLoss',
        ),
        (
            'ours_replay_shapes_semantic_6-3.py', 'ours with replay', 'loss_token', True,
            'BalancedClassLoss',
        ),
        (
            'per_pixel_mib_shapes_semantic_6-3.py', 'MiB per pixel', 'loss_distill', False,
            'PixelClassLoss',
        ),
        (
            'per_pixel_plop_shapes_semantic_6-3.py', 'PLOP per pixel', 'loss_feature', True,
            'PixelClassLoss',
        ),
    ],
)  # fmt: skip
def test_two_iterations_of_two_steps(
    name, method, extra, pseudo, loss_cls, shapes_root, tmp_path, monkeypatch
):
    # a machine without an accelerator, wherever the test runs
    monkeypatch.setattr('mmcomformer.engine.launch.get_device', lambda: 'cpu')
    # laying out the printed config takes longer than the training
    monkeypatch.setattr(Config, 'pretty_text', property(lambda cfg: repr(cfg.to_dict())))
    own = PIXELS if name.startswith('per_pixel') else STUDENT
    first = train(name, 0, shapes_root, tmp_path)
    assert len(first) == 2
    for losses, has_teacher, labels, kind in first:
        assert set(losses) == own
        assert (has_teacher, labels, kind) == (False, False, loss_cls)
    second = train(name, 1, shapes_root, tmp_path)
    assert len(second) == 2
    for losses, has_teacher, labels, kind in second:
        # some have it at every level of the decoder
        added = set(losses) - own
        assert {name.rsplit('.', 1)[-1] for name in added} == {extra} - {None}
        # a teacher of two iterations finds nothing whose tokens would be held
        assert extra in (None, 'loss_token') or losses[extra] > 0
        assert (has_teacher, labels, kind) == (extra is not None, pseudo, loss_cls)
    summary = json.loads((tmp_path / 'summary.json').read_text())
    assert summary['method'] == method
    assert [step['step'] for step in summary['steps']] == [0, 1]


@pytest.mark.families
@pytest.mark.parametrize('name', ['joint_shapes_6-3.py', 'mask2former_shapes_6-3.py'])
def test_all_at_once(name, shapes_root, tmp_path, monkeypatch):
    monkeypatch.setattr('mmcomformer.engine.launch.get_device', lambda: 'cpu')
    records = train(name, 0, shapes_root, tmp_path)
    assert [set(losses) for losses, *_ in records] == [STUDENT, STUDENT]
    (entry,) = json.loads((tmp_path / 'summary.json').read_text())['steps']
    assert len(entry['classes']) == 12


@pytest.mark.parametrize('step', [0, 1, 2])
def test_settings_of_mib(step):
    cfg = load_config(Request(config=str(CONFIGS / 'mib_shapes_6-3.py')), step)
    head = cfg.model.panoptic_head
    assert head.loss_cls.scenario == cfg.scenario
    assert (head.loss_cls.alpha, head.loss_cls.gamma, head.loss_cls.loss_weight) == (5, 1, 2)
    distill = cfg.model.extra_losses.distill
    assert (distill.unbiased, distill.adaptive, distill.loss_weight) == (True, False, 200)


@pytest.mark.parametrize(('step', 'share'), [(0, 1), (1, 3 / 9), (2, 3 / 12)])
def test_settings_of_plop(step, share):
    cfg = load_config(Request(config=str(CONFIGS / 'plop_shapes_6-3.py')), step)
    assert cfg.model.extra_losses.distill is None
    assert cfg.model.extra_losses.feature.loss_weight == pytest.approx(0.001 * share**0.5)
