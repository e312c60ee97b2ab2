"""Small trainings within the process of the tests, and what they are watched by."""

import hashlib
from pathlib import Path

from mmengine.hooks import Hook
from mmengine.registry import HOOKS

CONFIG = str(Path(__file__).parents[1] / 'configs' / 'comformer_shapes_6-3.py')


def small_options(root, *, head='panoptic_head', **more):
    """Options that make a Shapes config a matter of seconds; ``head`` is its key in the model."""
    return {
        'train_dataloader.dataset.dataset.data_root': f'{root}/',
        'val_dataloader.dataset.dataset.data_root': f'{root}/',
        'test_dataloader.dataset.dataset.data_root': f'{root}/',
        'train_dataloader.num_workers': 0,
        'train_dataloader.persistent_workers': False,
        'train_dataloader.batch_size': 2,
        'val_dataloader.num_workers': 0,
        'val_dataloader.persistent_workers': False,
        'test_dataloader.num_workers': 0,
        'test_dataloader.persistent_workers': False,
        'train_cfg.max_iters': 3,
        'train_cfg.val_interval': 3,
        'default_hooks.checkpoint.interval': 2,
        'model.train_cfg.num_points': 64,
        f'model.{head}.num_queries': 10,
        'visualizer.vis_backends': [],
        # its page takes as long as the rest
        'default_hooks.report.enabled': False,
        **more,
    }


class WatchTeacherHook(Hook):
    """Record the teacher at every iteration."""

    priority = 'LOWEST'
    records = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        model = runner.model
        teacher = model.teacher
        self.records.append(
            {
                'step': runner.cfg.scenario.step,
                'hash': None if teacher is None else hash_of(teacher.model.state_dict()),
                'training': None if teacher is None else teacher.model.training,
                'pseudo': model.pseudo_labeller is not None,
                'losses': set(outputs),
            }
        )

    def after_train(self, runner):
        model = runner.model
        self.records[-1]['released'] = model.teacher is None and model.pseudo_labeller is None


if 'WatchTeacherHook' not in HOOKS.module_dict:
    # pytest imports this file a second time, to look for examples
    HOOKS.register_module(module=WatchTeacherHook)


def hash_of(state_dict):
    digest = hashlib.sha256()
    for name in sorted(state_dict):
        digest.update(name.encode())
        digest.update(state_dict[name].cpu().numpy().tobytes())
    return digest.hexdigest()
