"""Every method of queries learns instances: two iterations of step 1, and what it then finds."""

import pytest
import small_runs
import tiny
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope
from several import run_two
from torch import distributed

from mmcomformer.engine.request import Request, load_config
from mmcomformer.engine.scenario_config import model_at_step
from mmcomformer.models import FrozenTeacher
from mmcomformer.models.growing import grow_state, load_previous_step
from mmcomformer.registry import DATASETS, HOOKS, METRICS, MODELS

pytestmark = pytest.mark.families

LEVELS = ('', 'd0.', 'd1.', 'd2.')
PARTS = ('loss_cls', 'loss_mask', 'loss_dice')
TOKENS = {f'{level}loss_token' for level in LEVELS}
BOXES = {f'{level}loss_{part}' for level in LEVELS for part in ('bbox', 'giou')}
METHODS = {
    'mib': ('ComFormerHead', {'loss_distill'}, None),
    'plop': ('ComFormerHead', {'loss_feature'}, 'owned'),
    'balconpas': ('IncrementalQueryHead', TOKENS, 'strong'),
    'balconpas_replay': ('IncrementalQueryHead', TOKENS, 'strong'),
    'eclipse': ('EclipseHead', set(), None),
    'simcis': ('SimCISHead', {*BOXES, 'loss_select'}, 'strong'),
}
"""Type of the head, losses beside Mask2Former's, and which pixels a pseudo-label takes.

CoMFormer's config is trained in tests/test_instance_runs.py.
"""


def config(method, root):
    path = tiny.CONFIGS / f'{method}_shapes_instances_6-2.py'
    options = small_runs.small_options(root)
    return load_config(Request(config=str(path), cfg_options=options), 1)


def sure(teacher):
    """Make a teacher sure of its first class, and of its masks."""
    classifier = teacher.mask_head.cls_embed
    if classifier.no_object is not None:
        classifier.no_object.bias.data.fill_(-3)
    classifier.steps[0].bias.data[0] = 3
    teacher.mask_head.mask_embed[-1].weight.data *= 40
    return FrozenTeacher(teacher)


@pytest.mark.parametrize('method', METHODS)
def test_two_iterations(method, shapes_root):
    head, extra, share = METHODS[method]
    cfg = config(method, shapes_root)
    with DefaultScope.overwrite_default_scope('mmdet'):
        teacher, student = (MODELS.build(model_at_step(cfg.model, step)) for step in (0, 1))
        hook, metric = HOOKS.build(cfg.custom_hooks[0]), METRICS.build(cfg.val_evaluator)
        shown, tested = (
            DATASETS.build(cfg[f'{split}_dataloader'].dataset) for split in ('train', 'val')
        )
    assert type(student.mask_head).__name__ == head
    state = teacher.state_dict()
    grow_state(student, state)
    load_previous_step(student, state)
    if 'teacher' in getattr(hook, 'gives', ()):
        student.teacher = sure(teacher)
    if share is not None:
        student.pseudo_labeller = hook.build_labeller(teacher.mask_head)
        assert (student.pseudo_labeller.over_truth, student.pseudo_labeller.share) == (True, share)
        # masks of a teacher that was not trained lie across each other
        student.pseudo_labeller.overlap_thr = 0.0
    # the last one is from memory where there is one
    batch = student.data_preprocessor(pseudo_collate([shown[0], shown[len(shown) - 1]]), True)
    stored = batch['data_samples'][1].metainfo.get('from_memory', False)
    assert stored == (method == 'balconpas_replay')
    targets, _ = student.targets_and_teacher(batch['inputs'], batch['data_samples'])
    assert bool((targets[0].is_pseudo & targets[0].valid).any()) == (share is not None)
    optimizer = torch.optim.SGD([p for p in student.parameters() if p.requires_grad], lr=1e-3)
    student.train()
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    for _ in range(2):
        losses = student(**batch, mode='loss')
        assert set(losses) == {f'{level}{part}' for level in LEVELS for part in PARTS} | extra
        assert all(loss.isfinite() for loss in losses.values())
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    after = student.state_dict()
    moved = {name for name, tensor in after.items() if not tensor.equal(before[name])}
    assert any('cls_embed.steps.1' in name for name in moved)
    assert any('backbone' in name for name in moved) == (method != 'eclipse')
    # one that is trained this little is unsure of every pixel
    student.mask_head.mask_embed[-1].weight.data *= 40
    metric.dataset_meta = tested.metainfo
    with torch.no_grad():
        found = student.eval().test_step(pseudo_collate([tested[0], tested[1]]))
    assert {len(sample.pred_instances.scores) > 0 for sample in found} == {True}
    metric.process({}, [sample.to_dict() for sample in found])
    values = metric.evaluate(2)
    assert {'continual/AP', 'continual/AP50_base', 'continual/AP75'} <= set(values)


def test_an_image_without_instances_is_trained_on(shapes_root):
    """A crop may leave nothing of them: every query then says that it sees nothing."""
    cfg = config('finetune', shapes_root)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model, data = MODELS.build(cfg.model), DATASETS.build(cfg.train_dataloader.dataset)
    sample = data[0]
    sample['data_samples'].gt_instances = sample['data_samples'].gt_instances[:0]
    batch = model.data_preprocessor(pseudo_collate([sample]), True)
    losses = model(**batch, mode='loss')
    assert losses['loss_cls'] > 0
    assert losses['loss_mask'] == losses['loss_dice'] == 0
    sum(losses.values()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def fixed_points(num_maps, num_points, *, like):
    """The same points for every map, so that what is drawn does not depend on the batch."""
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(1, num_points, 2, generator=generator)
    return points.expand(num_maps, -1, -1).to(like.device)


@pytest.fixture
def learner(shapes_root):
    """CoMFormer at step 1 with its teacher and pseudo-labels, and a batch of four images."""
    cfg = config('comformer', shapes_root)
    with DefaultScope.overwrite_default_scope('mmdet'):
        teacher, student = (MODELS.build(model_at_step(cfg.model, step)) for step in (0, 1))
        hook, shown = HOOKS.build(cfg.custom_hooks[0]), DATASETS.build(cfg.train_dataloader.dataset)
    student.teacher = sure(teacher)
    student.pseudo_labeller = hook.build_labeller(teacher.mask_head)
    student.pseudo_labeller.overlap_thr = 0.0
    batch = student.data_preprocessor(pseudo_collate([shown[i] for i in range(4)]), True)
    # the halves of the batch differ in their number of targets
    objects = batch['data_samples'][0].gt_instances
    batch['data_samples'][0].gt_instances = objects[torch.tensor([], dtype=torch.long)]
    # norms of a batch are those of a process, as in all trainings of several
    return student.eval(), batch['inputs'], batch['data_samples']


def gradients(model, inputs, samples):
    """Return the gradients of the losses of some images, averaged over processes."""
    losses = model.loss(inputs, samples)
    assert 'loss_distill' in losses
    sum(losses.values()).backward()
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    if distributed.is_initialized():
        for gradient in found.values():
            distributed.all_reduce(gradient)
            gradient /= 2
    return found


def test_two_processes_train_as_one(learner, tmp_path, monkeypatch):
    for module in ('matching', 'point_sampling'):
        monkeypatch.setattr(f'mmcomformer.models.{module}.random_points', fixed_points)
    model, inputs, samples = learner
    targets, _ = model.targets_and_teacher(inputs, samples)
    counts = [int(target.valid.sum()) for target in targets]
    # what each process counts alone is not what both do
    assert sum(counts[:2]) != sum(counts[2:])
    assert all((target.is_pseudo & target.valid).any() for target in targets)
    assert any(target.num_masks > 1 for target in targets)

    def half(rank):
        images = slice(2 * rank, 2 * rank + 2)
        return gradients(model, inputs[images], samples[images])

    parts = run_two(half, tmp_path)
    alone = gradients(model, inputs, samples)
    for part in parts:
        assert part.keys() == alone.keys()
        for name, value in part.items():
            # other sums of float32, in gradients of the first layers that are sums of very many
            atol = 1e-4 * float(alone[name].abs().max())
            torch.testing.assert_close(value, alone[name], rtol=0, atol=atol, msg=name)
