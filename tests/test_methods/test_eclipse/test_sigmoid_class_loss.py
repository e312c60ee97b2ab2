"""ECLIPSE's class loss, against the released program and a plain formula."""

import pytest
import torch
from golden import PRECISIONS, Golden, assert_agrees
from torch.nn import functional

from mmcomformer.methods.eclipse import SigmoidFocalClassLoss

GOLDEN = Golden('class_loss', 'eclipse')


@pytest.mark.parametrize(('dtype', 'tolerance'), PRECISIONS)
@pytest.mark.parametrize('case', GOLDEN.cases, ids=lambda case: case['case'])
def test_as_released(case, dtype, tolerance):
    logits = GOLDEN[f'{case["key_prefix"]}__logits'].to(dtype).requires_grad_()
    targets = GOLDEN[f'{case["key_prefix"]}__targets']
    loss = SigmoidFocalClassLoss(case['alpha'], case['gamma'], loss_weight=1.0)
    value = loss(logits.flatten(0, 1), targets.flatten())
    value.backward()
    assert_agrees(value.detach(), case['loss_f64'], tolerance)
    assert_agrees(logits.grad, GOLDEN[f'{case["key_prefix"]}__grad_f64'], tolerance)


def test_weight_and_divisor():
    logits, labels = torch.randn(6, 4), torch.randint(4, (6,))
    truth = functional.one_hot(labels, 4).float()
    entropy = functional.binary_cross_entropy_with_logits(logits, truth, reduction='none')
    right = torch.where(truth == 1, logits.sigmoid(), 1 - logits.sigmoid())
    each = 50 * (5 * (1 - right) * entropy).mean(1)
    loss = SigmoidFocalClassLoss(loss_weight=10.0)
    torch.testing.assert_close(loss(logits, labels), 10 * each.mean())
    weight = torch.rand(6)
    torch.testing.assert_close(loss(logits, labels, weight, 3.0), 10 * (each * weight).sum() / 3)
