"""Small trainings within the process of the tests, and what they are watched by."""

import hashlib
from pathlib import Path

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from mmcomformer.engine.checkpoint import read_checkpoint
from mmcomformer.engine.request import Request, load_config

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


def write_config(run, path):
    """Write the config of a run as a user has it: the step comes from the environment."""
    cfg = load_config(Request(config=CONFIG, cfg_options=run[2]), 1)
    text = cfg.pretty_text
    from_environment = "{{'$STEP:0'}}"
    text = text.replace('step = 1', f'step = {from_environment}')
    path.write_text(text.replace("'step': 1", f"'step': {from_environment}"))
    return str(path)


def with_bias_of_no_object(checkpoint, added, path):
    """Write a checkpoint that finds nothing, or something wherever it looks."""
    content = read_checkpoint(checkpoint)
    content['state_dict']['panoptic_head.cls_embed.no_object.bias'] += added
    # masks that reach 0.5
    content['state_dict']['panoptic_head.mask_embed.4.weight'] *= 1000
    torch.save(content, path)
    return str(path)


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
