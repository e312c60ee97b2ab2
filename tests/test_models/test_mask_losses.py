"""Mask and dice losses: formulas, gradients and reductions."""

import golden
import pytest
import torch
from mmengine.registry import MODELS
from torch.nn import functional

from mmcomformer.models.mask_losses import (
    dice_loss,
    reduce_loss,
    sigmoid_mask_loss,
    softmax_mask_loss,
)


@pytest.fixture
def samples():
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(3, 11, generator=generator, dtype=torch.float64)
    return logits, torch.rand(3, 11, generator=generator, dtype=torch.float64)


def test_softmax_mask_loss_has_the_positive_term_only(samples):
    logits, target = samples
    log_prob = functional.logsigmoid(logits)
    expected = torch.stack([-(g * m).sum() / 11 for m, g in zip(log_prob, target, strict=True)])
    torch.testing.assert_close(softmax_mask_loss(log_prob, target), expected)
    assert softmax_mask_loss(log_prob, torch.zeros_like(target)).tolist() == [0, 0, 0]


def test_sigmoid_mask_loss(samples):
    logits, target = samples
    prob = logits.sigmoid()
    expected = -(target * prob.log() + (1 - target) * (1 - prob).log()).mean(1)
    torch.testing.assert_close(sigmoid_mask_loss(logits, target), expected)


def test_dice_loss(samples):
    logits, target = samples
    prob = logits.sigmoid()
    loss = dice_loss(prob, target)
    for i, (m, g) in enumerate(zip(prob, target, strict=True)):
        expected = 1 - (2 * (m * g).sum() + 1) / (m.sum() + g.sum() + 1)
        torch.testing.assert_close(loss[i], expected)
    nothing = torch.zeros(1, 5)
    assert dice_loss(nothing, nothing).tolist() == [0]
    assert dice_loss(nothing + 1, nothing + 1).tolist() == [0]


@pytest.mark.parametrize('loss', [softmax_mask_loss, sigmoid_mask_loss, dice_loss])
def test_gradients(samples, loss):
    logits, target = samples
    assert torch.autograd.gradcheck(lambda x: loss(x, target), logits.requires_grad_())


@pytest.mark.parametrize(
    ('name', 'expects', 'formula'),
    [
        ('SoftmaxMaskLoss', 'log_probability', softmax_mask_loss),
        ('SoftmaxDiceLoss', 'probability', dice_loss),
        ('SigmoidMaskLoss', 'logit', sigmoid_mask_loss),
        ('SigmoidDiceLoss', 'logit', lambda x, g: dice_loss(x.sigmoid(), g)),
    ],
)
def test_classes(samples, name, expects, formula):
    pred, target = samples
    each = formula(pred, target)
    loss = MODELS.build(dict(type=name))
    assert loss.expects == expects
    # 5 is the default weight; the sum over masks is divided by the number of targets
    torch.testing.assert_close(loss(pred, target, avg_factor=7.0), 5 * each.sum() / 7)
    torch.testing.assert_close(loss(pred, target, avg_factor=torch.tensor(7.0)), 5 * each.sum() / 7)
    torch.testing.assert_close(loss(pred, target), 5 * each.mean())
    weight = torch.tensor([1.0, 0.0, 3.0])
    loss = MODELS.build(dict(type=name, loss_weight=2.0))
    torch.testing.assert_close(loss(pred, target, weight), 2 * (each * weight).mean())


RELEASED = {
    'mask_softmax_ce': softmax_mask_loss,
    'mask_softmax_dice': dice_loss,
    'mask_sigmoid_ce': sigmoid_mask_loss,
    'mask_sigmoid_dice': lambda x, g: dice_loss(x.sigmoid(), g),
}
GOLDEN = {name: golden.Golden(name) for name in RELEASED}


@pytest.mark.parametrize(('dtype', 'tolerance'), golden.PRECISIONS)
@pytest.mark.parametrize(
    ('function', 'case'),
    [(name, case) for name, numbers in GOLDEN.items() for case in numbers.cases],
    ids=lambda value: value if isinstance(value, str) else value['case'],
)
def test_released_loss_and_gradient(function, case, dtype, tolerance):
    numbers, name = GOLDEN[function], case['case']
    pred = numbers[f'{name}__inputs'].to(dtype).requires_grad_()
    each = RELEASED[function](pred, numbers[f'{name}__targets'].to(dtype))
    loss = reduce_loss(each, None, case['num_masks'])
    loss.backward()
    golden.assert_agrees(loss, case['loss_f64'], tolerance)
    golden.assert_agrees(pred.grad, numbers[f'{name}__grad_inputs_f64'], tolerance)


def test_reduction_adds_no_epsilon():
    loss = torch.tensor([1.0, 2.0], dtype=torch.float64)
    assert reduce_loss(loss, None, 3.0).item() == 1
    assert reduce_loss(loss, torch.tensor([0.0, 2.0]), None).item() == 2
