"""Unbiased classification: golden numbers, the formula by hand, and what each argument does."""

import golden
import pytest
import torch
from mmengine.registry import MODELS

from mmcomformer.methods.mib import UnbiasedClassLoss
from mmcomformer.models.class_losses import focal_modulation
from mmcomformer.models.hidden_classes import unbiased_class_log_prob, unbiased_cross_entropy

PLAIN = golden.Golden('unbiased_ce')
FOCAL = golden.Golden('focal_unbiased_ce')


def scenario(num_old=2, num_new=1, step=1):
    names = [f'c{i}' for i in range(num_old + num_new + 1)]
    return dict(increments=[num_old, num_new, 1], thing_classes=names, stuff_classes=[], step=step)


def build(**changes):
    cfg = dict(type='UnbiasedClassLoss', scenario=scenario(), loss_weight=1.0)
    return MODELS.build({**cfg, **changes})


def recorded(numbers, case, dtype):
    logits = numbers[case['case'] + '__student_logits'].to(dtype).transpose(1, 2)
    labels = numbers[case['case'] + '__targets']
    return logits.requires_grad_(), labels.flatten()


def check(numbers, case, loss, logits, tolerance):
    loss.backward()
    golden.assert_agrees(loss, case['loss_f64'], tolerance)
    gradient = numbers[case['key_prefix'] + '__grad_student_f64'].transpose(1, 2)
    golden.assert_agrees(logits.grad, gradient, tolerance)


@pytest.mark.parametrize(('dtype', 'tolerance'), golden.PRECISIONS)
@pytest.mark.parametrize('case', PLAIN.cases, ids=lambda case: case['key_prefix'])
def test_released_cross_entropy(case, dtype, tolerance):
    logits, labels = recorded(PLAIN, case, dtype)
    num_old, num_seen = case['K_old'], case['K_old'] + case['K_new']
    if case['reduction'] != 'mean':
        loss = unbiased_cross_entropy(logits.flatten(0, 1), labels, num_old=num_old).sum()
    else:
        # the released program has the weight in single precision
        weight = torch.tensor(case['no_object_weight'] or 1.0, dtype=torch.float32).item()
        loss = build(
            scenario=scenario(num_old, num_seen - num_old),
            alpha=1.0,
            gamma=0.0,
            no_object_weight=weight,
        )(logits.flatten(0, 1), labels)
    check(PLAIN, case, loss, logits, tolerance)


@pytest.mark.parametrize(('dtype', 'tolerance'), golden.PRECISIONS)
@pytest.mark.parametrize('case', FOCAL.cases, ids=lambda case: case['key_prefix'])
def test_released_focal_loss(case, dtype, tolerance):
    logits, labels = recorded(FOCAL, case, dtype)
    loss = build(
        scenario=scenario(case['K_old'], case['K_new']), alpha=case['alpha'], gamma=case['gamma']
    )(logits.flatten(0, 1), labels)
    check(FOCAL, case, loss, logits, tolerance)


def test_no_object_gets_the_old_classes():
    # old, old, new, no-object
    prob = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1]])
    unbiased = unbiased_class_log_prob(prob.log() + 5, 2).exp()
    torch.testing.assert_close(unbiased, torch.tensor([[0.1, 0.2, 0.3, 0.7], [0.4, 0.3, 0.2, 0.8]]))
    # a query with a target, and one without
    loss = unbiased_cross_entropy(prob.log(), torch.tensor([2, 3]), num_old=2)
    torch.testing.assert_close(loss, -torch.tensor([0.3, 0.8]).log())


def test_defaults_weights_and_avg_factor():
    logits, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 3, 3])
    log_prob = -unbiased_cross_entropy(logits, labels, num_old=2)
    each = focal_modulation(log_prob, alpha=5.0, gamma=1.0)
    loss = UnbiasedClassLoss(scenario())
    torch.testing.assert_close(loss(logits, labels), 2 * each.mean())
    balance = torch.tensor([1.0, 1.0, 1.0, 0.5, 0.5, 0.5])
    weighted = build(no_object_weight=0.5)
    torch.testing.assert_close(weighted(logits, labels), (balance * each).sum() / 4.5)
    weight = torch.tensor([1.0, 0, 0, 0, 0, 2])
    torch.testing.assert_close(
        weighted(logits, labels, weight, avg_factor=4.0), (each[0] + each[5]) / 4
    )


@pytest.mark.parametrize(
    ('options', 'same'),
    [
        (dict(), dict(type='FocalClassLoss')),
        (dict(alpha=1.0, gamma=0.0, no_object_weight=0.1), dict(type='WeightedClassLoss')),
    ],
)
@pytest.mark.parametrize('seed', range(5))
def test_step_0_has_no_old_classes(options, same, seed):
    """Value and gradient are the same to the last bit."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(131, 3, generator=generator)
    labels = torch.randint(0, 3, (131,), generator=generator)
    found = []
    for loss in (build(scenario=scenario(step=0), **options), MODELS.build(same)):
        loss.loss_weight = 2.0
        leaf = logits.clone().requires_grad_()
        value = loss(leaf, labels)
        value.backward()
        found.append((value.detach(), leaf.grad))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])


@pytest.mark.parametrize('gamma', [0.0, 1.0, 2.0])
def test_gradient_is_finite_where_old_classes_and_no_object_are_certain(gamma):
    # their probabilities add up to more than 1 by rounding
    logits = torch.tensor([[20.0, 19.0, -30.0, 20.5], [0.0, 90.0, -90.0, 88.0]]).requires_grad_()
    loss = build(gamma=gamma)(logits, torch.tensor([3, 3]))
    loss.backward()
    assert loss.item() >= 0
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize('width', [3, 5])
def test_logits_of_another_step(width):
    with pytest.raises(ValueError, match=f'expected logits of 3 classes.*got {width} values'):
        build()(torch.zeros(2, width), torch.zeros(2).long())


def test_rounding_makes_no_negative_loss():
    """Where old classes and no-object have all the probability, their sum may round to over 1."""
    logits = torch.randn(2000, 12, generator=torch.Generator().manual_seed(0))
    logits[:, 10] = -100
    labels = torch.full((2000,), 11)
    log_prob = unbiased_class_log_prob(logits, num_old=10)[:, -1]
    assert (log_prob > 0).any()
    assert (unbiased_cross_entropy(logits, labels, num_old=10) >= 0).all()
