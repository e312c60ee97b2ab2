"""What a method can do, each shown by a toy method in both tasks."""

import json
import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import small_runs
import tiny
import torch
from mmengine.registry import MODELS, DefaultScope
from torch import nn
from torch.nn import functional

from mmcomformer.engine import driver, method_state
from mmcomformer.engine.checkpoint import read_checkpoint
from mmcomformer.engine.hooks import data_pass_hook, previous_step_hook
from mmcomformer.engine.request import Request
from mmcomformer.methods.comformer import ComFormerHead
from mmcomformer.models import FrozenTeacher, MaskPseudoLabels, SemanticQueryHead, StepwiseModule
from mmcomformer.models.freezing import frozen_parameters
from mmcomformer.models.growing import newest_parameters
from mmcomformer.models.method_state import load_states
from mmcomformer.models.query_head import DecoderQueries

CONFIGS = {
    'panoptic': ('comformer_shapes_6-3.py', 'panoptic_head', 'ToyHead'),
    'semantic': ('comformer_shapes_semantic_6-3.py', 'decode_head', 'ToySemanticHead'),
}
HOOKS = [
    {'type': 'PseudoLabelHook', 'labeller': {'type': 'MaskPseudoLabels', 'share': 'strong'}},
    {'type': 'DataPassHook'},
]


class Prompts(StepwiseModule):
    """An embedding per step, which starts as the mean of those before."""

    def __init__(self, width, num_steps):
        super().__init__(nn.Embedding(1, width) for _ in range(num_steps))

    def initialise_newest(self):
        mean = torch.stack([step.weight for step in self.steps[:-1]]).mean(0)
        self.steps[-1].weight.data.copy_(mean)


class Counts(nn.Module):
    """Counts images that the pass shows and pseudo-labels that training shows."""

    def __init__(self):
        super().__init__()
        self.shared, self.fresh = torch.zeros(2), torch.zeros(2)

    def observe(self, targets, teacher):
        self.fresh += torch.tensor([len(targets), float(teacher is not None)])

    def method_state(self):
        return {'shared': self.shared, 'fresh': self.fresh}

    def merge_states(self, states):
        return {'shared': states[0]['shared'] + sum(state['fresh'] for state in states)}

    def load_method_state(self, state):
        self.shared, self.fresh = state['shared'].clone(), torch.zeros(2)


@MODELS.register_module()
class ToyHead(ComFormerHead):
    """Prompts join the queries, which also look at the teacher's tokens."""

    reads_of_teacher = frozenset({'tokens'})

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.prompts = Prompts(self.query_feat.embedding_dim, self.scenario.step + 1)
        self.counts = Counts()
        self.seen = []

    def initial_queries(self, mask_features, memories, teacher):
        queries = super().initial_queries(mask_features, memories, teacher)
        self.seen.append(None if teacher is None else [t.shape for t in teacher.tokens])
        prompt = sum(step.weight for step in self.prompts.steps)
        blocked = ~torch.eye(queries.tokens.shape[1], dtype=torch.bool)
        return DecoderQueries(queries.tokens + prompt, queries.positions, blocked)


@MODELS.register_module()
class ToySemanticHead(SemanticQueryHead, ToyHead):
    """The same for semantic segmentation."""


@MODELS.register_module()
class ToyLoss(nn.Module):
    """Looks at everything that a loss can look at."""

    needs_teacher = False
    reads = frozenset({'levels', 'tokens', 'mask_features', 'feats'})

    def forward(self, student, teacher, targets, assignments):
        self.seen = student, teacher, targets, assignments
        matched = [
            student.tokens[-1][image, torch.from_numpy(queries)][targets[image].is_pseudo[chosen]]
            for image, (queries, chosen) in enumerate(assignments[-1])
        ]
        return {'loss_toy': torch.cat(matched).square().sum() + student.mask_features.mean()}


def build(task, step=1, losses=None, freeze=None, **head):
    """Build a tiny model of a task with the toy head."""
    config = {'panoptic': tiny.model_config, 'semantic': tiny.semantic_config}[task](step)
    _, key, kind = CONFIGS[task]
    for name, value in head.items():
        config[key][name] = value
    config[key].type = kind
    config.update(extra_losses=losses, freeze=freeze)
    torch.manual_seed(step)
    with DefaultScope.overwrite_default_scope({'panoptic': 'mmdet', 'semantic': 'mmseg'}[task]):
        model = MODELS.build(config)
    model.init_weights()
    return model


def batch(task):
    if task == 'panoptic':
        return torch.randn(2, 3, 64, 64), tiny.samples([tiny.SEA, tiny.FOX], [])
    label_map = torch.full((64, 64), 255)
    label_map[:20, :30] = 4
    return torch.randn(2, 3, 64, 64), tiny.label_samples(label_map, label_map.T)


@pytest.fixture(scope='module', params=CONFIGS)
def run(request, shapes_root, tmp_path_factory):
    """A run of two steps with the toy method; returns its task and folder."""
    name, key, kind = CONFIGS[request.param]
    task = request.param
    options = small_runs.small_options(shapes_root, head=key)
    options |= {
        f'model.{key}.type': kind,
        'model.extra_losses': {'toy': {'type': 'ToyLoss'}},
        'model.freeze': {'names': ['backbone.*'], 'keep': ['backbone.layer4.*']},
        'custom_hooks': [*HOOKS, {'type': 'SummaryHook', 'method': 'toy', 'task': task}],
    }
    work_dir = tmp_path_factory.mktemp(task)
    config = str(tiny.CONFIGS / name)
    with pytest.MonkeyPatch.context() as patch:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        for step in (0, 1):
            asked = Request(config=config, step=step, work_dir=str(work_dir), cfg_options=options)
            driver.run(asked)
        patch.undo()
        torch.set_num_threads(threads)
    return task, key, work_dir


def weights_of(work_dir, step):
    return read_checkpoint(work_dir / f'step{step}' / 'iter_3.pth')


def test_both_steps_are_evaluated(run):
    _, _, work_dir = run
    summary = json.loads((work_dir / 'summary.json').read_text())
    assert [step['step'] for step in summary['steps']] == [0, 1]


def test_a_module_grows(run):
    """The newest prompt starts as the mean of the others, and was trained from there."""
    _, key, work_dir = run
    first, second = (weights_of(work_dir, step)['state_dict'] for step in (0, 1))
    name = f'{key}.prompts.steps.{{}}.weight'
    assert name.format(1) not in first
    newest, start = second[name.format(1)], first[name.format(0)]
    assert 0 < (newest - start).abs().max() < 0.02


def test_frozen_parts_are_as_they_were(run):
    """Weights and the statistics of batch norms; what is kept is trained."""
    _, _, work_dir = run
    contents = [weights_of(work_dir, step) for step in (0, 1)]
    first, second = (content['state_dict'] for content in contents)
    backbone = [name for name in first if name.startswith('backbone.')]
    changed = [name for name in backbone if not torch.equal(first[name], second[name])]
    assert changed
    assert all(name.startswith('backbone.layer4.') for name in changed)
    sizes = [
        sum(len(group['params']) for group in content['optimizer']['param_groups'])
        for content in contents
    ]
    frozen = [
        name
        for name in backbone
        if not name.startswith('backbone.layer4.') and name.rsplit('.', 1)[-1] in ('weight', 'bias')
    ]
    # a prompt, and a layer of the classifier, are new
    assert sizes[1] == sizes[0] + 1 + 2 - len(frozen)


def test_state_of_the_method_is_in_the_checkpoint(run):
    """The images of each step are passed over once, at step 1 with a teacher; counts go on."""
    _, key, work_dir = run
    states = [weights_of(work_dir, step)['method_state'] for step in (0, 1)]
    assert [list(state) for state in states] == [[f'{key}.counts']] * 2
    summary = json.loads((work_dir / 'summary.json').read_text())
    images = [step['train_images'] for step in summary['steps']]
    counts = [state[f'{key}.counts']['shared'].tolist() for state in states]
    assert counts == [[images[0], 0], [sum(images), -(-images[1] // 2)]]


@pytest.mark.parametrize('task', CONFIGS)
def test_a_loss_sees_everything(task):
    """With a teacher whose output has all parts, and pseudo-labels that are told apart."""
    model = build(task, losses=dict(toy=dict(type='ToyLoss'))).train()
    teacher = build(task, 0)
    # sure of classes and masks
    teacher.mask_head.cls_embed.no_object.bias.data.fill_(-20)
    teacher.mask_head.mask_embed[-1].weight.data *= 100
    model.teacher = FrozenTeacher(teacher)
    model.pseudo_labeller = MaskPseudoLabels(
        teacher.mask_head.mask_activation, teacher.mask_head.class_activation
    )
    losses = model.loss(*batch(task))
    student, said, targets, assignments = model.extra_losses['toy'].seen
    assert len(student.tokens) == len(student.cls_scores) == len(assignments) == 4
    assert len(said.tokens) == len(said.cls_scores) == 4
    assert [feat.shape for feat in said.feats] == [feat.shape for feat in student.feats]
    assert said.mask_features.shape == student.mask_features.shape == (2, 64, 16, 16)
    for target in targets:
        truth = ~target.is_pseudo
        assert (target.labels[truth] >= 2).all()
        assert (target.labels[target.is_pseudo & target.valid] < 2).all()
        assert target.boxes.shape == (len(target.labels), 4)
    assert any((target.is_pseudo & target.valid).any() for target in targets)
    # the student came after the teacher
    assert model.mask_head.seen == [[token.shape for token in said.tokens]]
    prefix = 'decode.' if task == 'semantic' else ''
    losses[f'{prefix}loss_toy'].backward()
    assert model.mask_head.prompts.steps[1].weight.grad.abs().sum() > 0


@pytest.mark.parametrize('task', CONFIGS)
def test_the_student_sees_the_teacher_without_an_extra_loss(task):
    model = build(task).train()
    model.teacher = FrozenTeacher(build(task, 0))
    model.loss(*batch(task))
    assert [len(shapes) for shapes in model.mask_head.seen] == [4]


@pytest.mark.parametrize('task', CONFIGS)
def test_a_loss_that_needs_no_teacher(task):
    model = build(task, losses=dict(toy=dict(type='ToyLoss'), distill=None)).train()
    losses = model.loss(*batch(task))
    assert any(name.endswith('loss_toy') for name in losses)
    assert model.extra_losses['toy'].seen[1] is None


@pytest.mark.parametrize('task', CONFIGS)
def test_queries_that_do_not_see_each_other(task):
    """A query's prediction depends on no other query where self-attention is blocked."""
    model = build(task).eval()
    images, samples = batch(task)
    with torch.no_grad():
        before = model.query_output(images, samples).cls_score
        model.mask_head.query_feat.weight[3] += 1
        after = model.query_output(images, samples).cls_score
    same = (before - after).abs().amax((0, 2)) < 1e-5
    # masks compete in a softmax, but what a query attends to is its own
    assert not same[3]
    assert same.sum() >= 6


@pytest.mark.parametrize('task', CONFIGS)
@pytest.mark.parametrize('no_object', [True, False])
def test_another_class_activation(task, no_object):
    """Training and inference with sigmoids, with a no-object and without."""
    focal = dict(type='ToySigmoidLoss')
    activation = dict(type='ClassSigmoid', no_object=no_object)
    model = build(task, class_activation=activation, loss_cls=focal).train()
    width = model.mask_head.scenario.num_seen + no_object
    images, samples = batch(task)
    assert model.query_output(images, samples).cls_score.shape == (2, 8, width)
    losses = model.loss(images, samples)
    sum(losses.values()).backward()
    assert all(loss.isfinite() for loss in losses.values())
    model.eval()
    model.mask_head.cls_embed.steps[0].bias.data.fill_(5)
    model.mask_head.mask_embed[-1].weight.data *= 100
    with torch.no_grad():
        results = model.predict(images, samples)
    known = model.mask_head.scenario.seen_learning_to_label
    for result in results:
        codes = result.pred_panoptic_seg.sem_seg if task == 'panoptic' else result.pred_sem_seg.data
        labels = set((codes % 1000).unique().tolist())
        assert labels & set(known)
        assert labels <= {*known, model.mask_head.num_classes, 255, 0}


@MODELS.register_module()
class ToySigmoidLoss(nn.Module):
    """Binary cross-entropy of every class."""

    expects_classes = 'sigmoid'

    def forward(self, pred, target):
        one_hot = functional.one_hot(target, max(pred.shape[1], int(target.max()) + 1))
        truth = one_hot[:, : pred.shape[1]].to(pred.dtype)
        return functional.binary_cross_entropy_with_logits(pred, truth)


@pytest.mark.parametrize('task', CONFIGS)
def test_an_image_from_memory(task):
    images, samples = batch(task)
    samples[1].set_metainfo(dict(from_memory=True))
    model = build(task)
    model.teacher = FrozenTeacher(build(task, 0))
    model.pseudo_labeller = MaskPseudoLabels(model.mask_head.mask_activation)
    targets, _ = model.targets_and_teacher(images, samples)
    assert [target.from_memory for target in targets] == [False, True]


def test_every_newest_parameter_is_named():
    names = newest_parameters(build('panoptic'))
    head = 'panoptic_head'
    classifier = {f'{head}.cls_embed.steps.1.{part}' for part in ('weight', 'bias')}
    assert names == {*classifier, f'{head}.prompts.steps.1.weight'}


class Half(nn.Module):
    def newest_parameters(self, prefix):
        return frozenset()


def test_half_a_protocol():
    model = nn.Sequential(nn.Linear(1, 1), Half())
    with pytest.raises(TypeError, match=r'1 \(Half\): it has newest_parameters alone'):
        newest_parameters(model)


@pytest.mark.parametrize(
    ('losses', 'error', 'message'),
    [
        (
            dict(distill=dict(type='AdaptivDistillLoss')),
            ValueError,
            "extra_losses.distill: there is no loss 'AdaptivDistillLoss'; did you mean 'Adaptive",
        ),
        (dict(a=dict(weight=1)), TypeError, r'extra_losses.a: expected a dict with the type of a'),
        ([dict(type='PodLoss')], TypeError, 'extra_losses: expected a dict of losses by name'),
        (dict(a=dict(type='Greedy')), ValueError, r"a: Greedy reads \['all'\]; an output has"),
    ],
)
def test_bad_losses(losses, error, message):
    with pytest.raises(error, match=message):
        build('panoptic', losses=losses)


@MODELS.register_module()
class Greedy(nn.Module):
    reads = frozenset({'all', 'feats'})


def test_two_losses_of_one_name():
    twice = dict(a=dict(type='ToyLoss'), b=dict(type='ToyLoss'))
    model = build('panoptic', losses=twice).train()
    with pytest.raises(ValueError, match=r"extra_losses.b: ToyLoss gives \['loss_toy'\], which"):
        model.loss(*batch('panoptic'))


def test_distillation_needs_a_distribution():
    losses = dict(distill=dict(type='AdaptiveDistillLoss'))
    sigmoid = dict(class_activation=dict(type='ClassSigmoid'), loss_cls=dict(type='ToySigmoidLoss'))
    with pytest.raises(ValueError, match='extra_losses.distill: AdaptiveDistillLoss expects class'):
        build('panoptic', losses=losses, **sigmoid)


@pytest.mark.parametrize(
    ('freeze', 'error', 'message'),
    [
        (dict(names=['bakbone.*']), ValueError, r"names: 'bakbone.\*' matches no parameter; names"),
        (dict(names=['backbone.*'], keep=['neck']), ValueError, "keep: 'neck' matches no"),
        (dict(names='backbone.*'), TypeError, 'names: expected a list of patterns'),
        (dict(name=['backbone.*']), TypeError, r"model.freeze: unknown keys \['name'\]"),
    ],
)
def test_bad_freeze(freeze, error, message):
    with pytest.raises(error, match=message):
        build('panoptic', freeze=freeze)


@pytest.mark.parametrize('task', CONFIGS)
def test_what_is_frozen_stays_in_eval_mode(task):
    model = build(task, freeze=dict(names=['backbone.*'], keep=['backbone.layer4.*'])).train()
    assert model.training
    assert not model.backbone.layer1.training
    assert not model.backbone.layer1[0].bn1.training
    assert model.backbone.layer4.training
    assert all(not p.requires_grad for p in model.backbone.layer1.parameters())
    assert frozen_parameters(build(task, 0), dict(names=['*']), step=0) == set()


def test_a_pass_that_nobody_wants(shapes_root, tmp_path):
    options = small_runs.small_options(shapes_root)
    options['custom_hooks'] = [{'type': 'TeacherHook'}, {'type': 'DataPassHook'}]
    request = Request(config=small_runs.CONFIG, step=0, work_dir=str(tmp_path), cfg_options=options)
    with pytest.raises(TypeError, match='DataPassHook: no module of the model looks at the data'):
        driver.run(request)


@pytest.mark.parametrize('step', [0, 1])
@pytest.mark.parametrize('build_model', [tiny.build_model, tiny.build_segmentor])
def test_weights_have_the_names_of_earlier_checkpoints(build_model, step):
    """So that earlier checkpoints load; a change needs a conversion."""
    recorded = json.loads((tiny.CONFIGS.parent / 'tests' / 'data' / 'weights.json').read_text())
    task = {tiny.build_model: 'panoptic', tiny.build_segmentor: 'semantic'}[build_model]
    weights = build_model(step).state_dict()
    found = {name: 'x'.join(map(str, value.shape)) for name, value in weights.items()}
    assert found == recorded[f'{task} {step}']


def test_states_of_all_processes_are_merged(monkeypatch):
    """And given back to each, so that nothing is counted twice at the next checkpoint."""
    model = build('panoptic')
    counts = model.mask_head.counts
    counts.shared, counts.fresh = torch.tensor([10.0, 1.0]), torch.tensor([1.0, 0.0])
    other = {'shared': counts.shared, 'fresh': torch.tensor([5.0, 2.0])}
    monkeypatch.setattr(method_state, 'all_gather_object', lambda state: [state, other])
    for _ in range(2):
        merged = method_state.gather_states(model)
        assert merged['panoptic_head.counts']['shared'].tolist() == [16, 3]
        assert counts.shared.tolist() == [16, 3]
        assert counts.fresh.tolist() == [0, 0]
        other = {'shared': counts.shared, 'fresh': torch.zeros(2)}


def test_state_of_another_method():
    model = build('panoptic')
    message = (
        r'a.pth: it has the method state of \[\], but the model of this config keeps one of \['
    )
    with pytest.raises(RuntimeError, match=message):
        load_states(model, {}, 'a.pth')
    states = {'panoptic_head.counts': {'shared': torch.ones(2)}}
    load_states(model, states, 'a.pth')
    assert model.mask_head.counts.shared.tolist() == [1, 1]
    with pytest.raises(RuntimeError, match='use the checkpoint of the same method'):
        load_states(tiny.build_model(), states, 'a.pth')


class SameBatch(nn.Module):
    def forward(self, batch, training):
        return batch


class Batches(list):
    """A loader that draws random numbers, as augmentation does."""

    dataset = range(2)

    def __iter__(self):
        random.random(), np.random.rand(), torch.rand(1)
        return super().__iter__()


def test_when_data_is_passed_over(monkeypatch):
    """Not when a step resumes or comes too early; and the generators go on as without it."""
    model = build('panoptic')
    monkeypatch.setattr(data_pass_hook, '_loader_in_order', lambda runner: Batches([1]))
    shown = []
    monkeypatch.setattr(data_pass_hook, '_show', lambda student, batch: shown.append(batch))
    model.data_preprocessor = SameBatch()
    data_pass_hook.DataPassHook().before_train(SimpleNamespace(iter=5, model=model))
    data_pass_hook.DataPassHook(from_step=2).before_train(SimpleNamespace(iter=0, model=model))
    assert shown == []
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    data_pass_hook.DataPassHook(from_step=1).before_train(SimpleNamespace(iter=0, model=model))
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    assert shown == [1]
    assert after == before


def test_new_parameters_that_no_module_names():
    """A step has a prompt more, in a module without the protocol."""
    before, after = tiny.build_head(0), tiny.build_head(1)
    after.prompts = nn.ModuleList([nn.Embedding(1, 4)])
    message = (
        r'checkpoint a.pth: its weights do not fit .*missing: prompts.0.weight.*'
        'its module defines newest_parameters and initialise_newest'
    )
    with pytest.raises(RuntimeError, match=message):
        previous_step_hook._check_weights(after, before.state_dict(), Path('a.pth'))
    del after.prompts
    previous_step_hook._check_weights(after, before.state_dict(), Path('a.pth'))
