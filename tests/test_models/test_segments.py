"""Owners of pixels, by hand; the rules on top of them are compared with loops elsewhere."""

import pytest
import torch
from torch.nn import functional

from mmcomformer.models import segments
from mmcomformer.models.mask_activation import QuerySigmoid, QuerySoftmax
from mmcomformer.models.segments import MaskLogits, assign_pixels


def owners(excluded=None):
    scores = torch.tensor([0.5, 1.0, 1.0])
    kept = torch.tensor([True, True, False])
    masks = torch.tensor(
        [
            [[1.0, 1.0, 0.9, 0.2, 0.0]],
            [[0.4, 0.5, 0.5, 0.3, 0.9]],
            [[1.0, 1.0, 1.0, 1.0, 1.0]],
        ]
    )
    return assign_pixels(scores, kept, masks, excluded)


def test_each_pixel_goes_to_the_kept_query_with_the_largest_score_times_mask():
    result = owners()
    # 0.5 against 0.4, then 0.5 against 0.5: the first of a tie
    assert result.owner.tolist() == [[0, 0, 1, 1, 1]]
    assert result.strong.tolist() == [[True, True, True, False, True]]
    assert result.area.tolist() == [2, 3, 0]
    # the third query is not kept
    assert result.original.tolist() == [3, 3, 0]
    assert result.covered.tolist() == [2, 2, 0]


def test_excluded_pixels_count_in_original_only():
    result = owners(torch.tensor([[True, False, False, False, True]]))
    assert result.owner.tolist() == [[-1, 0, 1, 1, -1]]
    assert result.strong.tolist() == [[False, True, True, False, False]]
    assert result.area.tolist() == [1, 2, 0]
    # the third query is not kept
    assert result.original.tolist() == [3, 3, 0]
    assert result.covered.tolist() == [1, 1, 0]


def test_restrict_keeps_strong_pixels_of_valid_queries():
    result = owners()
    assert result.restrict(torch.tensor([True, True, True])).tolist() == [[0, 0, 1, -1, 1]]
    assert result.restrict(torch.tensor([False, True, True])).tolist() == [[-1, -1, 1, -1, 1]]
    nobody = owners(torch.ones(1, 5, dtype=torch.bool))
    assert nobody.restrict(torch.tensor([True, True, True])).tolist() == [[-1] * 5]


def test_nobody_is_kept():
    masks = torch.rand(3, 4, 4)
    result = assign_pixels(torch.rand(3), torch.zeros(3, dtype=torch.bool), masks)
    assert result.owner.unique().tolist() == [-1]
    assert not result.strong.any()
    assert result.area.tolist() == result.covered.tolist() == [0, 0, 0]
    assert result.original.tolist() == [0, 0, 0]


def test_a_mask_of_zeros_still_owns_what_nobody_else_wants():
    result = assign_pixels(torch.ones(2), torch.tensor([False, True]), torch.zeros(2, 2, 2))
    assert result.owner.unique().tolist() == [1]
    assert result.area.tolist() == [0, 4]
    assert result.covered.tolist() == [0, 0]


def test_inputs_stay_as_they_are():
    scores, kept = torch.rand(3), torch.tensor([True, False, True])
    masks, excluded = torch.rand(3, 4, 4), torch.rand(4, 4) > 0.5
    before = [x.clone() for x in (scores, kept, masks, excluded)]
    assign_pixels(scores, kept, masks, excluded)
    assert all(
        torch.equal(x, y) for x, y in zip(before, (scores, kept, masks, excluded), strict=True)
    )


@pytest.fixture(params=[7, 100])
def pixels_of_block(request, monkeypatch):
    """A size of blocks; images here are larger."""
    monkeypatch.setattr(segments, '_pixels_of_block', lambda device: request.param)
    return request.param


@pytest.mark.parametrize('share', [0.0, 0.4, 1.0])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_blocks_give_what_one_pass_gives(pixels_of_block, share, dtype):
    """Coarse values make ties and masks of exactly one half common."""
    masks = torch.randint(0, 5, (9, 11, 19)).to(dtype) / 4
    scores = torch.randint(1, 4, (9,)) / 4
    kept = torch.rand(9) < share
    owner, strong, original = segments._owners(scores, kept, masks.flatten(1))
    before = masks.clone()
    result = assign_pixels(scores, kept, masks)
    assert torch.equal(result.owner.flatten(), owner)
    assert torch.equal(result.strong.flatten(), strong)
    assert torch.equal(result.original, original)
    assert torch.equal(masks, before)


def test_not_a_number_belongs_to_nobody():
    masks = torch.full((3, 4, 4), torch.nan)
    result = assign_pixels(torch.ones(3), torch.ones(3, dtype=torch.bool), masks)
    assert result.owner.unique().tolist() == [-1]
    assert not result.strong.any()


# source, size, and blocks of at most 100 pixels: whole rows
SIZES = {
    'larger': ((4, 6), (16, 24), 4),
    'uneven': ((5, 8), (33, 50), 17),
    'smaller': ((16, 12), (10, 8), 1),
    'the same': ((8, 12), (8, 12), 1),
    'one row of source': ((1, 10), (3, 120), 3),
    'one row': ((7, 10), (1, 30), 1),
}


@pytest.mark.parametrize('activation', [QuerySoftmax(), QuerySigmoid()])
@pytest.mark.parametrize('name', SIZES)
def test_probabilities_in_blocks(monkeypatch, name, activation):
    source, size, num_blocks = SIZES[name]
    monkeypatch.setattr(segments, '_pixels_of_block', lambda device: 100)
    logits = torch.randn(7, *source) * 5
    before = logits.clone()
    resized = functional.interpolate(logits[None], size, mode='bilinear', align_corners=False)[0]
    masks = MaskLogits(logits, activation, size)
    blocks = list(masks.blocks())
    assert masks.shape == (7, *size)
    assert len(blocks) == num_blocks
    assert max(block.shape[1] for block in blocks) <= max(100, size[1])
    torch.testing.assert_close(
        torch.cat(blocks, 1), activation.probability(resized).flatten(1), rtol=0, atol=1e-5
    )
    assert torch.equal(logits, before)


def test_half_precision_is_resized_in_full():
    logits = torch.randn(4, 8, 8).half()
    masks = MaskLogits(logits, QuerySoftmax(), (32, 32))
    full = MaskLogits(logits.float(), QuerySoftmax(), (32, 32))
    assert all(map(torch.equal, masks.blocks(), full.blocks()))


@pytest.mark.parametrize('activation', [QuerySoftmax(), QuerySigmoid()])
def test_owners_from_logits(activation):
    """Logits of few values: whole regions tie, and masks of exactly one half are common."""
    logits = 2.0 * torch.randint(-1, 2, (9, 40, 50))
    scores, kept = torch.randint(1, 4, (9,)) / 4, torch.tensor([True] * 7 + [False] * 2)
    masks = MaskLogits(logits, activation, (320, 400))
    full = torch.cat(list(masks.blocks()), 1).view(9, 320, 400)
    excluded = torch.rand(320, 400) < 0.2
    result = assign_pixels(scores, kept, masks, excluded)
    expected = assign_pixels(scores, kept, full, excluded)
    assert all(
        torch.equal(getattr(result, field), getattr(expected, field))
        for field in ('owner', 'strong', 'area', 'original', 'covered')
    )
    assert result.covered.sum() > 0


@pytest.mark.parametrize('share', [0.0, 0.1, 0.3, 0.5, 0.8, 1.0])
def test_shares_are_compared_exactly(share):
    """Also where a quotient is the share itself: 4 of 5 is 0.8, and 0.8 is not above it."""
    whole = torch.tensor([5, 10, 10, 3_600_000, 3_600_000, 7])
    part = torch.tensor([4, 3, 1, 2_880_000, 2_880_001, 7])
    expected = [
        (n * 10 > w * round(share * 10)) - (n * 10 < w * round(share * 10))
        for n, w in zip(part.tolist(), whole.tolist(), strict=True)
    ]
    assert segments.share_above(part, whole, share).sign().tolist() == expected
