"""What a step of BalConpas needs and does not find: an error before anything is trained."""

import pytest
import small_runs
import tiny
import torch

from mmcomformer.engine import driver
from mmcomformer.engine.request import Request, load_config

CONFIG = str(tiny.CONFIGS / 'balconpas_shapes_6-3.py')


def run(root, work_dir, step, teacher=None, **options):
    options = small_runs.small_options(root, **options)
    driver.run(
        Request(
            config=CONFIG, step=step, work_dir=str(work_dir), cfg_options=options, teacher=teacher
        )
    )


def test_no_pseudo_labels(shapes_root, tmp_path):
    """Found at step 0 already, not when it is trained."""
    message = 'BacktraceDistillLoss needs pseudo-labels, and custom_hooks have TeacherHook, which'
    with pytest.raises(ValueError, match=f'model.extra_losses.token: {message}'):
        run(shapes_root, tmp_path, 0, custom_hooks=[{'type': 'TeacherHook'}])
    assert not list(tmp_path.rglob('*.pth'))


def test_no_checkpoint_of_the_step_before(shapes_root, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no checkpoint in .*step0: train that step first'):
        run(shapes_root, tmp_path, 1)


def test_a_teacher_of_another_method(shapes_root, tmp_path):
    """CoMFormer's weights have the same names and shapes, its settings are others."""
    cfg = load_config(Request(config=small_runs.CONFIG), 0)
    continual = dict(step=0, scenario=cfg.scenario.to_dict())
    path = tmp_path / 'comformer.pth'
    torch.save(dict(meta=dict(cfg=cfg.pretty_text, continual=continual), state_dict={}), path)
    with pytest.raises(RuntimeError, match='it is not of a model that this config goes') as error:
        run(shapes_root, tmp_path / 'run', 1, teacher=str(path))
    (line,) = str(error.value).splitlines()
    assert line.startswith(f'checkpoint {path}: ')
    assert "model.panoptic_head.type is 'ComFormerHead' there" in line
    assert 'pass a checkpoint of BalConpas, or train the steps before with this config' in line
    assert not list((tmp_path / 'run').rglob('*.pth'))
