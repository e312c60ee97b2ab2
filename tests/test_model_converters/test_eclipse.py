"""Checkpoints of the released ECLIPSE program: prompts, MLPs, and all steps."""

import re

import official
import pytest
import torch

from mmcomformer.engine.checkpoint import check_previous_step, continual_meta, read_checkpoint
from mmcomformer.engine.request import Request, load_config
from mmcomformer.engine.scenario_config import scenario_of
from mmcomformer.model_converters import convert_from_detectron2, convert_to_detectron2

pytestmark = pytest.mark.families

PREDICTOR = 'sem_seg_head.predictor'
PROMPTS, WIDTH, MASK_WIDTH, LAYERS = 4, 64, 32, 3
HEAD = """
        type='EclipseHead', num_prompts=4, mask_activation=dict(type='QuerySigmoid'),
        loss_cls=dict(_delete_=True, type='SigmoidFocalClassLoss'),
        loss_mask=dict(_delete_=True, type='SigmoidMaskLoss'),
        loss_dice=dict(_delete_=True, type='SigmoidDiceLoss'),"""


def table(values):
    return {f'{PREDICTOR}.{name}': value for name, value in values.items()}


def mlp(name, out):
    """Two hidden layers and an output layer."""
    sizes = [(WIDTH, WIDTH), (WIDTH, WIDTH), (out, WIDTH)]
    return table(
        {
            f'{name}.layers.{i}.{leaf}': torch.randn(shape)
            for i, size in enumerate(sizes)
            for leaf, shape in (('weight', size), ('bias', size[:1]))
        }
    )


def released(step, *, plain=False):
    """Return a model as the released program names it, after step 0 (6 classes) or 1 (3 more)."""
    model = dict(torch.load(official.checkpoint_path(step), weights_only=True)['model'])
    model = {name: x for name, x in model.items() if '.class_embed.' not in name}
    for number, count in enumerate([1, 6, 3][: step + 2]):
        model |= mlp(f'class_embed.cls.{number}', count)
    ending = '' if plain else '.weight'
    for group in range(step):
        names = [f'prompt_feat.{group}', *(f'prompt_embed.{group}.{i}' for i in range(LAYERS))]
        model |= table({f'{name}{ending}': torch.randn(PROMPTS, WIDTH) for name in names})
        model |= mlp(f'prompt_mask_embed.{group}', MASK_WIDTH)
    return model


def save(path, model):
    torch.save({'model': model, 'iteration': 99}, path)
    return path


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    return official.write_config(
        tmp_path_factory.mktemp('eclipse'),
        masks=(HEAD, 'WeightedMatchCost'),
        extra="model['extra_losses'] = dict(distill=None)",
    )


@pytest.mark.parametrize('plain', [False, True])
@pytest.mark.parametrize('step', [0, 1])
def test_there_and_back(config, tmp_path, step, plain):
    model = released(step, plain=plain)
    source = save(tmp_path / 'in.pth', model)
    done = convert_from_detectron2(source, tmp_path / 'ours.pth', config=config)
    assert done.scenario.step == step
    assert done.num_tensors == len(model)
    ours = read_checkpoint(tmp_path / 'ours.pth')
    built = official.build(config, step)
    built.load_state_dict(ours['state_dict'], strict=True)
    # that of the head, of which the config says nothing
    assert built.panoptic_fusion_head.class_activation.name == 'sigmoid'
    count = convert_to_detectron2(tmp_path / 'ours.pth', tmp_path / 'back.pth')
    back = torch.load(tmp_path / 'back.pth', weights_only=True)['model']
    assert count == len(back)
    assert back.keys() == model.keys()
    assert all(torch.equal(x, model[name]) for name, x in back.items())


def test_next_step_may_start_from_it(config, tmp_path):
    convert_from_detectron2(
        save(tmp_path / 'in.pth', released(0)), tmp_path / 'ours.pth', config=config
    )
    scenario = scenario_of(load_config(Request(config=str(config)), 1))
    continual = continual_meta(read_checkpoint(tmp_path / 'ours.pth'), tmp_path / 'ours.pth')
    check_previous_step(continual, scenario, tmp_path / 'ours.pth')


def test_what_does_not_fit(config, tmp_path):
    missing, extra, wrong, other = (released(1) for _ in range(4))
    del missing[f'{PREDICTOR}.prompt_embed.0.2.weight']
    extra[f'{PREDICTOR}.prompt_feat.1.weight'] = torch.randn(PROMPTS, WIDTH)
    wrong[f'{PREDICTOR}.prompt_feat.0.weight'] = torch.randn(PROMPTS + 1, WIDTH)
    other = dict(torch.load(official.checkpoint_path(1), weights_only=True)['model'])
    for model, message in (
        (missing, r'missing \(1\): sem_seg_head.predictor.prompt_embed.0.2.weight'),
        (extra, r'unused \(1\): sem_seg_head.predictor.prompt_feat.1.weight'),
        (
            wrong,
            r'1 groups of 5 prompts; expected: .*wrong \(1\): .*prompt_feat.0.weight is \(5, 64\)',
        ),
        (other, r'missing \(.*prompt_feat.0.weight'),
    ):
        source = save(tmp_path / 'in.pth', model)
        with pytest.raises(RuntimeError, match=re.compile(message, re.DOTALL)):
            convert_from_detectron2(source, tmp_path / 'ours.pth', config=config)
    assert not (tmp_path / 'ours.pth').exists()


@pytest.mark.parametrize('classifier', ['single', 'growing'])
def test_mlps_are_not_one_layer(config, tmp_path, classifier):
    source = save(tmp_path / 'in.pth', released(1))
    convert_from_detectron2(source, tmp_path / 'ours.pth', config=config)
    with pytest.raises(ValueError, match=f"has an MLP per step, which cannot be '{classifier}'"):
        convert_to_detectron2(tmp_path / 'ours.pth', tmp_path / 'x.pth', classifier=classifier)
