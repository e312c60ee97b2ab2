"""The head of the per-pixel baseline: targets, losses, scores at test, and what it refuses."""

import pytest
import tiny
import torch
from torch.nn import functional

from mmcomformer.methods.per_pixel import (
    PixelClassLoss,
    PixelOutput,
    PixelPseudoLabels,
    PixelScoreFusion,
)
from mmcomformer.models import FrozenTeacher, MaskPseudoLabels

HIDDEN, VOID = 254, 255
# seen at step 1, in learning order: sky (3), cat (1), sea (4); background is 0
SKY, CAT, SEA, NOTHING = range(4)


def samples(*maps, **metainfo):
    found = tiny.label_samples(*maps)
    for sample in found:
        sample.set_metainfo(dict(hidden_label=HIDDEN, **metainfo))
    return found


def targets_of(label_map, **metainfo):
    model = tiny.build_pixel_segmentor()
    return model.decode_head.build_targets(samples(label_map, **metainfo))[0]


def batch():
    label_map = torch.full((64, 64), HIDDEN)
    label_map[:20, :30], label_map[40:] = 4, VOID
    return torch.randn(2, 3, 64, 64), samples(label_map, label_map.T)


@pytest.mark.parametrize('labels', [None, (1, 4)])
def test_targets(labels):
    more = {} if labels is None else dict(gt_labels=labels)
    targets = targets_of([[HIDDEN, 4, VOID], [1, 4, HIDDEN]], **more)
    assert targets.label_map(NOTHING).tolist() == [[NOTHING, SEA, -1], [CAT, SEA, NOTHING]]
    assert targets.covered.tolist() == [[False, True, False], [True, True, False]]


@pytest.mark.parametrize(('resize', 'first'), [('nearest', 0), ('nearest-exact', 2)])
def test_labels_are_reduced_by_the_nearest_pixel(resize, first):
    label_map = torch.full((8, 8), HIDDEN)
    label_map[first, first + 4], label_map[first + 4, first], label_map[1, 1] = 1, VOID, 4
    found = targets_of(label_map).label_map(NOTHING, (2, 2), resize)
    assert found.tolist() == [[NOTHING, CAT], [-1, NOTHING]]


def test_how_labels_are_reduced():
    label_map = torch.full((64, 64), HIDDEN)
    label_map[::4, ::4] = 4
    images, data = torch.randn(1, 3, 64, 64), samples(label_map)
    found = [
        tiny.build_pixel_segmentor(**option).eval().loss(images, data)['decode.loss_cls'].item()
        for option in ({}, dict(label_resize='nearest-exact'), dict(label_resize='nearest'))
    ]
    assert found[0] == found[1] != found[2]


def output(scores):
    """Return the output of one query for each pixel of a map, whose classes it says, (h, w, K)."""
    height, width, _ = scores.shape
    logits = (
        torch.full((height * width,) * 2, -1e4).fill_diagonal_(1e4).unflatten(1, scores.shape[:2])
    )
    return PixelOutput((scores.flatten(0, 1)[None],), (logits[None],))


def test_the_teacher_labels_background_that_it_is_sure_of():
    # at step 0: sky, cat, background
    sure_sky, sure_none, unsure = [9.0, 0, 0], [0, 0, 9.0], [1.0, 0, 0]
    said = torch.tensor([[sure_sky, sure_none, unsure, sure_sky, sure_sky]])
    targets = targets_of([[HIDDEN, HIDDEN, HIDDEN, 4, VOID]])
    labeller = PixelPseudoLabels(tiny.build_pixel_segmentor().decode_head.mask_activation)
    (found,) = labeller([targets], output(said))
    assert found.label_map(NOTHING).tolist() == [[SKY, NOTHING, -1, SEA, -1]]
    assert found.labels[found.is_pseudo & found.valid].tolist() == [SKY]
    assert found.covered.tolist() == [[True, False, False, True, False]]
    # its own map is coarser
    targets = targets_of([[HIDDEN] * 10] * 2)
    (found,) = labeller([targets], output(said))
    assert (
        found.label_map(NOTHING).tolist() == [[*[SKY] * 2, *[NOTHING] * 2, -1, -1, *[SKY] * 4]] * 2
    )


def test_the_threshold_is_reached_where_it_is_equalled():
    """A teacher that says the same of all classes."""
    targets = targets_of([[HIDDEN]])
    activation = tiny.build_pixel_segmentor().decode_head.mask_activation
    labels = [
        PixelPseudoLabels(activation, score_thr=thr)([targets], output(torch.zeros(1, 1, 4)))[0]
        for thr in (0.25, 0.26)
    ]
    assert [found.label_map(NOTHING).item() for found in labels] == [SKY, -1]


@pytest.mark.parametrize('value', [-0.1, 1.1])
def test_wrong_threshold(value):
    with pytest.raises(
        ValueError, match=f'PixelPseudoLabels.score_thr: expected 0 to 1, got {value}'
    ):
        PixelPseudoLabels(None, score_thr=value)


def test_losses_of_every_level():
    model = tiny.build_pixel_segmentor().train()
    losses = model.loss(*batch())
    assert set(losses) == {f'decode.{level}loss_cls' for level in ('', 'd0.', 'd1.', 'd2.')}
    sum(losses.values()).backward()
    unused = {name for name, p in model.named_parameters() if p.grad is None}
    assert unused == set()


def test_nothing_is_labelled():
    """The loss is 0, and every parameter has a gradient, which data parallelism waits for."""
    model = tiny.build_pixel_segmentor().train()
    losses = model.loss(torch.randn(1, 3, 64, 64), samples(torch.full((64, 64), VOID)))
    total = sum(losses.values())
    assert total == 0
    total.backward()
    assert all((p.grad == 0).all() for p in model.parameters())


@pytest.mark.parametrize('unbiased', [True, False])
def test_distillation(unbiased):
    distill = dict(type='PixelDistillLoss', unbiased=unbiased, temperature=2.0, loss_weight=3.0)
    model = tiny.build_pixel_segmentor(losses=dict(pixel=distill)).train()
    teacher = tiny.build_pixel_segmentor(0)
    images, data = batch()
    assert 'decode.loss_distill' not in model.loss(images, data)
    model.teacher = FrozenTeacher(teacher)
    model.eval()
    loss = model.loss(images, data)['decode.loss_distill']
    with torch.no_grad():
        ours, theirs = (one.query_output(images, data).scores() for one in (model, teacher.eval()))
    prob = ours.softmax(-1)
    log_prob = torch.cat([prob[..., :2], prob[..., 2:].sum(-1, keepdim=True)], -1).log()
    if not unbiased:
        log_prob = ours[..., [0, 1, 3]].log_softmax(-1)
    expected = -((theirs / 2).softmax(-1) * log_prob).sum(-1).mean()
    torch.testing.assert_close(loss, 3 * expected)


def test_distillation_of_pixels_needs_pixels():
    loss = dict(pixel=dict(type='PixelDistillLoss'))
    model = tiny.build_segmentor().train()
    model.extra_losses = tiny.build_pixel_segmentor(losses=loss).extra_losses
    model.teacher = FrozenTeacher(tiny.build_segmentor(0))
    with pytest.raises(TypeError, match='PixelDistillLoss: expected the head to be a PerPixelHead'):
        model.loss(*batch())


def test_pseudo_labels_of_masks_fit_too():
    model = tiny.build_pixel_segmentor().train()
    model.teacher = FrozenTeacher(tiny.build_pixel_segmentor(0))
    model.pseudo_labeller = MaskPseudoLabels(model.decode_head.mask_activation)
    assert all(loss.isfinite() for loss in model.loss(*batch()).values())


def test_unbiased_loss_at_step_0_is_the_plain_one():
    """To the last bit: the methods per pixel can share the model of step 0."""
    scenario = {**tiny.SEMANTIC_SCENARIO, 'step': 0}
    found = []
    for unbiased in (False, True):
        loss = dict(type='PixelClassLoss', scenario=scenario, unbiased=unbiased)
        model = tiny.build_pixel_segmentor(0, loss_cls=loss).train()
        torch.manual_seed(0)
        label_map = torch.full((64, 64), HIDDEN)
        label_map[:30] = 3
        losses = model.loss(torch.randn(1, 3, 64, 64), samples(label_map))
        sum(losses.values()).backward()
        found.append([*losses.values(), *(p.grad for p in model.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_mean_over_the_pixels_that_are_not_ignored():
    scenario = {**tiny.SEMANTIC_SCENARIO, 'step': 1}
    scores = torch.randn(5, 4)
    for labels in ([-1, 2, -1, -1, -1], [0, -1, 3, 1, -1]):
        target = torch.tensor(labels)
        expected = functional.cross_entropy(scores, target, ignore_index=-1)
        torch.testing.assert_close(PixelClassLoss(scenario)(scores, target), expected)


def test_scores_are_computed_in_single_precision():
    """Also with half of it around: they are sums over all queries."""
    cls_score, logits = 10 * torch.randn(1, 8, 4), torch.randn(1, 8, 3, 3)
    said = PixelOutput((cls_score,), (logits,))
    expected = said.scores()
    assert expected.dtype == torch.float32
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert torch.equal(said.scores(), expected)


def test_loss_weight():
    model = tiny.build_pixel_segmentor().eval()
    images, data = batch()
    once = model.loss(images, data)
    model.decode_head.loss_cls.loss_weight = 2.0
    for name, loss in model.loss(images, data).items():
        torch.testing.assert_close(loss, 2 * once[name])


def test_probabilities():
    """Classes that are not learned have none, also where no mask reaches a pixel."""
    cls_score = torch.tensor([[2.0, -torch.inf, 0.5, 1.0], [-1.0, -torch.inf, 3.0, 0.0]])
    masks = torch.tensor([[[1.0, 0.0, 0.25]], [[0.0, 0.0, 0.5]]])
    found = PixelScoreFusion()(cls_score, masks)
    known = cls_score[:, [0, 2, 3]]
    expected = functional.softmax(masks.flatten(1).T @ known, -1)
    torch.testing.assert_close(found[[0, 2, 3], 0].T, expected)
    assert (found[1] == 0).all()


@pytest.mark.parametrize(('background', 'expected'), [('background', 0), (None, VOID)])
def test_where_background_is_best(background, expected):
    """It is the dataset's background class, or no label at all."""
    scenario = {**tiny.SEMANTIC_SCENARIO, 'background': background}
    model = tiny.build_pixel_segmentor(scenario=scenario).eval()
    for place, (bias, label) in enumerate([((50, 0, 0, 0), 3), ((0, 0, 0, 50), expected)]):
        layers = [*model.decode_head.cls_embed.steps, model.decode_head.cls_embed.no_object]
        for layer, value in zip(layers, torch.tensor(bias).float().split([2, 1, 1]), strict=True):
            layer.bias.data.copy_(value)
        with torch.no_grad():
            results = model.predict(*batch())
        for result in results:
            assert result.pred_sem_seg.data.unique().tolist() == [label], place
            assert (result.seg_logits.data >= 0).all()


def test_label_maps_in_which_hidden_classes_are_not_marked():
    model = tiny.build_pixel_segmentor()
    for metainfo in ({}, dict(hidden_label=VOID)):
        (sample,) = tiny.label_samples([[1, VOID]])
        sample.set_metainfo(metainfo)
        with pytest.raises(ValueError, match='set train_dataloader.dataset.mark_hidden=True'):
            model.decode_head.build_targets([sample])


def test_a_class_that_was_not_taught():
    with pytest.raises(
        ValueError, match=r"a.png: its label map shows \['dog'\], which the current"
    ):
        targets_of([[2, 1, VOID]], img_path='a.png')


@pytest.mark.parametrize(
    ('change', 'error', 'message'),
    [
        (
            dict(loss_mask=dict(type='SigmoidMaskLoss')),
            TypeError,
            'decode_head.loss_mask: PerPixel',
        ),
        (
            dict(loss_dice=dict(type='SigmoidDiceLoss')),
            TypeError,
            'decode_head.loss_dice: PerPixel',
        ),
        (dict(train_cfg=dict(num_points=9)), TypeError, 'model.train_cfg: PerPixelHead matches no'),
        (
            dict(scenario={**tiny.SCENARIO, 'step': 1}),
            ValueError,
            'it labels pixels, and does not tell one thing from another',
        ),
        (dict(label_resize='area'), ValueError, "label_resize: expected one of .* got 'area'"),
        (
            dict(class_activation=dict(type='ClassSigmoid')),
            ValueError,
            'PixelClassLoss expects cla',
        ),
    ],
)
def test_settings_that_it_does_not_read(change, error, message):
    with pytest.raises(error, match=message):
        tiny.build_pixel_segmentor(**change)


def test_wrong_temperature():
    with pytest.raises(ValueError, match='PixelDistillLoss.temperature: expected above 0, got 0'):
        tiny.build_pixel_segmentor(losses=dict(a=dict(type='PixelDistillLoss', temperature=0)))
