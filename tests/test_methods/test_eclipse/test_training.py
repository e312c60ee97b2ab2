"""ECLIPSE trains both tasks: prompts and their MLPs alone, from the start that they are given."""

import json

import pytest
import small_runs
import tiny
import torch
from mmengine.hooks import Hook
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import HOOKS, MODELS, DefaultScope
from several import run_two

from mmcomformer.engine import driver
from mmcomformer.engine.checkpoint import read_checkpoint
from mmcomformer.engine.evaluate import evaluate
from mmcomformer.engine.request import Request, load_config
from mmcomformer.engine.sweep import sweep
from mmcomformer.evaluation.incremental_iou_metric import IncrementalIoUMetric
from mmcomformer.evaluation.incremental_panoptic_metric import IncrementalPanopticMetric
from mmcomformer.methods.eclipse import EclipseHead
from mmcomformer.models.growing import grow_state, load_previous_step
from mmcomformer.models.query_head import IncrementalQueryHead
from mmcomformer.models.query_output import QueryOutput

TASKS = {
    'panoptic': ('eclipse_shapes_6-3.py', 'panoptic_head', 'mmdet', ''),
    'semantic': ('eclipse_shapes_semantic_6-3.py', 'decode_head', 'mmseg', 'decode.'),
}
PROMPTS, WIDTH, LAYERS = 10, 64, 3
LEVELS = ('', 'd0.', 'd1.', 'd2.')
STARTED = []


@HOOKS.register_module()
class WatchEclipseHook(Hook):
    """Record the losses of each iteration and whether there is a teacher; stop if told to."""

    priority = 'VERY_LOW'
    records = []
    stop_after = None

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        losses = {name: value.item() for name, value in outputs.items() if 'loss_' in name}
        self.records.append((losses, runner.model.teacher, runner.model.pseudo_labeller))
        if self.stop_after == len(self.records):
            raise KeyboardInterrupt


def options_of(task, root, **more):
    head = TASKS[task][1]
    return {
        **small_runs.small_options(root, head=head),
        'train_cfg.max_iters': 2,
        'train_cfg.val_interval': 2,
        'default_hooks.checkpoint.interval': 1,
        'default_hooks.watch.type': 'WatchEclipseHook',
        **more,
    }


def train(task, step, root, work_dir, *, resume=False, **more):
    config = str(tiny.CONFIGS / TASKS[task][0])
    options = options_of(task, root, **more)
    WatchEclipseHook.records.clear()
    driver.run(
        Request(
            config=config, step=step, work_dir=str(work_dir), cfg_options=options, resume=resume
        )
    )
    return list(WatchEclipseHook.records)


@pytest.fixture(scope='module', params=TASKS)
def run(request, shapes_root, tmp_path_factory):
    """A run of three steps: its task, its folder, and what each iteration of each step had."""
    work_dir = tmp_path_factory.mktemp(request.param)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    STARTED.clear()
    initialise = EclipseHead.initialise_newest
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('mmcomformer.engine.launch.get_device', lambda: 'cpu')
        patch.setattr(
            EclipseHead,
            'initialise_newest',
            lambda head: STARTED.append(head.scenario.step) or initialise(head),
        )
        records = [train(request.param, step, shapes_root, work_dir) for step in range(2)]
        stops = request.param == 'panoptic'
        if stops:
            patch.setattr(WatchEclipseHook, 'stop_after', 1)
            with pytest.raises(KeyboardInterrupt):
                train(request.param, 2, shapes_root, work_dir)
            patch.setattr(WatchEclipseHook, 'stop_after', None)
        records.append(train(request.param, 2, shapes_root, work_dir, resume=stops))
    torch.set_num_threads(threads)
    return request.param, work_dir, records


def weights_of(work_dir, step):
    return read_checkpoint(work_dir / f'step{step}' / 'iter_2.pth')


def test_losses_without_a_teacher(run):
    task, work_dir, records = run
    prefix = TASKS[task][3]
    names = {f'{prefix}{level}loss_{part}' for level in LEVELS for part in ('cls', 'mask', 'dice')}
    assert [len(of_step) for of_step in records] == [2, 2, 1 if task == 'panoptic' else 2]
    for of_step in records:
        for losses, teacher, labeller in of_step:
            assert set(losses) == names
            assert (teacher, labeller) == (None, None)
            assert all(value > 0 for value in losses.values())
    summary = json.loads((work_dir / 'summary.json').read_text())
    assert summary['method'] == 'ECLIPSE'
    assert [step['step'] for step in summary['steps']] == [0, 1, 2]


def formula(prompts, classes, width, layers):
    """Numbers of trainable parameters of a later step."""
    layer = width**2 + width
    queries = prompts * width * (1 + layers)
    return queries + 3 * layer + (2 * layer + classes * (width + 1)) + (2 * layer + width + 1)


@pytest.mark.parametrize('step', [1, 2])
def test_nothing_else_is_trained(run, step):
    """What was there before is as it was, statistics of batch norms included."""
    task, work_dir, _ = run
    head = TASKS[task][1]
    before, content = weights_of(work_dir, step - 1)['state_dict'], weights_of(work_dir, step)
    after = content['state_dict']
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    no_object = {name for name in before if name.startswith(f'{head}.cls_embed.no_object.')}
    assert changed == no_object
    new = set(after) - set(before)
    assert {name.rsplit('.', 3)[0].split('.')[1] for name in new} == {'prompts', 'cls_embed'}
    assert f'{head}.prompts.{step - 1}.features.weight' in new
    groups = content['optimizer']['param_groups']
    count = sum(len(group['params']) for group in groups)
    assert count == len(new) + len(no_object)
    trained = sum(after[name].numel() for name in new | no_object)
    assert trained == formula(PROMPTS, 3, WIDTH, LAYERS)
    # prompts are embeddings, which do not decay
    sizes = {group['weight_decay']: len(group['params']) for group in groups}
    assert sizes == {0.0: 1 + LAYERS, 0.05: count - 1 - LAYERS}


@pytest.mark.parametrize(
    ('prompts', 'classes', 'count'),
    [(10, 5, 487686), (10, 10, 488971), (20, 20, 517141), (50, 50, 601651), (5, 5, 474886)],
)
def test_released_numbers_of_parameters(prompts, classes, count):
    assert formula(prompts, classes, 256, 9) == count


def build(task, step, **head):
    """Build the model of a step of the scenario of the configs."""
    name, key, scope, _ = TASKS[task]
    cfg = load_config(Request(config=str(tiny.CONFIGS / name)), step)
    cfg.model[key].update(num_queries=10, **head)
    cfg.model.train_cfg.num_points = 64
    with DefaultScope.overwrite_default_scope(scope):
        return MODELS.build(cfg.model)


@pytest.mark.parametrize('step', [1, 2])
def test_old_groups_say_what_they_said(run, step):
    """Their masks and the logits of their own classes, bit for bit, before and after a step."""
    task, work_dir, _ = run
    before, after = (build(task, step) for _ in range(2))
    load_previous_step(before, weights_of(work_dir, step - 1)['state_dict'])
    after.load_state_dict(weights_of(work_dir, step)['state_dict'])
    features = tiny.features()
    with torch.no_grad():
        said = [model.eval().mask_head.forward(features, []) for model in (before, after)]
    sizes, increments = [10, *[PROMPTS] * step], [6, 3, 3][: step + 1]
    for group, (queries, classes) in enumerate(zip(sizes, increments, strict=True)):
        query = slice(sum(sizes[:group]), sum(sizes[:group]) + queries)
        own = slice(sum(increments[:group]), sum(increments[:group]) + classes)
        newest = group == step
        for score, other in zip(said[0][0], said[1][0], strict=True):
            assert torch.equal(score[:, query, own], other[:, query, own]) != newest
        for mask, other in zip(said[0][1], said[1][1], strict=True):
            assert torch.equal(mask[:, query], other[:, query]) != newest


def test_old_groups_do_not_see_new_ones(run):
    """The model of the step before says the same of its queries."""
    task, work_dir, _ = run
    models = [build(task, step).eval() for step in (1, 2)]
    for step, model in zip((1, 2), models, strict=True):
        model.load_state_dict(weights_of(work_dir, step)['state_dict'])
    with torch.no_grad():
        (old, old_masks), (new, new_masks) = (
            model.mask_head.forward(tiny.features(), []) for model in models
        )
    torch.testing.assert_close(new[-1][:, :20, :9], old[-1][..., :9], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(new_masks[-1][:, :20], old_masks[-1], rtol=1e-4, atol=1e-4)


def test_a_sweep_is_several_evaluations(run, shapes_root, monkeypatch):
    """With the same predictions as if each value of the deltas were that of the config."""
    task, work_dir, _ = run
    config, head, *_ = TASKS[task]
    monkeypatch.setattr('mmcomformer.engine.launch.get_device', lambda: 'cpu')
    kind = {'panoptic': IncrementalPanopticMetric, 'semantic': IncrementalIoUMetric}[task]
    seen, process = {}, kind.process

    def watch(metric, data_batch, data_samples):
        field, key = ('pred_panoptic_seg', 'sem_seg')
        if task == 'semantic':
            field, key = ('pred_sem_seg', 'data')
        seen.setdefault(id(metric), []).extend(
            sample[field][key].clone() for sample in data_samples
        )
        process(metric, data_batch, data_samples)

    monkeypatch.setattr(kind, 'process', watch)

    def request(**more):
        options = options_of(task, shapes_root, **more)
        path = str(tiny.CONFIGS / config)
        return Request(config=path, work_dir=str(work_dir / 'test'), cfg_options=options)

    checkpoint = str(work_dir / 'step2' / 'iter_2.pth')
    found = sweep(request(), checkpoint, 'deltas=0.5,[0.9,0.8],None')
    assert found.key == f'model.{head}.deltas'
    swept = [torch.stack(maps) for maps in seen.values()]
    assert not any(torch.equal(swept[1], other) for other in (swept[0], swept[2]))
    seen.clear()
    evaluate(request(**{f'model.{head}.deltas': [0.9, 0.8]}), checkpoint)
    assert torch.equal(torch.stack(next(iter(seen.values()))), swept[1])


def test_a_step_that_resumes_keeps_what_it_learned(run):
    """The last step of the panoptic run was interrupted; no step starts twice."""
    _, work_dir, _ = run
    assert (work_dir / 'step2' / 'iter_1.pth').is_file()
    assert STARTED == [1, 2]


@pytest.mark.parametrize(
    ('head', 'error', 'message'),
    [
        (dict(num_prompts=0), ValueError, 'num_prompts: expected at least 1, got 0'),
        (dict(num_prompts=2.0), TypeError, 'num_prompts: expected a number of prompts such as 10'),
        (dict(num_prompts=True), TypeError, 'num_prompts: expected a number of prompts'),
        (
            dict(deltas=[0.1] * 4),
            ValueError,
            'deltas: expected at most one number for each of the 3',
        ),
        (
            dict(match_probability='tanh'),
            ValueError,
            "match_probability: expected 'sigmoid' or 'so",
        ),
        (dict(supervised_levels='last'), ValueError, "supervised_levels: expected 'all' or 'ends'"),
        (dict(class_weights=[2]), ValueError, 'class_weights: expected two numbers, of step 0 and'),
        (
            dict(loss_cls=dict(type='SigmoidFocalClassLoss', loss_weight=2.0)),
            ValueError,
            'loss_cls.loss_weight: remove it; model.HEAD.class_weights gives the weight',
        ),
        (
            dict(class_activation=dict(type='ClassSoftmax')),
            ValueError,
            'loss_cls: SigmoidFocalClassLoss expects classes with a sigmoid',
        ),
    ],
)
@pytest.mark.parametrize('task', TASKS)
def test_bad_settings(task, head, error, message):
    key = TASKS[task][1]
    with pytest.raises(error, match=f'^model.{key}.{message.replace("HEAD", key)}'):
        build(task, 1, **head)


def test_a_checkpoint_of_another_method_is_refused(finished_run, shapes_root, tmp_path):
    teacher = str(finished_run[0] / 'step0' / 'iter_3.pth')
    request = Request(
        config=str(tiny.CONFIGS / 'eclipse_shapes_6-3.py'),
        step=1,
        work_dir=str(tmp_path),
        teacher=teacher,
        cfg_options=options_of('panoptic', shapes_root),
    )
    with pytest.raises(RuntimeError, match="panoptic_head.type is 'ComFormerHead' there"):
        driver.run(request)


def test_prompts_that_the_checkpoint_does_not_have(run):
    task, work_dir, _ = run
    head = TASKS[task][1]
    state = weights_of(work_dir, 1)['state_dict']
    model = build(task, 2, num_prompts=5)
    with pytest.raises(
        RuntimeError, match=f'^model.{head}.num_prompts: expected that .* 5 and the'
    ):
        grow_state(model, dict(state))
    lacking = {name: x for name, x in state.items() if '.prompts.' not in name}
    with pytest.raises(RuntimeError, match='has 0 prompts of step 1'):
        grow_state(build(task, 2), lacking)


def test_matching_with_a_softmax():
    sigmoid, softmax = (
        build('panoptic', 1, match_probability=name).mask_head for name in ('sigmoid', 'softmax')
    )
    names = [head.match_activation.name for head in (sigmoid, softmax)]
    assert names == ['sigmoid', 'softmax']
    assert softmax.class_activation.name == 'sigmoid'
    # the second query is sure of the class, but sure of another one too
    scores = torch.full((1, 2, 10), -8.0)
    scores[0, 0, 6], scores[0, 1, 6], scores[0, 1, 0] = 1.0, 3.0, 9.0
    output = QueryOutput((scores,), (torch.zeros(1, 2, 16, 16),))
    samples = tiny.map_samples([4])
    targets = sigmoid.build_targets(samples)
    assert targets[0].labels.tolist() == [6]
    matched = [
        head.supervised_losses(output, targets)[1][0][0][0].tolist() for head in (sigmoid, softmax)
    ]
    assert matched == [[1], [0]]


@pytest.mark.parametrize(('step', 'weight'), [(0, 3.0), (1, 7.0), (2, 7.0)])
def test_weight_of_the_class(step, weight):
    head = build('panoptic', step, class_weights=(3.0, 7.0)).mask_head
    assert (head.loss_cls.loss_weight, head.match_cost.cls_weight) == (weight, weight)


def test_no_object_of_step_0_is_as_it_was_trained():
    head = build('panoptic', 0, deltas=0.5).mask_head
    logits = torch.randn(2, 10, 7)
    by_label = head.to_dataset_labels(logits)
    assert torch.equal(by_label[..., -1], logits[..., -1])
    later = build('panoptic', 1, deltas=0.5).mask_head
    logits = torch.randn(2, 20, 10)
    assert not torch.isclose(later.to_dataset_labels(logits)[..., -1], logits[..., -1]).any()


def test_levels_of_the_released_program():
    losses = {
        levels: build('panoptic', 1, supervised_levels=levels).train().loss(*batch())
        for levels in ('all', 'ends')
    }
    head = build('panoptic', 1, supervised_levels='ends').mask_head
    scores, masks = (tuple(torch.randn(1, 2, *size) for _ in range(4)) for size in ((10,), (8, 8)))
    given = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            IncrementalQueryHead, 'supervised_losses', lambda head, *args: given.append(args[0])
        )
        head.supervised_losses(QueryOutput(scores, masks), [])
    assert given[0].cls_scores == (scores[0], scores[3])
    assert given[0].mask_preds == (masks[0], masks[3])
    parts = ('cls', 'mask', 'dice')
    assert set(losses['all']) == {f'{level}loss_{part}' for level in LEVELS for part in parts}
    assert set(losses['ends']) == {f'{level}loss_{part}' for level in ('', 'd0.') for part in parts}
    # step 0 is Mask2Former's
    first = build('panoptic', 0, supervised_levels='ends').train().loss(*batch((0, 1)))
    assert set(first) == set(losses['all'])


def batch(labels=(2, 5)):
    images = torch.randn(2, 3, 64, 64)
    return images, tiny.map_samples(list(labels), [])


def test_two_processes(tmp_path):
    """Only what is trained is exchanged, and each process gets the same gradients."""

    def work(rank):
        torch.manual_seed(0)
        model = build('panoptic', 1)
        load_previous_step(model, build('panoptic', 0).state_dict())
        wrapped = MMDistributedDataParallel(model.train())
        gradients = []
        for iteration in range(2):
            torch.manual_seed(10 * iteration + rank)
            images = torch.randn(2, 3, 64, 64)
            # one of them has no target
            samples = tiny.map_samples([2, 5] if rank else [], [])
            values = wrapped(images, samples, mode='loss')
            wrapped.zero_grad()
            sum(values.values()).backward()
            gradients.append(
                {
                    name: parameter.grad
                    for name, parameter in model.named_parameters()
                    if parameter.grad is not None
                }
            )
        trained = {name for name, part in model.named_parameters() if part.requires_grad}
        return gradients, trained

    (first, trained), (second, _) = run_two(work, tmp_path)
    for one, other in zip(first, second, strict=True):
        assert set(one) == set(other) == trained
        assert all(torch.equal(one[name], other[name]) for name in one)
        assert any(gradient.abs().sum() > 0 for gradient in one.values())
