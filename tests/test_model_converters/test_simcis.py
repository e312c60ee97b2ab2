"""Checkpoints of the released SimCIS program: one classifier of all classes, and no bank."""

import official
import pytest
import torch

from mmcomformer.engine.checkpoint import META_KEY, check_previous_step, read_checkpoint
from mmcomformer.engine.request import Request, load_config
from mmcomformer.engine.scenario_config import scenario_of
from mmcomformer.model_converters import convert_from_detectron2, convert_to_detectron2
from mmcomformer.models.method_state import load_states

pytestmark = pytest.mark.families

PREDICTOR = 'sem_seg_head.predictor'
WIDTH, CLASSES = 64, 9
HEAD = """
        type='SimCISHead', num_virtual=2, classifier='{classifier}',
        mask_activation=dict(type='QuerySigmoid'),
        loss_cls=dict(_delete_=True, type='ClassFocalLoss'),
        loss_mask=dict(_delete_=True, type='SigmoidMaskLoss'),
        loss_dice=dict(_delete_=True, type='SigmoidDiceLoss'),"""


def mlp(name, *widths):
    return {
        f'{PREDICTOR}.{name}.layers.{i}.{leaf}': torch.randn(shape)
        for i, size in enumerate(zip(widths[1:], widths[:-1], strict=True))
        for leaf, shape in (('weight', size), ('bias', size[:1]))
    }


def released():
    """Return a model as the released program names it."""
    model = dict(torch.load(official.checkpoint_path(0), weights_only=True)['model'])
    model = {
        name: x
        for name, x in model.items()
        if '.class_embed.' not in name and '.query_' not in name
    }
    for name, out in (('class_embed', CLASSES), ('enc_output', WIDTH)):
        model[f'{PREDICTOR}.{name}.weight'] = torch.randn(out, WIDTH)
        model[f'{PREDICTOR}.{name}.bias'] = torch.randn(out)
    for leaf in ('weight', 'bias'):
        model[f'{PREDICTOR}.encoder_norm.{leaf}'] = torch.randn(WIDTH)
    model |= mlp('_bbox_embed', WIDTH, WIDTH, WIDTH, 4)
    model |= mlp('ref_point_head', 2 * WIDTH, WIDTH, WIDTH)
    return model | mlp('query_scale', WIDTH, WIDTH, WIDTH)


def save(path, model):
    torch.save({'model': model, 'iteration': 99}, path)
    return path


@pytest.fixture(scope='module', params=['growing', 'static'])
def config(request, tmp_path_factory):
    return official.write_config(
        tmp_path_factory.mktemp('simcis'),
        masks=(HEAD.format(classifier=request.param), 'BoxMatchCost'),
        extra="model['extra_losses'] = dict(distill=None)",
    )


def same(one, other):
    return one.keys() == other.keys() and all(
        torch.equal(x, other[name]) for name, x in one.items()
    )


@pytest.mark.parametrize('step', [0, 1])
def test_there_and_back(config, tmp_path, step):
    model = released()
    source = save(tmp_path / 'in.pth', model)
    done = convert_from_detectron2(source, tmp_path / 'ours.pth', config=config, step=step)
    assert done.scenario.step == step
    assert (done.left_out, done.initial) == ((), ())
    ours = read_checkpoint(tmp_path / 'ours.pth')
    built = official.build(config, step)
    built.load_state_dict(ours['state_dict'], strict=True)
    rows = built.panoptic_head.cls_embed(torch.eye(WIDTH)).detach().T[: 6 + 3 * step]
    classes = model[f'{PREDICTOR}.class_embed.weight'][: 6 + 3 * step]
    bias = model[f'{PREDICTOR}.class_embed.bias'][: 6 + 3 * step]
    torch.testing.assert_close(rows, classes + bias[:, None])
    convert_to_detectron2(tmp_path / 'ours.pth', tmp_path / 'back.pth')
    back = torch.load(tmp_path / 'back.pth', weights_only=True)
    assert same(dict(back['model']), model)
    assert back['iteration'] == 99


def test_the_next_step_starts_from_it(config, tmp_path):
    """Without virtual queries: the released bank is in another file."""
    source = save(tmp_path / 'in.pth', released())
    convert_from_detectron2(source, tmp_path / 'ours.pth', config=config, step=0)
    ours = read_checkpoint(tmp_path / 'ours.pth')
    later = scenario_of(load_config(Request(config=str(config)), 1))
    check_previous_step(ours['meta'][META_KEY], later, 'ours.pth')
    student = official.build(config, 1)
    load_states(student, ours['method_state'], 'ours.pth')
    assert not student.panoptic_head.bank.can_draw


def test_a_model_trained_here(config, tmp_path):
    """Classes to come, of which a growing classifier knows nothing, say 1 %."""
    built = official.build(config, 0)
    scenario = scenario_of(load_config(Request(config=str(config)), 0))
    meta = {META_KEY: dict(step=0, scenario=scenario.to_dict()), 'iter': 7}
    torch.save(dict(meta=meta, state_dict=built.state_dict()), tmp_path / 'ours.pth')
    convert_to_detectron2(tmp_path / 'ours.pth', tmp_path / 'theirs.pth')
    model = torch.load(tmp_path / 'theirs.pth', weights_only=True)['model']
    assert model.keys() == released().keys()
    assert model[f'{PREDICTOR}.class_embed.weight'].shape == (CLASSES, WIDTH)
    if hasattr(built.panoptic_head.cls_embed, 'steps'):
        to_come = model[f'{PREDICTOR}.class_embed.bias'][6:].sigmoid()
        torch.testing.assert_close(to_come, torch.full((3,), 0.01))
    with pytest.raises(ValueError, match="classifier: SimCIS' is one layer .* 'incremental'"):
        convert_to_detectron2(tmp_path / 'ours.pth', tmp_path / 'no.pth', classifier='incremental')


def test_what_does_not_fit(config, tmp_path):
    model = released()
    source = save(tmp_path / 'in.pth', model)
    with pytest.raises(ValueError, match='step: the classifier of .*in.pth has all classes'):
        convert_from_detectron2(source, tmp_path / 'out.pth', config=config)
    del model[f'{PREDICTOR}.query_scale.layers.1.bias']
    source = save(tmp_path / 'in.pth', model)
    with pytest.raises(RuntimeError, match=r'missing \(1\): .*query_scale.layers.1.bias'):
        convert_from_detectron2(source, tmp_path / 'out.pth', config=config, step=0)
    for leaf in ('weight', 'bias'):
        name = f'{PREDICTOR}.class_embed.{leaf}'
        model[name] = model[name][:7]
    source = save(tmp_path / 'in.pth', model)
    with pytest.raises(RuntimeError, match='its classifier has 7 classes, but .* teaches 9 in all'):
        convert_from_detectron2(source, tmp_path / 'out.pth', config=config, step=0)
    assert not (tmp_path / 'out.pth').exists()


def test_the_config_of_another_method(tmp_path):
    source = save(tmp_path / 'in.pth', released())
    config = official.write_config(tmp_path)
    with pytest.raises(RuntimeError, match='does not fit the model'):
        convert_from_detectron2(source, tmp_path / 'out.pth', config=config, step=0)
