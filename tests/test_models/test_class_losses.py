"""Classification losses of queries: formulas, golden numbers and reductions."""

import golden
import pytest
import torch
from mmengine.registry import MODELS
from torch.nn import functional

from mmcomformer.models.class_losses import focal_class_loss

FOCAL = golden.Golden('focal')
WEIGHTED = golden.Golden('weighted_ce')


def usable(case):
    # a plain mean, and every query has a target
    no_ignored = (FOCAL[case['case'] + '__targets'] != 255).all()
    return case['reduction'] == 'mean' and no_ignored


def queries(numbers, case, dtype):
    """Return class logits (B, Q, K + 1) and labels (B, Q) of a recorded case."""
    logits = numbers[case['case'] + '__student_logits'].to(dtype).transpose(1, 2)
    return logits.requires_grad_(), numbers[case['case'] + '__targets']


def check_released(numbers, case, loss, logits, tolerance):
    loss.backward()
    golden.assert_agrees(loss, case['loss_f64'], tolerance)
    gradient = numbers[case['key_prefix'] + '__grad_student_f64'].transpose(1, 2)
    golden.assert_agrees(logits.grad, gradient, tolerance)


FOCAL_CASES = [case for case in FOCAL.cases if usable(case)]


@pytest.mark.parametrize(('dtype', 'tolerance'), golden.PRECISIONS)
@pytest.mark.parametrize('case', FOCAL_CASES, ids=lambda case: case['key_prefix'])
def test_released_focal_loss_and_gradient(case, dtype, tolerance):
    logits, labels = queries(FOCAL, case, dtype)
    each = focal_class_loss(
        logits.flatten(0, 1), labels.flatten(), alpha=case['alpha'], gamma=case['gamma']
    )
    check_released(FOCAL, case, each.mean(), logits, tolerance)
    # the registered class averages in the same way
    loss = MODELS.build(
        dict(type='FocalClassLoss', alpha=case['alpha'], gamma=case['gamma'], loss_weight=1.0)
    )
    golden.assert_agrees(loss(logits.flatten(0, 1), labels.flatten()), case['loss_f64'], tolerance)


@pytest.mark.parametrize(('dtype', 'tolerance'), golden.PRECISIONS)
@pytest.mark.parametrize('case', WEIGHTED.cases, ids=lambda case: case['key_prefix'])
def test_released_weighted_loss_and_gradient(case, dtype, tolerance):
    logits, labels = queries(WEIGHTED, case, dtype)
    # the released program has the weight in single precision
    weight = torch.tensor(case['no_object_weight'], dtype=torch.float32).item()
    loss = MODELS.build(dict(type='WeightedClassLoss', no_object_weight=weight, loss_weight=1.0))(
        logits.flatten(0, 1), labels.flatten()
    )
    check_released(WEIGHTED, case, loss, logits, tolerance)


def test_focal_formula():
    logits, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 3, 3])
    prob = logits.softmax(-1)[range(6), labels]
    for alpha, gamma in ((5.0, 1.0), (2.0, 2.0), (1.0, 0.0)):
        expected = alpha * (1 - prob) ** gamma * -prob.log()
        loss = focal_class_loss(logits, labels, alpha=alpha, gamma=gamma)
        torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(focal_class_loss(logits, labels), 5 * (1 - prob) * -prob.log())


@pytest.mark.parametrize('gamma', [0.0, 1.0, 2.0])
def test_focal_gradient(gamma):
    logits = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 1, 2, 3, 3, 3])
    assert torch.autograd.gradcheck(lambda x: focal_class_loss(x, labels, gamma=gamma), logits)


@pytest.mark.parametrize('gamma', [1.0, 2.0])
@pytest.mark.parametrize('scale', [1e-6, 200.0])
def test_focal_gradient_is_finite_at_certainty(gamma, scale):
    logits = (scale * torch.eye(4)).requires_grad_()
    labels = torch.tensor([0, 1, 0, 1])
    loss = focal_class_loss(logits, labels, gamma=gamma)
    loss.sum().backward()
    assert loss.isfinite().all()
    assert logits.grad.isfinite().all()
    assert (loss >= 0).all()


def test_focal_defaults_weight_and_avg_factor():
    logits, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 3, 3])
    each = focal_class_loss(logits, labels, alpha=5, gamma=1)
    loss = MODELS.build(dict(type='FocalClassLoss'))
    torch.testing.assert_close(loss(logits, labels), 2 * each.mean())
    weight = torch.tensor([1.0, 0, 0, 0, 0, 2])
    torch.testing.assert_close(
        loss(logits, labels, weight, avg_factor=4.0), 2 * (each[0] + 2 * each[5]) / 4
    )


def test_weighted_loss_is_mask2formers():
    logits, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 3, 3])
    loss = MODELS.build(dict(type='WeightedClassLoss'))
    class_weight = torch.tensor([1.0, 1.0, 1.0, 0.1])
    expected = 2 * functional.cross_entropy(logits, labels, class_weight)
    torch.testing.assert_close(loss(logits, labels), expected)
    loss = MODELS.build(dict(type='WeightedClassLoss', no_object_weight=0.5, loss_weight=3.0))
    class_weight[3] = 0.5
    expected = 3 * functional.cross_entropy(logits, labels, class_weight)
    torch.testing.assert_close(loss(logits, labels), expected)


def test_weighted_loss_with_weights_and_avg_factor():
    logits, labels = torch.randn(4, 4), torch.tensor([0, 3, 2, 3])
    each = functional.cross_entropy(logits, labels, reduction='none')
    weight = torch.tensor([2.0, 1.0, 0.0, 0.0])
    loss = MODELS.build(dict(type='WeightedClassLoss', loss_weight=1.0))
    weighted = 2 * each[0] + 0.1 * each[1]
    torch.testing.assert_close(loss(logits, labels, weight), weighted / 2.1)
    torch.testing.assert_close(loss(logits, labels, weight, avg_factor=5.0), weighted / 5)
