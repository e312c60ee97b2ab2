"""Points in [0, 1] with zeros outside the map, and the choice of uncertain ones."""

import oracles
import pytest
import torch

from mmcomformer.models import point_sampling
from mmcomformer.models.mask_activation import QuerySoftmax
from mmcomformer.models.point_sampling import (
    random_points,
    sample_each,
    sample_shared,
    uncertain_points,
)

BORDER = torch.tensor(
    [[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0], [0.5, 0.0], [0.0, 0.5], [0.01, 0.99]]
)


def test_known_values():
    maps = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])[None]
    # pixel centres, the middle, an edge and the outer corner, which is a quarter inside
    points = torch.tensor([[0.25, 0.25], [0.75, 0.25], [0.5, 0.5], [1.0, 0.75], [1.0, 1.0]])[None]
    torch.testing.assert_close(
        sample_shared(maps, points), torch.tensor([[[1.0, 2.0, 2.5, 2.0, 1.0]]])
    )


@pytest.mark.parametrize('size', [(1, 1), (1, 7), (6, 4), (5, 9)])
def test_shared_points(size):
    maps, points = torch.randn(2, 3, *size), torch.rand(2, 17, 2)
    points[:, :7] = BORDER
    samples = sample_shared(maps, points)
    assert samples.shape == (2, 3, 17)
    for image in range(2):
        expected = torch.from_numpy(oracles.sample(maps[image].numpy(), points[image].numpy()))
        torch.testing.assert_close(samples[image], expected.float(), atol=1e-5, rtol=1e-5)


def test_each_map_at_its_own_points():
    maps, points = torch.randn(4, 6, 5), torch.rand(4, 11, 2)
    samples = sample_each(maps, points)
    assert samples.shape == (4, 11)
    for image, own, row in zip(maps, points, samples, strict=True):
        expected = torch.from_numpy(oracles.sample(image[None].numpy(), own.numpy()))[0]
        torch.testing.assert_close(row, expected.float(), atol=1e-5, rtol=1e-5)


def test_no_maps():
    assert sample_shared(torch.zeros(1, 0, 6, 5), torch.rand(1, 11, 2)).shape == (1, 0, 11)
    assert sample_each(torch.zeros(0, 6, 5), torch.rand(0, 11, 2)).shape == (0, 11)


def test_gradient_reaches_the_maps():
    maps = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    points = torch.rand(2, 5, 2, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda m: sample_each(m, points), maps)


def record_draws(monkeypatch):
    draws = []

    def record(*args, **kwargs):
        draws.append(random_points(*args, **kwargs))
        return draws[-1]

    monkeypatch.setattr(point_sampling, 'random_points', record)
    return draws


def test_uncertain_points_are_the_most_uncertain_candidates(monkeypatch):
    draws = record_draws(monkeypatch)
    maps = torch.rand(3, 8, 8)
    points = uncertain_points(
        maps,
        QuerySoftmax().uncertainty,
        num_points=21,
        oversample_ratio=3.0,
        importance_ratio=0.75,
    )
    candidates, extra = draws
    assert points.shape == (3, 21, 2)
    # int(0.75 * 21) = 15 of 63 candidates are chosen, the other 6 are drawn anew
    assert candidates.shape == (3, 63, 2)
    assert extra.shape == (3, 6, 2)
    assert torch.equal(points[:, 15:], extra)
    for image in range(3):
        samples = oracles.sample(maps[image : image + 1].numpy(), candidates[image].numpy())[0]
        best = abs(2 * samples - 1).argsort()[:15]
        expected = {tuple(point) for point in candidates[image][best.copy()].tolist()}
        assert {tuple(point) for point in points[image, :15].tolist()} == expected


@pytest.mark.parametrize(('ratio', 'chosen'), [(0.0, 0), (0.5, 10), (1.0, 20)])
def test_share_of_uncertain_points(monkeypatch, ratio, chosen):
    draws = record_draws(monkeypatch)
    points = uncertain_points(
        torch.rand(2, 8, 8), torch.neg, num_points=20, oversample_ratio=2.0, importance_ratio=ratio
    )
    assert points.shape == (2, 20, 2)
    assert draws[0].shape[1] == 40
    assert torch.equal(points[:, chosen:], draws[1])


def test_uncertainty_is_taken_after_sampling(monkeypatch):
    maps = torch.ones(1, 4, 4)
    maps[..., :2] = 0.7
    border, inside = [1.0, 0.5], [0.25, 0.5]
    candidates = torch.tensor([[border, inside]])
    monkeypatch.setattr(point_sampling, 'random_points', lambda n, p, like: candidates[:, :p])
    points = uncertain_points(
        maps,
        QuerySoftmax().uncertainty,
        num_points=1,
        oversample_ratio=2.0,
        importance_ratio=1.0,
    )
    # at the border m is sampled as 0.5; a map of 2 m - 1 would be sampled as 0.5 there, not 0
    assert points[0, 0].tolist() == border


def test_random_points_fill_the_unit_square():
    points = random_points(2, 5000, like=torch.zeros(1))
    assert points.shape == (2, 5000, 2)
    assert 0 <= points.min() < 0.01 < 0.99 < points.max() < 1
    assert not torch.equal(points[0], points[1])
