"""Each ablation of the README is one line that changes what it says and nothing else."""

import functools
import re
from pathlib import Path

import pytest
import tiny
import torch
from mmengine.registry import HOOKS, MODELS, DefaultScope

import mmcomformer.methods.comformer
from mmcomformer.config_tree import plain as copied
from mmcomformer.config_tree import put
from mmcomformer.engine.cli import parse_options
from mmcomformer.engine.request import Request, load_config
from mmcomformer.engine.scenario_config import model_at_step, scenario_of
from mmcomformer.models import FrozenTeacher, MaskPseudoLabels, QuerySigmoid

README = Path(mmcomformer.methods.comformer.__file__).with_name('README.md')
TASKS = {'panoptic': 'comformer_shapes_6-3.py', 'semantic': 'comformer_shapes_semantic_6-3.py'}
LEVELS = ('', 'd0.', 'd1.', 'd2.')
LOSSES = {f'{level}loss_{part}' for level in LEVELS for part in ('cls', 'mask', 'dice')}
DISTILL = 'loss_distill'


def lines():
    """Return the options of each row of the README's table, by its first words."""
    section = README.read_text().split('## Ablations')[1].split('\n## ')[0]
    return dict(re.findall(r'^\| ([^|]+?) \| `([^`]+)` \|$', section, re.MULTILINE))


LINES = lines()
SIGMOID, ADAPTIVE, UNBIASED, NO_DISTILL, NO_PSEUDO, OVERLAP, SCORE = LINES


def config(task, line=None):
    options = parse_options(line.split()) if line else {}
    if task == 'semantic':
        options = {key.replace('panoptic_head', 'decode_head'): v for key, v in options.items()}
    request = Request(config=str(tiny.CONFIGS / TASKS[task]), cfg_options=options)
    return load_config(request, 1), options


_base_config = functools.cache(lambda task: config(task)[0])


def base_settings(task):
    return copied(_base_config(task).to_dict())


@pytest.mark.parametrize('task', TASKS)
@pytest.mark.parametrize('name', LINES)
def test_what_a_line_changes_in_the_config(name, task):
    """Its keys, to its values, and no other key."""
    changed, options = config(task, LINES[name])
    before = base_settings(task)
    expected = base_settings(task)
    for key, value in options.items():
        put(expected, key, value)
    found = changed.to_dict()
    assert found == expected
    assert found != before


class Step:
    """A model at step 1 with its teacher, as a config has them, on one batch."""

    def __init__(self, task, line=None):
        cfg, _ = config(task, line)
        head = {'panoptic': 'panoptic_head', 'semantic': 'decode_head'}[task]
        cfg.model[head].num_queries, cfg.model.train_cfg.num_points = 8, 64
        with DefaultScope.overwrite_default_scope(cfg.default_scope):
            self.model, teacher = (self.built(model_at_step(cfg.model, step)) for step in (1, 0))
            hook = HOOKS.build(cfg.custom_hooks[0])
        # sure of classes and masks
        teacher.mask_head.cls_embed.no_object.bias.data.fill_(-1)
        teacher.mask_head.cls_embed.steps[0].weight.data *= 2
        teacher.mask_head.mask_embed[-1].weight.data *= 40
        self.model.teacher = FrozenTeacher(teacher)
        self.labeller = self.model.pseudo_labeller = hook.build_labeller(teacher.mask_head)
        torch.manual_seed(3)
        self.batch = torch.randn(2, 3, 64, 64), self.samples(task, scenario_of(cfg))

    @staticmethod
    def built(model_cfg):
        torch.manual_seed(0)
        model = MODELS.build(model_cfg)
        model.init_weights()
        return model.eval()

    @staticmethod
    def samples(task, scenario):
        label = scenario.learning_to_label[scenario.num_old]
        if task == 'panoptic':
            return tiny.samples([label], [])
        label_map = torch.full((64, 64), 255)
        label_map[:20, :30] = label
        return tiny.label_samples(label_map, torch.full((64, 64), 255))

    def losses(self):
        torch.manual_seed(4)
        losses = self.model.loss(*self.batch)
        return {name.removeprefix('decode.'): value.detach() for name, value in losses.items()}

    def targets(self):
        return self.model.targets_and_teacher(*self.batch)[0]


@pytest.fixture(scope='module', params=TASKS)
def plain(request):
    step = Step(request.param)
    return request.param, step, step.losses()


def differing(ours, theirs):
    names = set(ours) & set(theirs)
    return {name for name in names if not torch.equal(ours[name], theirs[name])}


def test_there_is_something_to_change(plain):
    _, step, losses = plain
    assert set(losses) == LOSSES | {DISTILL}
    assert all((target.is_pseudo & target.valid).any() for target in step.targets())


@pytest.mark.parametrize('name', [ADAPTIVE, UNBIASED])
def test_another_distillation(plain, name):
    task, _, losses = plain
    found = Step(task, LINES[name]).losses()
    assert set(found) == set(losses)
    assert differing(found, losses) == {DISTILL}


def test_no_distillation(plain):
    task, _, losses = plain
    found = Step(task, LINES[NO_DISTILL]).losses()
    assert set(found) == LOSSES
    assert differing(found, losses) == set()


def test_no_pseudo_labels(plain):
    task, step, losses = plain
    other = Step(task, LINES[NO_PSEUDO])
    assert not any((target.is_pseudo & target.valid).any() for target in other.targets())
    found = other.losses()
    assert DISTILL not in differing(found, losses)
    assert differing(found, losses)
    # as without anybody who makes them
    step.model.pseudo_labeller = None
    assert differing(found, step.losses()) == set()
    step.model.pseudo_labeller = step.labeller


@pytest.mark.parametrize('name', [OVERLAP, SCORE])
def test_other_thresholds(plain, name):
    task, step, losses = plain
    [(key, value)] = parse_options(LINES[name].split()).items()
    other = Step(task, LINES[name])
    head = other.model.teacher.model.mask_head
    by_hand = MaskPseudoLabels(head.mask_activation, **{key.rsplit('.', 1)[-1]: value})
    other_valid = [target.valid.tolist() for target in other.targets()]
    assert other_valid != [target.valid.tolist() for target in step.targets()]
    other.model.pseudo_labeller = by_hand
    assert other_valid == [target.valid.tolist() for target in other.targets()]
    assert DISTILL not in differing(other.losses(), losses)


def test_sigmoid_masks(plain):
    task, step, losses = plain
    other = Step(task, LINES[SIGMOID])
    heads = [other.model.mask_head, other.model.teacher.model.mask_head]
    assert all(isinstance(head.mask_activation, QuerySigmoid) for head in heads)
    assert isinstance(other.labeller.mask_activation, QuerySigmoid)
    ours, theirs = other.model.mask_head, step.model.mask_head
    names = [
        type(getattr(ours, part)).__name__ for part in ('loss_mask', 'loss_dice', 'match_cost')
    ]
    assert names == ['SigmoidMaskLoss', 'SigmoidDiceLoss', 'WeightedMatchCost']
    assert [ours.loss_mask.loss_weight, ours.loss_dice.loss_weight] == [5, 5]
    assert vars(ours.loss_cls).keys() == vars(theirs.loss_cls).keys()
    assert type(ours.loss_cls) is type(theirs.loss_cls)
    weights = [step_.model.state_dict() for step_ in (other, step)]
    assert differing(*weights) == set()
    found = other.losses()
    assert set(found) == set(losses)
    assert all(value.isfinite() for value in found.values())
    assert differing(found, losses) >= {f'{level}loss_mask' for level in LEVELS}
