"""What runs on an accelerator alone, on one that a CPU emulates.

Nothing may mix its tensors with the host's, nothing but the matching may wait for it, and results
are those of a CPU. See :mod:`emulated_accelerator`.
"""

import os
from copy import deepcopy
from dataclasses import fields
from unittest import mock

import numpy as np
import pytest
import stepping
import tiny
import torch
from emulated_accelerator import (
    device,
    emulated_accelerator,
    in_fork,
    move,
    reason_to_skip,
    to_device,
    to_host,
)
from torch.nn import functional

from mmcomformer.methods.comformer import AdaptiveDistillLoss
from mmcomformer.methods.mib import UnbiasedClassLoss
from mmcomformer.methods.plop import PodLoss
from mmcomformer.models import ContinualSegTTAModel, MaskPseudoLabels, QueryOutput, segments
from mmcomformer.models.class_losses import FocalClassLoss, WeightedClassLoss
from mmcomformer.models.mask_activation import QuerySigmoid, QuerySoftmax
from mmcomformer.models.mask_losses import (
    SigmoidDiceLoss,
    SigmoidMaskLoss,
    SoftmaxDiceLoss,
    SoftmaxMaskLoss,
)
from mmcomformer.models.segments import MaskLogits, assign_pixels

ACTIVATIONS = {'softmax': QuerySoftmax(), 'sigmoid': QuerySigmoid()}


def assert_same(found, expected):
    """Compare results, all on the device, with those of the CPU: integers exactly."""
    torch.testing.assert_close(to_host(found), expected, atol=1e-5, rtol=1e-5)


# ---------------------------------------------------------------------- the emulation itself


MIXTURES = {
    'add': lambda x, cpu: x + cpu,
    'add in place': lambda x, cpu: x.add_(cpu),
    'add to the host': lambda x, cpu: cpu.add_(x),
    'matmul': lambda x, cpu: x @ cpu.T,
    'cat': lambda x, cpu: torch.cat([x, cpu]),
    'cat of a number': lambda x, _: torch.stack([x[0, 0], torch.tensor(1.0)]),
    'where': lambda x, cpu: torch.where(x > 0, x, cpu),
    'gather': lambda x, cpu: x.gather(0, cpu.long()),
    'scatter': lambda x, cpu: x.scatter_add_(0, cpu.long(), x),
    'linear': lambda x, cpu: functional.linear(x, cpu),
    'grid': lambda x, _: functional.grid_sample(x[None, None], torch.zeros(1, 1, 1, 2)),
    'index of the host': lambda x, cpu: cpu[(x[0] > 5).long()],
    'assigned to an index': lambda x, cpu: x.index_put_((to_device(torch.tensor([0, 1])),), cpu),
    'embedding': lambda x, _: functional.embedding(torch.tensor([0]), x),
}


@in_fork
def test_devices_do_not_mix():
    with emulated_accelerator():
        for mix in MIXTURES.values():
            x, cpu = to_device(torch.rand(2, 3)), torch.zeros(2, 3)
            with pytest.raises(RuntimeError, match='Expected all tensors to be on the same device'):
                mix(x, cpu)


READS = {
    'item': lambda x: x[0, 0].item(),
    'bool': lambda x: bool((x > 0).all()),
    'tolist': lambda x: x.tolist(),
    'cpu': lambda x: x.cpu(),
    'to': lambda x: x.to('cpu', torch.float64),
    'copy_': lambda x: torch.zeros(2, 3).copy_(x),
    'nonzero': lambda x: x.nonzero(),
    'where': lambda x: torch.where(x > 1),
    'masked_select': lambda x: x.masked_select(x > 1),
    'mask': lambda x: x[x > 1],
    'mask of rows': lambda x: x[x[:, 0] > 1],
    'assignment to a mask': lambda x: x.__setitem__(x > 1, x.sum()),
    'unique': lambda x: x.unique(),
    'unique of rows': lambda x: x.unique(dim=0),
    'unique_consecutive': lambda x: x.unique_consecutive(),
    'repeat_interleave': lambda x: x.repeat_interleave(x[:, 1].long(), dim=0),
    'bincount': lambda x: x.long().flatten().bincount(),
    'equal': lambda x: x.equal(x + 1),
    'allclose': lambda x: x.allclose(x),
    'histc': lambda x: x.histc(),
}
COPIES = {
    'tensor': lambda x: torch.tensor([1.0, 2.0], device=x.device),
    'as_tensor': lambda x: torch.as_tensor(np.ones(2), device=x.device),
    'new_tensor': lambda x: x.new_tensor(1.0),
    'to': lambda x: torch.ones(2).to(x.device),
    'copy_': lambda x: x.copy_(torch.ones(2, 3)),
    'index': lambda x: x[torch.tensor([0, 1])],
    'index of numpy': lambda x: x[np.array([0, 1])],
    'mask of the host': lambda x: x[:, 0].__setitem__(torch.tensor([0]), 2.0),
}
NEITHER = {
    'arithmetic': lambda x: (x + 1).mul_(2) / x.sum(),
    'number of the host': lambda x: x * torch.tensor(2.0),
    'fill': lambda x: x[0].__setitem__(slice(1, 3), 5.0),
    'number for a mask': lambda x: x.__setitem__(x > 1, 5.0),
    'index on the device': lambda x: x[x[0].long().clamp(max=1)],
    'non_blocking to': lambda x: torch.ones(2).to(x.device, non_blocking=True),
    'non_blocking cpu': lambda x: x.to('cpu', non_blocking=True),
    'between types': lambda x: x.to(torch.float64).long(),
    'factories': lambda x: torch.rand(3, device=x.device) + x.new_full((3,), 2.0),
    'reductions': lambda x: x.topk(2, dim=1).indices.max(0),
    'scatter': lambda x: x.scatter_add_(1, x.long() // 3, x + 1),
    'repeat': lambda x: x.repeat_interleave(2, dim=0),
    'repeat of known size': lambda x: x.repeat_interleave(x[:, 1].long(), dim=0, output_size=1 + 4),
    'histc of bounds': lambda x: x.histc(min=0, max=5),
}


@in_fork
def test_what_the_host_waits_for():
    of_kinds = {'read': READS, 'copy': COPIES, None: NEITHER}
    for kind, name, run in [(kind, *case) for kind, of in of_kinds.items() for case in of.items()]:
        with emulated_accelerator() as waits:
            run(to_device(torch.arange(6.0).view(2, 3)))
        assert [wait.kind for wait in waits] == ([] if kind is None else [kind]), name
        assert all(wait.caller.function == '<lambda>' for wait in waits)
        assert all(wait.own is None for wait in waits)


@in_fork
def test_place_of_a_wait():
    """It is the package's own, or a library's that the package calls."""
    samples = tiny.label_samples(torch.ones(64, 64), with_labels=False)
    masks = tiny.samples([tiny.SEA])
    segmentor, head = tiny.build_segmentor(), tiny.build_head()
    with emulated_accelerator() as waits:
        samples = [sample.to(device()) for sample in samples]
        waits.clear()
        move(segmentor).mask_head.build_targets(samples)
        assert waits.of_package() == ['read in semantic_query_head.py _labels_in'] * 2
        assert waits.of_libraries() == {}
        waits.clear()
        masks = [sample.to(device()) for sample in masks]
        waits.clear()
        move(head).build_targets(masks)
    assert waits.of_package() == []
    assert waits.of_libraries() == {'copy in structures.py': 1}
    assert waits[0].own.function == '_image_targets'
    assert str(waits[0]).startswith('copy by _to_copy in structures.py:')


@in_fork
def test_tensors_of_the_device():
    with emulated_accelerator():
        x = to_device(torch.ones(2))
        assert x.device == torch.zeros(1, device=device()).device == device()
        assert not x.is_cpu
        with pytest.raises(RuntimeError, match=r'\.numpy\(\) is not supported'):
            x.numpy()
        with pytest.raises(TypeError, match=r'a tensor of shape \(2,\) has not left the host'):
            to_host([x, torch.ones(2)])
    with pytest.raises(RuntimeError, match='outside of emulated_accelerator'):
        x + 1


@pytest.mark.skipif(reason_to_skip() is not None, reason=f'{reason_to_skip()}')
def test_fork_tells_what_failed():
    @in_fork
    def fail():
        raise ValueError('of the test')

    with pytest.raises(pytest.fail.Exception, match='ValueError: of the test'):
        fail()
    with pytest.raises(pytest.fail.Exception, match='a process was killed'):
        in_fork(lambda: os._exit(1))()


@pytest.mark.skipif(reason_to_skip() is not None, reason=f'{reason_to_skip()}')
def test_process_of_the_tests_has_no_accelerator():
    def compute():
        with emulated_accelerator():
            (2 * to_device(torch.ones(2)).requires_grad_()).sum().backward()

    in_fork(compute)()
    assert not torch.accelerator.is_available()
    torch.ones(2, requires_grad=True).sum().backward()


# ---------------------------------------------------------------------- who owns which pixel


@pytest.mark.parametrize('activation', ACTIVATIONS)
@in_fork
def test_assign_pixels(activation):
    """Over several blocks, which waits for nothing and holds no map of all queries."""
    logits, scores, excluded = 4 * torch.randn(9, 10, 12), torch.rand(9), torch.rand(150, 160) > 0.7
    masks = MaskLogits(logits, ACTIVATIONS[activation], (150, 160))
    expected = assign_pixels(scores, scores > 0.4, masks, excluded)
    assert expected.owner.unique().numel() > 1
    with emulated_accelerator() as waits, mock.patch.object(segments, '_pixels_of_block') as pixels:
        pixels.return_value = 1000
        scores, excluded = to_device((scores, excluded))
        masks = MaskLogits(to_device(logits), ACTIVATIONS[activation], (150, 160))
        assert {block.shape[1] for block in masks.blocks()} == {960}
        found = assign_pixels(scores, scores > 0.4, masks, excluded)
        for field in fields(found):
            assert_same(getattr(found, field.name), getattr(expected, field.name))
        valid, others = (
            found.segments(scores > 0.4, 0.1),
            expected.segments(to_host(scores) > 0.4, 0.1),
        )
        assert_same(found.restrict(valid), expected.restrict(others))
    assert waits == []


def test_size_of_blocks_on_an_accelerator():
    """Few, and still none of all queries at the size of a photograph."""
    assert 2**16 <= segments._pixels_of_block(torch.device('cuda')) <= 2**19


# ---------------------------------------------------------------------- losses


def loss_cases():
    """Yield each loss with the arguments for it; gradients are those of the first."""
    logits, labels = torch.randn(12, 6), torch.arange(12) % 6
    weight = torch.rand(12)
    scenario = dict(increments=[2, 3], thing_classes=list('abcde'), stuff_classes=[], step=1)
    for name, loss in (
        ('focal', FocalClassLoss()),
        ('weighted', WeightedClassLoss()),
        ('unbiased', UnbiasedClassLoss(scenario)),
        ('unbiased cross-entropy', UnbiasedClassLoss(scenario, 1.0, 0.0, 0.1)),
    ):
        yield name, loss, logits, (labels,)
        yield f'{name}, weights', loss, logits, (labels, weight, torch.tensor(7.5))
    samples, truth = torch.randn(5, 30), torch.rand(5, 30).round()
    for name, loss, maps in (
        ('softmax mask', SoftmaxMaskLoss(), samples.log_softmax(0)),
        ('softmax dice', SoftmaxDiceLoss(), samples.softmax(0)),
        ('sigmoid mask', SigmoidMaskLoss(), samples),
        ('sigmoid dice', SigmoidDiceLoss(), samples),
    ):
        yield name, loss, maps, (truth, None, torch.tensor(3.0))
    student, teacher = torch.randn(2, 8, 6), torch.randn(2, 8, 3)
    for unbiased in (False, True):
        for adaptive in (False, True):
            loss = AdaptiveDistillLoss(unbiased, adaptive, temperature=2.0)
            yield f'distillation {unbiased} {adaptive}', distance(loss), student, (teacher,)
    nothing = teacher - 1e6 * OLD
    yield 'distillation of nothing', distance(AdaptiveDistillLoss()), student, (nothing,)
    feats = [torch.randn(2, 4, 9, 6), torch.randn(2, 8, 3, 3)]
    for normalize in (False, True):
        loss = distance(PodLoss(normalize=normalize, mask_features=False))
        yield f'pooled features {normalize}', loss, feats, (feats[::-1],)


def distance(loss):
    """Return an extra loss as a function of logits, or features, of student and teacher."""

    def of_parts(*parts):
        lists = (part if isinstance(part, list) else [part] for part in parts)
        said = [QueryOutput(tuple(part), (), feats=tuple(part)) for part in lists]
        [value] = loss(*said, [], []).values()
        return value

    return of_parts


# logits that leave no-object alone
OLD = torch.tensor([1.0, 1.0, 0.0])
LOSSES = [name for name, *_ in loss_cases()]


@pytest.mark.parametrize('name', LOSSES)
@in_fork
def test_loss(name):
    [(loss, pred, rest)] = [case for key, *case in loss_cases() if key == name]
    if isinstance(pred, list):
        rest = ([torch.randn_like(feat) for feat in pred],)

    def compute(pred, rest):
        leaves = pred if isinstance(pred, list) else [pred]
        for leaf in leaves:
            leaf.requires_grad_()
        value = loss(pred, *rest)
        value.backward()
        return [value.detach(), *(leaf.grad for leaf in leaves)]

    with emulated_accelerator() as waits:
        found = compute(to_device(pred), to_device(rest))
        expected = compute(pred, rest)
        assert_same(found, expected)
    assert waits == []
    if name != 'distillation of nothing':
        assert all(part.abs().sum() > 0 for part in expected)


# ---------------------------------------------------------------------- models


IMAGES = 2
MIB = dict(
    loss_cls=dict(type='UnbiasedClassLoss', scenario={**tiny.SCENARIO, 'step': 1}),
    loss_distill=dict(type='AdaptiveDistillLoss', adaptive=False, loss_weight=200.0),
)
LABELS = [tiny.SEA, tiny.FOX], [tiny.SEA]


def label_maps(label=tiny.SEA):
    """Two label maps with the class of the segmentor's step, in the rest of which none is given."""
    label_map = torch.full((64, 64), 255)
    label_map[:24, :40] = label
    return label_map, label_map.T.contiguous()


# what the segmentor has besides a background and segments
NO_BACKGROUND = dict(
    scenario=dict(increments=[2, 1], stuff_classes=['cat', 'sky', 'sea']),
    semantic_fusion=dict(type='ScoreSumFusion'),
)
# of each: the head's settings, the samples, and whether there are a teacher and pseudo-labels
STEPS = {
    'fine-tuning': (dict(), tiny.map_samples, False, False),
    'nothing labelled': (dict(), lambda *_: tiny.map_samples([], []), False, False),
    'CoMFormer': (dict(), tiny.map_samples, True, True),
    'CoMFormer, masks': (dict(), tiny.samples, True, True),
    'CoMFormer, sigmoid': (
        dict(**tiny.SIGMOID, match_cost='WeightedMatchCost'),
        tiny.map_samples,
        True,
        True,
    ),
    'MiB': (MIB, tiny.map_samples, True, False),
    'PLOP': (dict(loss_distill=None), tiny.map_samples, True, True),
    'semantic': (dict(), lambda *_: tiny.label_samples(*label_maps()), True, True),
    'semantic, no background': (
        NO_BACKGROUND,
        lambda *_: tiny.label_samples(*label_maps(label=2)),
        True,
        True,
    ),
}


def plant():
    """Return logits of a teacher that sees something in each of six columns of the images."""
    old = torch.tensor([0, 1, 0, 1, 1, 0, 2, 2])
    columns = torch.arange(16) * 6 // 16
    masks = 20.0 * (columns == torch.arange(8)[:, None, None]).expand(IMAGES, 8, 16, 16) - 10
    return 8.0 * functional.one_hot(old, 3).float().expand(IMAGES, 8, 3).contiguous(), masks


def build(kind):
    """Build the student of a step, with what listens to a teacher, and its samples."""
    settings, make, has_teacher, has_labels = STEPS[kind]
    of_teacher = {key: value for key, value in settings.items() if key != 'loss_cls'}
    builder = tiny.build_segmentor if 'semantic' in kind else tiny.build_model
    student = builder(1, **settings).train()
    if kind == 'PLOP':
        student.extra_losses['feature'] = PodLoss()
    if has_teacher:
        student.teacher = stepping.PlantedTeacher(builder(0, **of_teacher), *plant())
    if has_labels:
        student.pseudo_labeller = MaskPseudoLabels(student.mask_head.mask_activation)
    return student, make(*LABELS)


def move_all(student, samples):
    """Move a student and its teacher, and return the samples on the device."""
    move(student)
    teacher = student.teacher
    if teacher is not None:
        move(teacher.model)
        teacher.cls_score, teacher.mask_pred = to_device([teacher.cls_score, teacher.mask_pred])
    return [sample.to(device()) for sample in samples]


def on_both(kind, run):
    """Run a function of a model, images and samples on a CPU and on the device, for a step.

    Returns:
        The result, which is the same on both, and what the host would have to wait for.
    """
    images = torch.randn(IMAGES, 3, 64, 64)
    model, samples = build(kind)
    expected = run(model, images, samples)
    model, samples = build(kind)
    with emulated_accelerator() as waits:
        samples = move_all(model, samples)
        waits.clear()
        assert_same(run(model, to_device(images), samples), expected)
    return expected, waits


def train_step(student, images, samples):
    """Return losses, gradients and running statistics of a step."""
    torch.manual_seed(2)
    losses = student.loss(images, samples)
    total, log = student.parse_losses(losses)
    total.backward()
    gradients = {name: part.grad for name, part in student.named_parameters()}
    return (
        {name: value.detach() for name, value in log.items()},
        {name: part for name, part in gradients.items() if part is not None},
        dict(student.named_buffers()),
    )


def waits_of_a_forward():
    """Return what the libraries wait for in a forward pass of the tiny model."""
    return {
        # the deformable attention of each of 2 layers checks its shapes
        'read in multi_scale_deform_attn.py': 2,
        # the pixel decoder asks for height and width of 3 levels, and where each begins
        'read in msdeformattn_pixel_decoder.py': 9,
        # it makes these tensors from numbers
        'copy in msdeformattn_pixel_decoder.py': 3,
    }


# the deformable attention of a CPU, which reads shapes, takes the place of a kernel
NOT_ON_A_DEVICE = 'multi_scale_deformable_attn_pytorch'


@pytest.mark.parametrize('kind', STEPS)
@in_fork
def test_training_step(kind):
    (_, gradients, _), waits = on_both(kind, train_step)
    assert len(gradients) > 100
    # the costs of all levels and images, which the host needs to solve the assignments; nothing
    # else, neither before nor after, nor in the backward pass
    assert waits.of_package() == ['read in matching.py match']
    forwards = 1 + STEPS[kind][2]
    of_libraries = {key: count * forwards for key, count in waits_of_a_forward().items()}
    if kind == 'CoMFormer, masks':
        # mmdet builds a tensor from each image's masks
        of_libraries['copy in structures.py'] = IMAGES
    assert waits.of_libraries(besides=NOT_ON_A_DEVICE) == of_libraries


@pytest.mark.parametrize('kind', STEPS)
@in_fork
def test_steps_have_what_they_are_for(kind):
    """Each loss counts, and the teacher sees what is not labelled."""
    _, _, has_teacher, has_labels = STEPS[kind]
    student, samples = build(kind)
    targets = student.mask_head.build_targets(samples)
    if has_labels:
        output = QueryOutput(*((part,) for part in plant()))
        labelled = student.pseudo_labeller(targets, output)
        for before, after in zip(targets, labelled, strict=True):
            assert 3 <= after.valid.sum() - before.valid.sum() <= 6
            assert not after.valid.all()
    losses = student.loss(torch.randn(IMAGES, 3, 64, 64), samples)
    extra = {name: loss.item() for name, loss in losses.items() if 'dist' in name or 'feat' in name}
    assert len(extra) == (1 if has_teacher else 0)
    assert all(value > 0 for value in extra.values())


@pytest.mark.parametrize('kind', ['fine-tuning', 'semantic', 'semantic, no background'])
@in_fork
def test_prediction(kind):
    @torch.no_grad()
    def predict(model, images, samples):
        for sample in samples:
            sample.set_metainfo(dict(ori_shape=(70, 50), img_path='a.png'))
        results = model.eval().predict(images, samples)
        if kind == 'fine-tuning':
            return [result.pred_panoptic_seg.sem_seg for result in results]
        # as if they were two variants of an image
        [merged] = ContinualSegTTAModel(module=model).merge_preds([deepcopy(results)])
        return [[sample.seg_logits.data, sample.pred_sem_seg.data] for sample in (*results, merged)]

    _, waits = on_both(kind, predict)
    assert waits.of_package() == []
    assert waits.of_libraries(besides=NOT_ON_A_DEVICE) == waits_of_a_forward()
