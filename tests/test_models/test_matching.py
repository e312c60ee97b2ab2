"""Costs against the plain formulas, and the batched matching against one image at a time."""

import golden
import numpy as np
import oracles
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from mmcomformer.models import matching
from mmcomformer.models.matching import HarmonicMatchCost, WeightedMatchCost, match
from mmcomformer.models.point_sampling import random_points, sample_shared
from mmcomformer.models.targets import ImageTargets


def test_harmonic_cost():
    prob, masks, targets = torch.rand(4, 3), torch.rand(4, 20), torch.rand(3, 20).round()
    expected = oracles.harmonic_cost(prob.numpy(), masks.numpy(), targets.numpy())
    cost = HarmonicMatchCost()(prob, masks, targets)
    torch.testing.assert_close(cost, torch.from_numpy(expected).float())
    # leading axes are batch axes
    stacked = HarmonicMatchCost()(prob.expand(2, 4, 3), masks.expand(2, 4, 20), targets)
    torch.testing.assert_close(stacked, cost.expand(2, 4, 3))


@pytest.mark.parametrize('weights', [(2.0, 5.0, 5.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0, 0, 1)])
def test_weighted_cost(weights):
    prob, logits = torch.rand(4, 3), torch.randn(4, 20) * 3
    targets = torch.rand(3, 20)
    expected = oracles.weighted_cost(
        prob.double().numpy(), logits.double().numpy(), targets.double().numpy(), *weights
    )
    cost = WeightedMatchCost(*weights)(prob, logits, targets)
    torch.testing.assert_close(cost, torch.from_numpy(expected).float(), atol=1e-5, rtol=1e-5)


def test_default_weights_are_those_of_mask2former():
    prob, logits, targets = torch.rand(4, 3), torch.randn(4, 20), torch.rand(3, 20)
    assert torch.equal(
        WeightedMatchCost()(prob, logits, targets),
        WeightedMatchCost(cls_weight=2, mask_weight=5, dice_weight=5)(prob, logits, targets),
    )


RELEASED = {
    'match_softmax': (HarmonicMatchCost(), lambda logits: logits.softmax(0)),
    'match_sigmoid': (WeightedMatchCost(), lambda logits: logits),
}
GOLDEN = {name: golden.Golden(name) for name in RELEASED}


@pytest.mark.parametrize(
    ('kind', 'case'),
    [(name, case) for name, numbers in GOLDEN.items() for case in numbers.cases],
    ids=lambda value: value if isinstance(value, str) else value['case'],
)
def test_released_costs_and_assignments(kind, case):
    numbers, name = GOLDEN[kind], case['case']
    cost_of, activation = RELEASED[kind]
    for b in range(case['B']):
        masks = activation(numbers[f'{name}__pred_masks'][b])
        labels = numbers[f'{name}__gt_labels_img{b}'].long()
        points = numbers[f'{name}__points_img{b}']
        targets = ImageTargets.from_masks(labels, numbers[f'{name}__gt_masks_img{b}'])
        cost = cost_of(
            numbers[f'{name}__pred_logits'][b].softmax(-1)[:, labels],
            sample_shared(masks[None], points)[0],
            targets.sample_shared(points[0]),
        )
        # recorded in float32
        golden.assert_agrees(cost, numbers[f'{name}__cost_img{b}_f32'], 1e-6)
        rows, columns = linear_sum_assignment(cost.numpy())
        assert rows.tolist() == numbers[f'{name}__rows_img{b}'].tolist()
        assert columns.tolist() == numbers[f'{name}__cols_img{b}'].tolist()


def random_batch(seed, truths=(3, 0, 2), slots=4, queries=6, classes=5, levels=2, size=(8, 12)):
    """Predictions of several levels, and targets with and without pseudo-labels."""
    generator = torch.Generator().manual_seed(seed)
    batch = len(truths)
    draw = {'generator': generator}
    scores = [torch.randn(batch, queries, classes + 1, **draw) * 2 for _ in range(levels)]
    maps = [torch.randn(batch, queries, 4, 6, **draw) for _ in range(levels)]
    targets = []
    for image, count in enumerate(truths):
        labels = torch.randint(0, classes, (count,), **draw)
        target = ImageTargets.from_masks(labels, torch.rand(count, *size, **draw) > 0.6)
        if image != 2:
            owner = torch.randint(-1, slots, size, **draw)
            valid = torch.rand(slots, **draw) > 0.4
            owner[~valid[owner.clamp(min=0)]] = -1
            target = target.with_pseudo_labels(
                owner, torch.randint(0, classes, (slots,), **draw), valid
            )
        targets.append(target)
    return scores, maps, targets


COSTS = {
    'harmonic': (HarmonicMatchCost(), oracles.harmonic_cost, lambda maps: maps.softmax(-3)),
    'weighted': (WeightedMatchCost(), oracles.weighted_cost, lambda maps: maps),
}


@pytest.mark.parametrize('kind', COSTS)
@pytest.mark.parametrize('seed', range(5))
def test_match_equals_one_image_and_level_at_a_time(monkeypatch, kind, seed):
    cost, oracle, activation = COSTS[kind]
    scores, maps, targets = random_batch(seed)
    maps = [activation(m) for m in maps]
    draws = []
    monkeypatch.setattr(
        matching,
        'random_points',
        lambda *args, **kw: draws.append(random_points(*args, **kw)) or draws[-1],
    )
    assignments, num_targets = match(scores, maps, targets, cost=cost, num_points=25)
    points = draws[0].view(2, 3, 25, 2)
    assert num_targets == sum(int(target.valid.sum()) for target in targets)
    some_invalid = 0
    for level in range(2):
        for image, target in enumerate(targets):
            index = target.valid.nonzero()[:, 0].numpy()
            masks = oracles.masks_of(target)[index]
            some_invalid += len(target.labels) - len(index)
            prob = oracles.softmax(scores[level][image].numpy())[:, target.labels[index].numpy()]
            own = points[level, image].numpy()
            matrix = oracle(
                prob,
                oracles.sample(maps[level][image].numpy(), own),
                oracles.sample(masks.numpy(), own),
            )
            rows, columns = linear_sum_assignment(matrix)
            queries, chosen = assignments[level][image]
            assert queries.tolist() == rows.tolist()
            assert chosen.tolist() == index[columns].tolist()
            assert target.valid[torch.from_numpy(chosen)].all()
    assert some_invalid > 0


def test_points_differ_between_levels_and_images(monkeypatch):
    draws = []
    monkeypatch.setattr(
        matching,
        'random_points',
        lambda *args, **kw: draws.append(random_points(*args, **kw)) or draws[-1],
    )
    scores, maps, targets = random_batch(0)
    match(scores, maps, targets, cost=WeightedMatchCost(), num_points=5)
    assert draws[0].view(-1, 5, 2).unique(dim=0).shape[0] == 6


def test_no_targets():
    scores, maps, _ = random_batch(0)
    empty = [ImageTargets.from_masks(torch.zeros(0).long(), torch.zeros(0, 8, 12))] * 3
    assignments, num_targets = match(scores, maps, empty, cost=HarmonicMatchCost(), num_points=9)
    assert num_targets == 0
    assert [[len(q), len(t)] for level in assignments for q, t in level] == [[0, 0]] * 6
    assert assignments[0][0][0].dtype == np.int64


def test_pseudo_labels_none_of_which_is_valid():
    scores, maps, targets = random_batch(0, truths=(0, 0, 0))
    none = [ImageTargets(t.labels, torch.zeros_like(t.valid), t.masks, t.owner) for t in targets]
    assignments, num_targets = match(scores, maps, none, cost=HarmonicMatchCost(), num_points=9)
    assert num_targets == 0
    assert all(len(queries) == 0 for level in assignments for queries, _ in level)


def test_more_targets_than_queries():
    scores, maps, targets = random_batch(0, truths=(9,), queries=4)
    assignments, num_targets = match(scores, maps, targets, cost=HarmonicMatchCost(), num_points=9)
    assert num_targets >= 9
    assert assignments[0][0][0].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize('kind', COSTS)
@pytest.mark.parametrize('bad', [float('nan'), float('inf')])
def test_diverged_predictions_do_not_crash_the_solver(bad, kind):
    scores, maps, targets = random_batch(0)
    scores[0][0] = bad
    maps[1][1] = bad
    # a single pixel, which no point need touch
    maps[0][2, 0, 0, 0] = bad
    assignments, num_targets = match(scores, maps, targets, cost=COSTS[kind][0], num_points=9)
    assert num_targets > 0
    for level in assignments:
        for (queries, chosen), target in zip(level, targets, strict=True):
            assert len(queries) == min(6, int(target.valid.sum()))
            assert target.valid[torch.from_numpy(chosen)].all()


def test_class_that_has_not_been_learned():
    scores, maps, targets = random_batch(0)
    targets[2] = ImageTargets.from_masks(torch.tensor([1, -1]), targets[2].masks)
    with pytest.raises(ValueError, match='a class that the current step has not learned'):
        match(scores, maps, targets, cost=HarmonicMatchCost(), num_points=9)


class Recording:
    """A cost that keeps what it returns.

    Args:
        cost: The cost.
    """

    def __init__(self, cost):
        self.cost, self.seen = cost, []

    def __call__(self, *args):
        self.seen.append(self.cost(*args))
        return self.seen[-1]


@pytest.mark.parametrize('kind', COSTS)
def test_autocast_does_not_lower_the_precision_of_costs(kind):
    cost, _, activation = COSTS[kind]
    scores, maps, targets = random_batch(0)
    maps = [activation(m) for m in maps]
    recording = Recording(cost)
    for enabled in (False, True):
        torch.manual_seed(0)
        with torch.autocast('cpu', dtype=torch.bfloat16, enabled=enabled):
            match(scores, maps, targets, cost=recording, num_points=500)
    half = len(recording.seen) // 2
    assert half == len(scores) * len(targets)
    for expected, mixed in zip(recording.seen[:half], recording.seen[half:], strict=True):
        torch.testing.assert_close(mixed, expected, atol=0, rtol=0)


def test_costs_carry_no_gradient():
    scores, maps, targets = random_batch(0)
    for tensor in (*scores, *maps):
        tensor.requires_grad_()
    recording = Recording(HarmonicMatchCost())
    match(scores, maps, targets, cost=recording, num_points=9)
    assert recording.seen
    assert not any(costs.requires_grad for costs in recording.seen)
