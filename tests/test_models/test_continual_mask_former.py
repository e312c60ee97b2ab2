"""The detector with a teacher: what the teacher adds to the loss, and what it must never touch."""

import copy

import pytest
import tiny
import torch
from mmengine.registry import MODELS, DefaultScope
from oracles import masks_of
from tiny import CAT, DOG, FOX, SEA, SKY

from mmcomformer.models.mask_activation import QuerySigmoid, QuerySoftmax
from mmcomformer.models.pseudo_labels import MaskPseudoLabels
from mmcomformer.models.teacher import FrozenTeacher


@pytest.fixture(scope='module')
def pair():
    """Student of step 1 and teacher of step 0; the teacher sees objects everywhere."""
    teacher = tiny.build_model(step=0)
    teacher.panoptic_head.cls_embed.no_object.bias.data -= 20
    teacher.panoptic_head.mask_embed[-1].weight.data *= 50
    return tiny.build_model(step=1), FrozenTeacher(teacher)


@pytest.fixture
def student(pair):
    """The student with its teacher and its maker of pseudo-labels in their slots."""
    model, teacher = pair
    model.train()
    model.teacher = teacher
    model.pseudo_labeller = MaskPseudoLabels(QuerySoftmax())
    yield model
    model.teacher = model.pseudo_labeller = None
    model.zero_grad()


@pytest.fixture
def batch():
    """Two images of 64 x 64 and their segments; the second has none."""
    return torch.randn(2, 3, 64, 64), tiny.samples([SEA, FOX], [])


def capture_targets(monkeypatch, student):
    seen = []
    supervised_losses = student.panoptic_head.supervised_losses

    def record(output, targets):
        seen.append(targets)
        return supervised_losses(output, targets)

    monkeypatch.setattr(student.panoptic_head, 'supervised_losses', record)
    return seen


def test_pseudo_labels_and_distillation_join_the_loss(monkeypatch, student, batch):
    seen = capture_targets(monkeypatch, student)
    losses = student.loss(*batch)
    targets, *more = seen
    assert more == []
    assert 'loss_distill' in losses
    assert all(loss.isfinite() for loss in losses.values())
    assert targets[0].labels[:2].tolist() == [2, 3]
    for target, num_truth in zip(targets, (2, 0), strict=True):
        masks = masks_of(target)
        assert masks.shape == (len(target.labels), 64, 64)
        assert target.valid.sum() > num_truth
        assert target.labels[num_truth:].max() < 2
        covered = masks[:num_truth].any(0)
        assert (masks[num_truth:].sum(0) <= 1).all()
        assert not masks[num_truth:, covered].any()


def test_without_a_teacher_there_is_ground_truth_alone(monkeypatch, student, batch):
    student.teacher = None
    seen = capture_targets(monkeypatch, student)
    losses = student.loss(*batch)
    assert 'loss_distill' not in losses
    assert [target.owner for target in seen[0]] == [None, None]


def test_distillation_without_pseudo_labels(monkeypatch, student, batch):
    student.pseudo_labeller = None
    seen = capture_targets(monkeypatch, student)
    assert 'loss_distill' in student.loss(*batch)
    assert [target.owner for target in seen[0]] == [None, None]


def test_loss_of_the_head_is_the_loss_without_a_teacher(student, batch):
    images, samples = batch
    student.teacher = None
    student.eval()  # the same batch statistics
    torch.manual_seed(1)
    losses = student.loss(images, samples)
    torch.manual_seed(1)
    of_head = student.panoptic_head.loss(student.extract_feat(images), samples)
    assert set(losses) == set(of_head)
    for key, loss in losses.items():
        torch.testing.assert_close(loss, of_head[key])


def test_pseudo_labels_have_the_size_of_the_batch(monkeypatch, student, batch):
    images, samples = batch
    samples[0].set_metainfo(dict(img_shape=(48, 40)))
    for sample in samples:
        sample.set_metainfo(dict(batch_input_shape=(64, 96)))
    seen = capture_targets(monkeypatch, student)
    student.loss(torch.randn(2, 3, 64, 96), samples)
    assert all(target.owner.shape == (64, 96) for target in seen[0])
    assert all(
        target.valid.sum() > len(sample.gt_instances)
        for target, sample in zip(seen[0], samples, strict=True)
    )


def test_the_teacher_is_called_once_on_the_preprocessed_batch(student, batch):
    calls, teacher = [], student.teacher
    student.teacher = lambda *args: calls.append(args) or teacher(*args)
    student.loss(*batch)
    assert len(calls) == 1
    assert calls[0][0] is batch[0]


def test_data_samples_stay_as_they_are(student, batch):
    images, samples = batch
    before = copy.deepcopy(samples)
    student.loss(images, samples)
    for sample, copied in zip(samples, before, strict=True):
        assert set(sample.all_keys()) == set(copied.all_keys())
        assert torch.equal(sample.gt_instances.labels, copied.gt_instances.labels)
        assert (sample.gt_instances.masks.masks == copied.gt_instances.masks.masks).all()


@pytest.mark.parametrize('pad_mask', [True, False])
@pytest.mark.parametrize('make', [tiny.samples, tiny.map_samples])
def test_batch_smaller_than_the_fixed_size(monkeypatch, make, pad_mask):
    """Images and ground truth are padded, whether the config asks for it or not."""
    pad = dict(type='BatchFixedSizePad', size=(96, 128), pad_mask=pad_mask)
    config = tiny.model_config()
    config.data_preprocessor.update(pad_mask=pad_mask, batch_augments=[pad])
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(config)
    samples = make([SEA, FOX], [])
    for sample in samples:
        del sample.batch_input_shape
    data = dict(inputs=[torch.zeros(3, 64, 64, dtype=torch.uint8)] * 2, data_samples=samples)
    batch = model.data_preprocessor(data, training=True)
    assert batch['inputs'].shape == (2, 3, 96, 128)
    assert [sample.batch_input_shape for sample in batch['data_samples']] == [(96, 128)] * 2
    seen = capture_targets(monkeypatch, model)
    losses = model.loss(batch['inputs'], batch['data_samples'])
    assert all(loss.isfinite() for loss in losses.values())
    for target, count in zip(seen[0], (2, 0), strict=True):
        assert target.covered.shape == (96, 128)
        assert len(target.labels) == count
        assert target.covered.any() == bool(count)
        assert not target.covered[64:].any()
        assert not target.covered[:, 64:].any()


def test_training_leaves_the_teacher_alone(student, batch):
    teacher = student.teacher.model
    before = copy.deepcopy(teacher.state_dict())
    optimizer = torch.optim.SGD(student.parameters(), lr=1e-3)
    initial = copy.deepcopy(student.state_dict())
    sum(student.loss(*batch).values()).backward()
    missing = [name for name, p in student.named_parameters() if p.grad is None]
    assert missing == []
    optimizer.step()
    assert any(not torch.equal(x, initial[key]) for key, x in student.state_dict().items())
    after = teacher.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())
    student.load_state_dict(initial)


def test_the_teacher_is_no_part_of_the_student(student):
    keys = set(tiny.build_model(step=1).state_dict())
    assert set(student.state_dict()) == keys
    mine = {id(p) for p in student.parameters()}
    assert mine.isdisjoint(id(p) for p in student.teacher.model.parameters())
    student.train()
    assert not any(module.training for module in student.teacher.model.modules())
    copied = copy.deepcopy(student)
    assert copied.teacher is student.teacher
    assert copied.panoptic_head is not student.panoptic_head


def test_a_step_adds_nothing_but_its_classifier():
    old, new = tiny.build_model(step=0), tiny.build_model(step=1)
    prefix = 'panoptic_head.cls_embed.'
    added = set(new.state_dict()) - set(old.state_dict())
    assert added == new.panoptic_head.cls_embed.newest_parameters(prefix)
    assert set(old.state_dict()) < set(new.state_dict())


@torch.no_grad()
def test_prediction_never_holds_an_unseen_class(student, batch):
    images, _ = batch
    student.eval()
    student.panoptic_head.cls_embed.no_object.bias -= 20
    student.panoptic_head.mask_embed[-1].weight *= 50
    samples = tiny.samples([], [])
    samples[1].set_metainfo(dict(img_shape=(64, 48), ori_shape=(80, 60)))
    results = student.predict(images, samples, rescale=True)
    student.panoptic_head.cls_embed.no_object.bias += 20
    student.panoptic_head.mask_embed[-1].weight /= 50
    maps = [result.pred_panoptic_seg.sem_seg for result in results]
    assert [tuple(x.shape) for x in maps] == [(1, 64, 64), (1, 80, 60)]
    labels = {code % 1000 for x in maps for code in x.unique().tolist()}
    assert labels & {SKY, CAT, SEA, FOX}
    assert labels <= {SKY, CAT, SEA, FOX, 5}
    assert DOG not in labels


def test_fusion_head_follows_the_panoptic_head():
    model = tiny.build_model(step=1, match_cost='WeightedMatchCost', **tiny.SIGMOID)
    fusion = model.panoptic_fusion_head
    assert isinstance(fusion.mask_activation, QuerySigmoid)
    assert (fusion.num_things_classes, fusion.num_stuff_classes) == (3, 2)


def test_config_is_not_edited():
    config = tiny.model_config()
    before = copy.deepcopy(config)
    with tiny.DefaultScope.overwrite_default_scope('mmdet'):
        tiny.MODELS.build(config)
    assert config == before


class FeatureDistance(torch.nn.Module):
    """A stand-in for a loss between features."""

    reads = frozenset({'feats'})

    def forward(self, student, teacher, targets, assignments):
        assert len(student.feats) == len(teacher.feats) == 4
        assert not any(feature.requires_grad for feature in teacher.feats)
        pairs = zip(student.feats, teacher.feats, strict=True)
        return {'loss_feature': sum((a - b).square().mean() for a, b in pairs)}


def test_features_of_student_and_teacher(student, batch):
    assert 'loss_feature' not in student.loss(*batch)
    student.extra_losses['feature'] = FeatureDistance()
    loss = student.loss(*batch)['loss_feature']
    assert loss > 0
    loss.backward()
    assert student.backbone.conv1.weight.grad.abs().sum() > 0
    student.teacher = None
    assert 'loss_feature' not in student.loss(*batch)
    del student.extra_losses['feature']


@pytest.mark.parametrize('former', [True, False])
def test_loss_of_features_is_built_from_the_config(former):
    """Also from where configs had it before."""
    config = tiny.model_config(1)
    loss = dict(type='PodLoss', loss_weight=0.5)
    config.update(dict(loss_feature=loss) if former else dict(extra_losses=dict(feature=loss)))
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(config)
    assert set(model.extra_losses) == {'distill', 'feature'}
    assert model.extra_losses['feature'].loss_weight == 0.5
    assert not list(model.extra_losses.parameters())
