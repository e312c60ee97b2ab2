"""What a step of SimCIS needs and does not find: an error before anything is trained."""

import pytest
import small_runs
import tiny
import torch
from mmengine.registry import MODELS, DefaultScope

from mmcomformer.engine import driver
from mmcomformer.engine.request import Request, load_config

CONFIG = str(tiny.CONFIGS / 'simcis_shapes_6-3.py')


def run(root, work_dir, step, teacher=None, **options):
    options = small_runs.small_options(root, **options)
    driver.run(
        Request(
            config=CONFIG, step=step, work_dir=str(work_dir), cfg_options=options, teacher=teacher
        )
    )
    assert not list(work_dir.rglob('*.pth'))


def test_no_teacher(shapes_root, tmp_path):
    """Found at step 0 already, not when it is needed."""
    message = 'ConsistentSelectionLoss needs a teacher, and custom_hooks have PreviousStepHook'
    with pytest.raises(ValueError, match=f'model.extra_losses.select: {message}'):
        run(shapes_root, tmp_path, 0, custom_hooks=[{'type': 'PreviousStepHook'}])


def test_no_checkpoint_of_the_step_before(shapes_root, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no checkpoint in .*step0: train that step first'):
        run(shapes_root, tmp_path, 1)


def test_a_teacher_of_another_method(shapes_root, tmp_path):
    cfg = load_config(Request(config=small_runs.CONFIG), 0)
    continual = dict(step=0, scenario=cfg.scenario.to_dict())
    path = tmp_path / 'comformer.pth'
    torch.save(dict(meta=dict(cfg=cfg.pretty_text, continual=continual), state_dict={}), path)
    with pytest.raises(RuntimeError, match="type is 'ComFormerHead' there") as error:
        run(shapes_root, tmp_path / 'run', 1, teacher=str(path))
    assert len(str(error.value).splitlines()) == 1


def test_a_bank_of_other_classes(shapes_root, tmp_path):
    """In one line that names the checkpoint."""
    cfg = load_config(
        Request(config=CONFIG, cfg_options={'model.panoptic_head.num_queries': 10}), 0
    )
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg.model)
    state = dict(model.panoptic_head.bank.method_state(), sizes=torch.zeros(4, dtype=torch.long))
    continual = dict(step=0, scenario=cfg.scenario.to_dict())
    content = dict(meta=dict(cfg=cfg.pretty_text, continual=continual))
    content['state_dict'] = model.state_dict()
    content['method_state'] = {'panoptic_head.bank': state}
    path = tmp_path / 'simcis.pth'
    torch.save(content, path)
    message = 'query bank: it is of 4 classes, but the scenario has 6 by step 0; use the'
    with pytest.raises(RuntimeError, match=message) as error:
        run(shapes_root, tmp_path / 'run', 1, teacher=str(path))
    (line,) = str(error.value).splitlines()
    assert line.startswith(f'checkpoint {path}: ')
