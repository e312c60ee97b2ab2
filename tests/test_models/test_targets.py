"""Segments kept as one map of owners are sampled as if each were a mask."""

import numpy as np
import oracles
import pytest
import torch

from mmcomformer.models.targets import ImageTargets

CORNERS = torch.tensor(
    [[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0], [0.5, 0.0], [0.03, 0.99], [0.25, 0.25]]
)


def random_targets(generator, num_truth, kind='masks', slots=5, size=(7, 9)):
    """Targets with pseudo-labels, and the same targets as masks (N, H, W)."""
    draw = {'generator': generator}
    owner = torch.randint(-1, slots, size, **draw)
    labels = torch.randint(0, 4, (num_truth,), **draw)
    classes = torch.randint(0, 4, (slots,), **draw)
    if kind == 'masks':
        truth = torch.rand(num_truth, *size, **draw) > 0.5
        targets = ImageTargets.from_masks(labels, truth)
    else:
        truth_map = torch.randint(-1, num_truth, size, **draw)
        owner[truth_map >= 0] = -1
        truth = one_hot(truth_map, num_truth)
        targets = ImageTargets.from_map(labels, truth_map)
    assert torch.equal(targets.covered, truth.any(0))
    valid = torch.isin(torch.arange(slots), owner)
    targets = targets.with_pseudo_labels(owner, classes, valid)
    return targets, torch.cat([truth, one_hot(owner, slots)]).float()


def one_hot(owner, slots):
    return owner == torch.arange(slots)[:, None, None]


def points_with_corners(num, generator):
    points = torch.rand(num, 20, 2, generator=generator)
    points[:, :7] = CORNERS
    return points


def expected_samples(masks, points):
    return torch.from_numpy(oracles.sample(masks.numpy(), points.numpy())).float()


@pytest.mark.parametrize('kind', ['masks', 'map'])
@pytest.mark.parametrize('seed', range(4))
@pytest.mark.parametrize('num_truth', [0, 3])
def test_sample_shared(seed, num_truth, kind):
    generator = torch.Generator().manual_seed(seed)
    targets, masks = random_targets(generator, num_truth, kind)
    points = points_with_corners(1, generator)[0]
    samples = targets.sample_shared(points)
    assert samples.shape == (num_truth + 5, 20)
    torch.testing.assert_close(samples, expected_samples(masks, points), atol=1e-5, rtol=0)


@pytest.mark.parametrize('kind', ['masks', 'map'])
@pytest.mark.parametrize('seed', range(8))
@pytest.mark.parametrize('num_truth', [0, 3])
def test_sample_each_keeps_the_order_of_the_chosen(seed, num_truth, kind):
    generator = torch.Generator().manual_seed(seed)
    targets, masks = random_targets(generator, num_truth, kind, size=(5, 4))
    chosen = torch.randperm(num_truth + 5, generator=generator).numpy()
    points = points_with_corners(len(chosen), generator)
    samples = targets.sample_each(chosen, points)
    assert samples.shape == (len(chosen), 20)
    for row, index, own in zip(samples, chosen, points, strict=True):
        expected = expected_samples(masks[index : index + 1], own)[0]
        torch.testing.assert_close(row, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize('chosen', [[2, 0], [3, 7], [7, 1, 3], [0], [4], []])
def test_sample_each_of_truth_or_pseudo_labels_alone(chosen):
    generator = torch.Generator().manual_seed(0)
    targets, masks = random_targets(generator, 3)
    chosen = np.array(chosen, dtype=np.int64)
    points = points_with_corners(len(chosen), generator)
    samples = targets.sample_each(chosen, points)
    assert samples.shape == (len(chosen), 20)
    for row, index, own in zip(samples, chosen, points, strict=True):
        expected = expected_samples(masks[index : index + 1], own)[0]
        torch.testing.assert_close(row, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize('num_truth', [0, 2])
def test_truth_alone(num_truth):
    masks = torch.rand(num_truth, 6, 6) > 0.5
    targets = ImageTargets.from_masks(torch.arange(num_truth), masks)
    assert targets.valid.tolist() == [True] * num_truth
    assert targets.num_masks == num_truth
    assert targets.masks.dtype == torch.float32
    points = torch.rand(9, 2)
    expected = expected_samples(masks.float(), points)
    torch.testing.assert_close(targets.sample_shared(points), expected, atol=1e-5, rtol=0)
    chosen = np.arange(num_truth)[::-1].copy()
    each = targets.sample_each(chosen, points.expand(num_truth, 9, 2))
    torch.testing.assert_close(each, expected.flip(0), atol=1e-5, rtol=0)


def test_pseudo_labels_come_after_the_truth_and_leave_it_as_it_was():
    truth = ImageTargets.from_masks(torch.tensor([5, 6]), torch.ones(2, 4, 4))
    owner = torch.full((4, 4), -1)
    completed = truth.with_pseudo_labels(
        owner, torch.tensor([1, 2, 3]), torch.tensor([True, False, True])
    )
    assert completed.labels.tolist() == [5, 6, 1, 2, 3]
    assert completed.valid.tolist() == [True, True, True, False, True]
    assert completed.num_masks == truth.num_masks == 2
    assert completed.masks is truth.masks
    assert truth.labels.tolist() == [5, 6]
    assert truth.owner is None


def test_pseudo_labels_follow_a_map_in_the_same_map():
    truth = ImageTargets.from_map(torch.tensor([7, 8]), torch.tensor([[0, -1, 1, -1]]))
    completed = truth.with_pseudo_labels(
        torch.tensor([[-1, 2, -1, -1]]), torch.tensor([1, 2, 3]), torch.tensor([False, False, True])
    )
    assert completed.labels.tolist() == [7, 8, 1, 2, 3]
    assert completed.valid.tolist() == [True, True, False, False, True]
    assert completed.owner.tolist() == [[0, 4, 1, -1]]
    assert truth.owner.tolist() == [[0, -1, 1, -1]]
    assert truth.covered.tolist() == [[True, False, True, False]]


def boxes_by_hand(masks):
    """Boxes one mask at a time."""
    boxes = []
    for mask in np.asarray(masks) > 0:
        rows, columns = np.nonzero(mask)
        if len(rows) == 0:
            boxes.append([0, 0, 0, 0])
        else:
            boxes.append([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    return boxes


def test_boxes_of_masks_and_of_a_map():
    """Half open, in pixels, x first; zeros where there is no pixel."""
    generator = torch.Generator().manual_seed(0)
    masks = (torch.rand(3, 9, 14, generator=generator) > 0.97).float()
    masks[1] = 0
    owner = torch.full((9, 14), -1)
    owner[2:5, 3:4] = 0
    owner[8, 13] = 2
    labels = torch.arange(6)
    targets = ImageTargets(labels, labels >= 0, masks, owner)
    slots = owner == torch.arange(3)[:, None, None]
    assert targets.boxes.tolist() == boxes_by_hand(torch.cat([masks, slots]))
    assert targets.boxes[3].tolist() == [3, 2, 4, 5]
    alone = ImageTargets.from_masks(labels[:3], masks)
    assert alone.boxes.tolist() == boxes_by_hand(masks)
    assert [alone.mask_of(i).tolist() for i in range(3)] == (masks > 0).tolist()
    assert torch.equal(targets.mask_of(3), slots[0])


def test_which_targets_are_pseudo_labels():
    truth = ImageTargets.from_map(torch.tensor([4, 2]), torch.full((2, 2), -1), from_memory=True)
    assert truth.is_pseudo.tolist() == [False, False]
    owner = torch.tensor([[0, 0], [-1, 1]])
    valid = torch.tensor([True, False, True])
    completed = truth.with_pseudo_labels(owner, torch.tensor([1, 0, 0]), valid)
    assert completed.is_pseudo.tolist() == [False, False, True, True, True]
    assert completed.num_ground_truth == 2
    assert completed.from_memory
