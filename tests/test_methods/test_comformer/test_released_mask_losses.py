"""Mask and dice losses of the released program, from its random draws to gradients."""

import golden
import pytest
import tiny
import torch

from mmcomformer.models import point_sampling
from mmcomformer.models import query_head as head_module
from mmcomformer.models.point_sampling import uncertain_points
from mmcomformer.models.targets import ImageTargets

GOLDEN = {name: golden.Golden(f'criterion_masks_{name}') for name in ('softmax', 'sigmoid')}
CASES = [(kind, case) for kind, numbers in GOLDEN.items() for case in numbers.cases]
PRECISIONS = [
    pytest.param(torch.float64, 1e-8, id='float64'),
    pytest.param(torch.float32, 1e-5, id='float32'),
]


def unit_loss(name):
    return dict(type=name, loss_weight=1.0)


@pytest.fixture(scope='module')
def heads():
    """Heads with softmax and with sigmoid masks, whose losses have weight 1."""
    softmax = dict(loss_mask=unit_loss('SoftmaxMaskLoss'), loss_dice=unit_loss('SoftmaxDiceLoss'))
    sigmoid = {
        **tiny.SIGMOID,
        'loss_mask': unit_loss('SigmoidMaskLoss'),
        'loss_dice': unit_loss('SigmoidDiceLoss'),
    }
    return {
        'softmax': tiny.build_head(**softmax),
        'sigmoid': tiny.build_head(match_cost='WeightedMatchCost', **sigmoid),
    }


@pytest.mark.parametrize(('dtype', 'tolerance'), PRECISIONS)
@pytest.mark.parametrize(
    ('kind', 'case'), CASES, ids=lambda x: x if isinstance(x, str) else x['case']
)
def test_from_random_draws_to_gradients(heads, kind, case, dtype, tolerance, monkeypatch):
    head, numbers, name = heads[kind], GOLDEN[kind], case['case']
    if kind == 'softmax' and case['Q'] == 1 and dtype == torch.float64:
        pytest.skip('one query has 1 everywhere: rounding to float32 chose the recorded points')
    monkeypatch.setattr(head, 'num_points', case['points'])
    assert (head.oversample_ratio, head.importance_sample_ratio) == (
        case['oversample'],
        case['importance'],
    )
    draws = [f'{name}__random_oversampled', f'{name}__random_extra']
    remaining = iter(draws)
    monkeypatch.setattr(
        point_sampling,
        'random_points',
        lambda *args, **kwargs: numbers[next(remaining)].to(dtype),
    )
    points = []
    monkeypatch.setattr(
        head_module,
        'uncertain_points',
        lambda *args, **kwargs: points.append(uncertain_points(*args, **kwargs)) or points[0],
    )
    pred = numbers[f'{name}__pred_masks'].to(dtype).requires_grad_()
    targets, assigned = [], []
    for image in range(case['B']):
        masks = numbers[f'{name}__gt_masks_img{image}'].to(dtype)
        labels = torch.zeros(len(masks), dtype=torch.long)
        targets.append(ImageTargets(labels, torch.ones_like(labels, dtype=torch.bool), masks))
        assigned.append(
            tuple(numbers[f'{name}__{part}_img{image}'].numpy() for part in ('rows', 'cols'))
        )
    losses = head._mask_losses(
        head.mask_activation.loss_maps(pred),
        targets,
        assigned,
        torch.tensor(case['num_masks'], dtype=dtype),
    )
    if points:
        recorded = numbers[f'{name}__points'].to(dtype)
        assert points[0].shape == recorded.shape
        # the most uncertain come first, in an order that rounding may change
        assert same_points(points[0], recorded)
    for part, loss in zip(('mask', 'dice'), losses, strict=True):
        (gradient,) = torch.autograd.grad(loss, pred, retain_graph=True)
        golden.assert_agrees(loss, numbers[f'{name}__loss_{part}_f64'], tolerance)
        # recorded in float32
        golden.assert_agrees(gradient, numbers[f'{name}__grad_loss_{part}_f32'], 1e-5)


def same_points(ours, recorded):
    """Tell whether each mask has the same points, in any order."""
    return all(
        {tuple(point) for point in a.tolist()} == {tuple(point) for point in b.tolist()}
        for a, b in zip(ours, recorded, strict=True)
    )
