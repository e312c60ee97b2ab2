"""What a step of BalConpas needs and does not find: an error before anything is trained."""

import pytest
import small_runs
import tiny
import torch

from mmcomformer.engine import driver
from mmcomformer.engine.checkpoint_fit import check_teacher
from mmcomformer.engine.request import Request, load_config

CONFIG = str(tiny.CONFIGS / 'balconpas_shapes_6-3.py')
TOKEN = 'model.extra_losses.token: BacktraceDistillLoss needs'


def run(root, work_dir, step, teacher=None, **options):
    options = small_runs.small_options(root, **options)
    driver.run(
        Request(
            config=CONFIG, step=step, work_dir=str(work_dir), cfg_options=options, teacher=teacher
        )
    )


@pytest.mark.parametrize(
    ('hook', 'message'),
    [
        ('PreviousStepHook', 'a teacher, and custom_hooks have PreviousStepHook, which gives none'),
        ('TeacherHook', 'pseudo-labels, and custom_hooks have TeacherHook, .*; use PseudoLabelHook'),
    ],
)
def test_no_teacher_or_pseudo_labels(hook, message, shapes_root, tmp_path):
    """Found at step 0 already, not when it is trained."""
    with pytest.raises(ValueError, match=f'{TOKEN} {message}'):
        run(shapes_root, tmp_path, 0, custom_hooks=[{'type': hook}])
    assert not list(tmp_path.rglob('*.pth'))


def test_no_checkpoint_of_the_step_before(shapes_root, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no checkpoint in .*step0: train that step first'):
        run(shapes_root, tmp_path, 1)


def test_a_teacher_of_another_method(finished_run, shapes_root, tmp_path):
    """CoMFormer's weights have the same names and shapes."""
    path = finished_run[0] / 'step0' / 'iter_3.pth'
    with pytest.raises(RuntimeError, match=r'iter_3.pth: it is not of a model that .*') as error:
        run(shapes_root, tmp_path, 1, teacher=str(path))
    (line,) = str(error.value).splitlines()
    assert "model.panoptic_head.type is 'ComFormerHead' there" in line
    assert 'pass a checkpoint of BalConpas, or train the steps before with this config' in line
    assert not list(tmp_path.rglob('*.pth'))


def trained_with(name, step, **options):
    """Return what a checkpoint of a config says of itself."""
    cfg = load_config(Request(config=str(tiny.CONFIGS / name), cfg_options=options), step)
    continual = dict(step=step, scenario=cfg.scenario.to_dict())
    return dict(meta=dict(cfg=cfg.pretty_text, continual=continual), state_dict={})


@pytest.mark.parametrize(
    ('name', 'step', 'options', 'fault'),
    [
        ('comformer_shapes_6-3.py', 0, {}, None),
        # the losses and test settings of a method do not matter, nor does its name at step 0
        ('mib_shapes_6-3.py', 0, {'model.test_cfg.iou_thr': 0.8}, None),
        ('plop_shapes_6-3.py', 1, {}, 'trained by the method PLOP, and the config is of CoMFormer'),
        ('comformer_shapes_6-3.py', 1, {'model.panoptic_head.loss_cls.gamma': 2.0}, None),
        (
            'comformer_shapes_6-3.py',
            1,
            {'model.panoptic_head.class_activation': dict(type='ClassSoftmax'),
             'model.panoptic_head.mask_activation.type': 'QuerySigmoid',
             'model.panoptic_head.loss_mask.type': 'SigmoidMaskLoss',
             'model.panoptic_head.loss_dice.type': 'SigmoidDiceLoss'},
            "mask_activation.type is 'QuerySigmoid' there and 'QuerySoftmax' here",
        ),
    ],
)  # fmt: skip
def test_which_teachers_fit(name, step, options, fault):
    cfg = load_config(Request(config=str(tiny.CONFIGS / 'comformer_shapes_6-3.py')), step + 1)
    checkpoint = trained_with(name, step, **options)
    if fault is None:
        check_teacher(cfg, checkpoint, 'a.pth')
    else:
        with pytest.raises(RuntimeError, match=fault):
            check_teacher(cfg, checkpoint, 'a.pth')


def test_how_segments_are_made_of_a_teachers_predictions_does_not_matter():
    name = 'comformer_shapes_semantic_6-3.py'
    fusion = {'model.decode_head.semantic_fusion': dict(type='ScoreSumFusion')}
    cfg = load_config(Request(config=str(tiny.CONFIGS / name)), 1)
    check_teacher(cfg, trained_with(name, 0, **fusion), 'a.pth')


def test_a_checkpoint_without_its_config_is_judged_by_its_weights():
    cfg = load_config(Request(config=CONFIG), 1)
    meta = dict(continual=dict(step=0, scenario=cfg.scenario.to_dict()))
    check_teacher(cfg, dict(meta=meta, state_dict={'a': torch.ones(1)}), 'a.pth')
