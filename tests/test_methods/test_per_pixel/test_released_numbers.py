"""Golden numbers of the released per-pixel path, whose background is its first column."""

import golden
import pytest
import tiny
import torch
from mmengine.registry import MODELS

from mmcomformer.methods.per_pixel import (
    PixelClassLoss,
    PixelOutput,
    PixelPseudoLabels,
    PixelScoreFusion,
    PixelTargets,
    pixel_scores,
)
from mmcomformer.methods.per_pixel.pixel_losses import pixel_distill_loss
from mmcomformer.models import QuerySigmoid
from mmcomformer.models.hidden_classes import restricted_log_prob, unbiased_log_prob
from mmcomformer.scenario import Scenario

NUMBERS = {
    name: golden.Golden(name, 'per_pixel')
    for name in (
        'scores', 'cross_entropy', 'unbiased_cross_entropy', 'unbiased_distillation',
        'plain_distillation', 'step',
    )
}  # fmt: skip


def cases(function, **settings):
    """Parametrise with the cases of a function that have the settings, in two precisions."""
    chosen = [
        case
        for case in NUMBERS[function].cases
        if all(case[key] == value for key, value in settings.items())
    ]
    assert chosen

    def decorate(test):
        for mark in (
            pytest.mark.parametrize('case', chosen, ids=lambda case: case['case']),
            pytest.mark.parametrize(('dtype', 'tolerance'), golden.PRECISIONS),
        ):
            test = mark(test)
        return test

    return decorate


def background_last(values, axis=-1):
    """Move the released program's background to our place of it."""
    return values.roll(-1, axis)


def logits_of(recorded, dtype):
    """Return logits of queries without the no-object that is not used, which is last."""
    return background_last(recorded[..., :-1].to(dtype)).requires_grad_()


def by_pixel(recorded, dtype=torch.float64):
    """Return maps (B, C, h, w), background first, as (B, h, w, C), background last."""
    return background_last(recorded.movedim(1, -1)).to(dtype)


def scenario(num_old, num_new, step=1):
    names = [f'c{i}' for i in range(num_old + num_new)]
    increments = [num_old, num_new] if step else [num_old + num_new]
    return Scenario.from_config(dict(increments=increments, stuff_classes=names, step=step))


@cases('scores')
def test_scores(case, dtype, tolerance):
    recorded, name = NUMBERS['scores'], case['key_prefix']
    logits = logits_of(recorded[f'{name}__logits'], dtype)
    masks = recorded[f'{name}__masks'].to(dtype).requires_grad_()
    scores = pixel_scores(logits, masks.sigmoid())
    golden.assert_agrees(scores, by_pixel(recorded[f'{name}__scores_f64']), tolerance)
    (scores * by_pixel(recorded[f'{name}__seed_gradient'], dtype)).sum().backward()
    expected = recorded[f'{name}__grad_logits_f64']
    assert (expected[..., -1] == 0).all()
    golden.assert_agrees(logits.grad, background_last(expected[..., :-1]), tolerance)
    golden.assert_agrees(masks.grad, recorded[f'{name}__grad_masks_f64'], tolerance)


@cases('scores')
def test_probabilities(case, dtype, tolerance):
    recorded, name = NUMBERS['scores'], case['key_prefix']
    logits = logits_of(recorded[f'{name}__logits'], dtype).detach()
    masks = recorded[f'{name}__masks'].to(dtype).sigmoid()
    for of_image, mask, expected in zip(
        logits, masks, recorded[f'{name}__probabilities_f32'], strict=True
    ):
        found = PixelScoreFusion()(of_image, mask)
        # recorded in single precision
        golden.assert_agrees(found, background_last(expected, 0), 1e-5)


def check_class_loss(numbers, case, loss, dtype, tolerance):
    name = case['key_prefix']
    scores = by_pixel(numbers[f'{name}__scores'], dtype).requires_grad_()
    background = scores.shape[-1] - 1
    labels = numbers[f'{name}__labels']
    ours = torch.where(labels == 0, background, labels - 1).masked_fill(labels == 255, -1)
    value = loss(scores.flatten(0, 2), ours.flatten())
    value.backward()
    golden.assert_agrees(value, case['loss_f64'], tolerance)
    golden.assert_agrees(scores.grad, by_pixel(numbers[f'{name}__grad_f64']), tolerance)


@cases('cross_entropy')
def test_cross_entropy(case, dtype, tolerance):
    loss = PixelClassLoss(scenario(1, case['C'] - 2))
    check_class_loss(NUMBERS['cross_entropy'], case, loss, dtype, tolerance)


@cases('unbiased_cross_entropy')
def test_unbiased_cross_entropy(case, dtype, tolerance):
    # the released program counts the background among the old ones
    first = case['old'] == 0
    steps = scenario(0, case['new'], 0) if first else scenario(case['old'] - 1, case['new'])
    loss = PixelClassLoss(steps, unbiased=True)
    check_class_loss(NUMBERS['unbiased_cross_entropy'], case, loss, dtype, tolerance)


def check_distillation(numbers, case, log_prob, dtype, tolerance):
    name = case['key_prefix']
    student = by_pixel(numbers[f'{name}__scores'], dtype).requires_grad_()
    teacher = by_pixel(numbers[f'{name}__teacher'], dtype)
    loss = pixel_distill_loss(log_prob(student, case['old'] - 1), case['alpha'] * teacher)
    loss.backward()
    golden.assert_agrees(loss, case['loss_f64'], tolerance)
    golden.assert_agrees(student.grad, by_pixel(numbers[f'{name}__grad_f64']), tolerance)


@cases('unbiased_distillation')
def test_unbiased_distillation(case, dtype, tolerance):
    numbers = NUMBERS['unbiased_distillation']
    check_distillation(numbers, case, unbiased_log_prob, dtype, tolerance)


# distillation over all columns is not offered
@cases('plain_distillation', use_new=False)
def test_plain_distillation(case, dtype, tolerance):
    numbers = NUMBERS['plain_distillation']
    check_distillation(numbers, case, restricted_log_prob, dtype, tolerance)


class Double(QuerySigmoid):
    """Masks in the precision of the logits."""

    def probability(self, mask_pred):
        return mask_pred.sigmoid()


def outputs_of(case, dtype):
    """Return the student's levels, ours first to last, and the teacher if there is one."""
    numbers, name = NUMBERS['step'], case['key_prefix']
    count = len(case['losses_f64']) - ('loss_kd' in case['losses_f64'])
    order = [*range(1, count), 0]
    logits = [logits_of(numbers[f'{name}__logits{level}'], dtype) for level in order]
    masks = [numbers[f'{name}__masks{level}'].to(dtype).requires_grad_() for level in order]
    teacher = None
    if case['pseudo'] or case['kd_weight']:
        teacher = PixelOutput(
            (logits_of(numbers[f'{name}__teacher_logits'], dtype).detach(),),
            (numbers[f'{name}__teacher_masks'].to(dtype),),
        )
    return PixelOutput(tuple(logits), tuple(masks)), teacher, order


def targets_of(case):
    """Return the targets of a case as a head makes them."""
    background = case['old'] - 1 + case['new']
    found = []
    for labels in NUMBERS['step'][f'{case["key_prefix"]}__labels']:
        owner = (labels - 1).masked_fill(labels == 255, -1)
        classes = torch.arange(background)
        targets = PixelTargets.from_map(classes, owner)
        ignored = labels == 255
        found.append(PixelTargets(classes, targets.valid, targets.masks, owner, ignored=ignored))
    return found


@cases('step', pseudo=True)
def test_pseudo_labels(case, dtype, tolerance):
    """Labels after resizing and pseudo-labelling are the same, pixel by pixel."""
    _, teacher, _ = outputs_of(case, dtype)
    targets = targets_of(case)
    targets = PixelPseudoLabels(Double())(targets, teacher)
    expected = NUMBERS['step'][f'{case["key_prefix"]}__labels_small']
    for target, labels in zip(targets, expected, strict=True):
        found = target.label_map(254, tuple(labels.shape), 'nearest') + 1
        assert torch.equal(torch.where(found == 255, 0, found.masked_fill(found == 0, 255)), labels)


def check_step(case, losses, student, order, tolerance):
    """Check the losses of every level, and the gradients of their sum."""
    numbers, name = NUMBERS['step'], case['key_prefix']
    assert set(losses) == set(case['losses_f64'])
    for key, value in losses.items():
        golden.assert_agrees(value, case['losses_f64'][key], tolerance)
    sum(losses.values()).backward()
    for level, logits, masks in zip(order, student.cls_scores, student.mask_preds, strict=True):
        expected = background_last(numbers[f'{name}__grad_logits{level}_f64'][..., :-1])
        golden.assert_agrees(logits.grad, expected, tolerance)
        golden.assert_agrees(masks.grad, numbers[f'{name}__grad_masks{level}_f64'], tolerance)


@cases('step')
def test_formulae_of_a_step(case, dtype, tolerance):
    student, teacher, order = outputs_of(case, dtype)
    targets = targets_of(case)
    if case['pseudo']:
        targets = PixelPseudoLabels(Double())(targets, teacher)
    steps = scenario(case['old'] - 1, case['new'])
    loss = PixelClassLoss(steps, unbiased=case['unbiased_ce'])
    size = tuple(student.mask_pred.shape[-2:])
    labels = torch.stack([target.label_map(steps.num_seen, size, 'nearest') for target in targets])
    scores = [
        pixel_scores(cls_score, masks.sigmoid())
        for cls_score, masks in zip(student.cls_scores, student.mask_preds, strict=True)
    ]
    losses = {
        f'loss_ce_{level - 1}' if level else 'loss_ce': loss(score.flatten(0, 2), labels.flatten())
        for level, score in zip(order, scores, strict=True)
    }
    if case['kd_weight']:
        theirs = pixel_scores(teacher.cls_score, teacher.mask_pred.sigmoid())
        log_prob = unbiased_log_prob(scores[-1], case['old'] - 1)
        losses['loss_kd'] = case['kd_weight'] * pixel_distill_loss(log_prob, theirs)
    check_step(case, losses, student, order, tolerance)


@pytest.mark.parametrize('case', NUMBERS['step'].cases, ids=lambda case: case['case'])
def test_head_and_losses_of_a_step(case):
    """The same through the modules of a model, which compute in single precision."""
    student, teacher, order = outputs_of(case, torch.float32)
    steps = scenario(case['old'] - 1, case['new']).to_dict()
    loss = dict(type='PixelClassLoss', scenario=steps, unbiased=case['unbiased_ce'])
    options = dict(scenario=steps, loss_cls=loss, label_resize='nearest')
    head = tiny.build_pixel_segmentor(**options).decode_head
    targets = targets_of(case)
    if case['pseudo']:
        targets = PixelPseudoLabels(head.mask_activation)(targets, teacher)
    found, _ = head.supervised_losses(student, targets)
    names = {f'd{place}.loss_cls': f'loss_ce_{level - 1}' for place, level in enumerate(order)}
    losses = {{**names, 'loss_cls': 'loss_ce'}[key]: value for key, value in found.items()}
    assert next(iter(found)) == 'loss_cls'
    if case['kd_weight']:
        loss = MODELS.build(dict(type='PixelDistillLoss', loss_weight=case['kd_weight']))
        losses['loss_kd'] = loss(student, teacher, targets, [])['loss_distill']
    check_step(case, losses, student, order, 1e-5)
