"""Owners of pixels, by hand; the rules on top of them are compared with loops elsewhere."""

import pytest
import torch

from mmcomformer.models import segments
from mmcomformer.models.segments import assign_pixels, score_queries


def test_scores_and_kept_queries():
    prob = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.2, 0.5, 0.3], [0.1, 0.5, 0.4]])
    scores, classes, kept = score_queries(prob.log(), 0.0)
    torch.testing.assert_close(scores, torch.tensor([0.7, 0.6, 0.5, 0.5]))
    assert classes.tolist() == [0, 2, 1, 1]
    assert kept.tolist() == [True, False, True, True]
    assert score_queries(prob.log(), 0.6)[2].tolist() == [True, False, False, False]


def test_score_must_exceed_the_threshold():
    logits = torch.tensor([[0.0, 0.0, -torch.inf]])
    assert score_queries(logits, 0.5)[2].tolist() == [False]
    assert score_queries(logits, 0.4999)[2].tolist() == [True]


def test_unseen_classes_at_minus_infinity_change_nothing():
    logits = torch.randn(6, 4)
    padded = torch.cat([logits[:, :3], torch.full((6, 2), -torch.inf), logits[:, 3:]], 1)
    scores, classes, kept = score_queries(logits, 0.3)
    padded_scores, padded_classes, padded_kept = score_queries(padded, 0.3)
    torch.testing.assert_close(padded_scores, scores)
    assert torch.equal(padded_kept, kept)
    assert torch.equal(padded_classes[kept], classes[kept])


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


@pytest.mark.parametrize('num_queries', [1, 7, 255, 256, 300])
@pytest.mark.parametrize('num_pixels', [1, 1024, segments._BLOCK + 1024, 2 * segments._BLOCK + 5])
@pytest.mark.parametrize('share', [0.0, 0.4, 1.0])
def test_blocks_give_what_one_pass_gives(num_queries, num_pixels, share):
    """Coarse values make ties and masks of exactly one half common."""
    masks = torch.randint(0, 5, (num_queries, num_pixels)) / 4
    scores = torch.randint(1, 4, (num_queries,)) / 4
    kept = torch.rand(num_queries) < share
    expected = segments._owners_at_once(scores, kept, masks)
    before = masks.clone()
    owner, original = segments._owners_in_blocks(scores, kept, masks)
    assert torch.equal(owner, expected[0])
    assert torch.equal(original, expected[1])
    assert torch.equal(masks, before)


def test_not_a_number_does_not_end_in_an_index_error():
    masks = torch.full((3, 2048), torch.nan)
    owner, _ = segments._owners_in_blocks(torch.ones(3), torch.ones(3, dtype=torch.bool), masks)
    assert owner.min() >= 0


@pytest.mark.parametrize('num_flags', [8, 1023, 1024, 4096])
def test_packed_count(num_flags):
    flags = torch.rand(5, num_flags) < 0.7
    flags[0], flags[1] = True, False
    assert torch.equal(segments._count_true(flags), flags.sum(1))
