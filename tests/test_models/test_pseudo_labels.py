"""Pseudo-labels against a loop over queries, and against the released program."""

from collections import Counter

import golden
import numpy as np
import oracles
import pytest
import torch
from torch.nn import functional

from mmcomformer.models.mask_activation import QuerySigmoid, QuerySoftmax
from mmcomformer.models.pseudo_labels import MaskPseudoLabels, mask_pseudo_labels
from mmcomformer.models.query_output import QueryOutput
from mmcomformer.models.targets import ImageTargets


def as_masks(owner, classes, valid):
    """Expand an owner map to (query, class, mask); nobody else may own a pixel."""
    queries = valid.nonzero()[:, 0].tolist()
    assert set(owner.unique().tolist()) - {-1} == set(queries)
    return [(i, int(classes[i]), (owner == i).numpy()) for i in queries]


@pytest.mark.parametrize('kind', oracles.KINDS)
@pytest.mark.parametrize(('score_thr', 'overlap_thr'), [(0.0, 0.5), (0.3, 0.5), (0.0, 0.75)])
def test_equals_a_loop_over_queries(kind, score_thr, overlap_thr):
    rng, seen = np.random.default_rng(1), Counter()
    for _ in range(120):
        cls_score, masks, covered = oracles.random_queries(rng, kind)
        result = mask_pseudo_labels(
            torch.from_numpy(cls_score),
            torch.from_numpy(masks),
            torch.from_numpy(covered),
            score_thr=score_thr,
            overlap_thr=overlap_thr,
        )
        prob = torch.from_numpy(cls_score).softmax(-1).numpy()
        expected = oracles.pseudo_labels(prob, masks, covered, score_thr, overlap_thr, seen)
        found = as_masks(*result)
        assert [x[:2] for x in found] == [x[:2] for x in expected]
        for (_, _, mask), (_, _, other) in zip(found, expected, strict=True):
            np.testing.assert_array_equal(mask, other)
    # the cases are no use unless each branch is taken
    branches = {'no-object', 'nobody kept', 'pseudo-label', 'owns nothing', 'owns too little'}
    branches |= {'reaches 0.5 only elsewhere'}
    branches |= {'below threshold'} if score_thr else set()
    branches |= {'owns exactly the threshold'} if overlap_thr == 0.5 else set()
    branches |= {'never reaches 0.5'} if kind != 'quarters' else set()
    branches |= {'tie', 'exactly 0.5'} if kind in ('shares', 'quarters') else set()
    assert branches - {branch for branch, count in seen.items() if count} == set()


@pytest.mark.parametrize('share', ['owned', 'strong'])
@pytest.mark.parametrize('kind', oracles.KINDS)
def test_over_truth_equals_a_loop_over_queries(kind, share):
    """Objects of the ground truth lie over each other, and over pseudo-labels of other classes."""
    rng, seen = np.random.default_rng(2), Counter()
    for _ in range(100):
        cls_score, masks, _ = oracles.random_queries(rng, kind)
        objects = oracles.random_truth(rng, cls_score.shape[1] - 1, masks.shape[1:])
        truth = ImageTargets.from_masks(
            torch.tensor([label for label, _ in objects], dtype=torch.int64),
            torch.from_numpy(np.array([mask for _, mask in objects]).reshape(-1, *masks.shape[1:])),
        )
        result = mask_pseudo_labels(
            torch.from_numpy(cls_score), torch.from_numpy(masks), truth, share=share
        )
        prob = torch.from_numpy(cls_score).softmax(-1).numpy()
        expected = oracles.pseudo_labels(prob, masks, None, seen=seen, truth=objects, share=share)
        found = as_masks(*result)
        assert [x[:2] for x in found] == [x[:2] for x in expected]
        for (_, _, mask), (_, _, other) in zip(found, expected, strict=True):
            np.testing.assert_array_equal(mask, other)
    branches = {f'under an object of {whose} class' for whose in ('its', 'another')}
    branches |= {'pseudo-label', 'owns nothing', 'owns too little'}
    branches |= {'only weak pixels are too many'} if share == 'strong' else set()
    assert branches - {branch for branch, count in seen.items() if count} == set()


GOLDEN = golden.Golden('pseudo_labels')


@pytest.mark.parametrize('case', GOLDEN.cases, ids=lambda case: case['case'])
def test_released_pseudo_labels(case):
    name, height_width = case['case'], tuple(case['image_hw'])
    targets = [
        ImageTargets.from_masks(
            GOLDEN[f'{name}__gt_labels_img{b}'].long(),
            GOLDEN[f'{name}__gt_masks_img{b}'].view(-1, *height_width),
        )
        for b in range(case['B'])
    ]
    said = (GOLDEN[f'{name}__teacher_{part}'] for part in ('logits', 'masks'))
    teacher = QueryOutput(*((part,) for part in said))
    labeller = MaskPseudoLabels(
        QuerySoftmax() if case['softmask'] else QuerySigmoid(),
        score_thr=case['score_threshold'],
    )
    for b, result in enumerate(labeller(targets, teacher)):
        num_truth = len(targets[b].labels)
        slots = result.valid[num_truth:].nonzero()[:, 0]
        assert len(slots) == case['pseudo_per_image'][b]
        masks = torch.cat([result.masks.bool(), result.owner == slots[:, None, None]])
        assert torch.equal(masks, GOLDEN[f'{name}__out_masks_img{b}'].bool())
        assert torch.equal(result.labels[result.valid], GOLDEN[f'{name}__out_labels_img{b}'].long())


def label(masks, covered=None, classes=None, **thresholds):
    """Label an image of one row with sure queries; class 9 is no-object."""
    masks = torch.tensor(masks)[:, None, :]
    classes = torch.tensor(classes or list(range(len(masks))))
    return mask_pseudo_labels(
        20.0 * functional.one_hot(classes, 10),
        masks,
        torch.zeros(1, masks.shape[2], dtype=torch.bool)
        if covered is None
        else torch.tensor([covered]),
        **thresholds,
    )


def test_a_share_of_exactly_one_half_is_not_enough():
    masks = [[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]]
    owner, _, valid = label(masks, covered=[True, True, False, False])
    assert (owner.tolist(), valid.tolist()) == ([[-1] * 4], [False, False])
    owner, _, valid = label(masks, covered=[True, False, False, False])
    assert (owner.tolist(), valid.tolist()) == ([[-1, 0, 0, 0]], [True, False])
    _, _, valid = label(masks, covered=[True, True, False, False], overlap_thr=0.49)
    assert valid.tolist() == [True, False]


def test_masks_of_exactly_one_half_count():
    owner, _, valid = label([[0.5, 0.5, 0.2], [0.1, 0.1, 0.49]])
    assert (owner.tolist(), valid.tolist()) == ([[0, 0, -1]], [True, False])


def test_weakly_owned_pixels_count_as_area_but_not_as_mask():
    # owns 3 pixels, reaches 0.5 at 2 of them and at 3 that ground truth covers: 3 / 5
    masks = [[0.9, 0.9, 0.4, 0.9, 0.9, 0.9]]
    owner, _, valid = label(masks, covered=[False] * 3 + [True] * 3)
    assert (owner.tolist(), valid.tolist()) == ([[0, 0, -1, -1, -1, -1]], [True])


def test_same_class_twice_stays_two_pseudo_labels():
    owner, classes, valid = label([[0.9, 0.1], [0.1, 0.9]], classes=[4, 4])
    assert (owner.tolist(), classes.tolist(), valid.tolist()) == ([[0, 1]], [4, 4], [True, True])


def test_no_object_queries_do_not_compete():
    owner, _, valid = label([[0.6, 0.6], [1.0, 1.0]], classes=[4, 9])
    assert (owner.tolist(), valid.tolist()) == ([[0, 0]], [True, False])


def test_everything_is_covered():
    owner, _, valid = label([[0.9, 0.9], [0.1, 0.1]], covered=[True, True])
    assert (owner.tolist(), valid.tolist()) == ([[-1, -1]], [False, False])


def batch(sizes=((8, 12), (8, 12))):
    generator = torch.Generator().manual_seed(3)
    teacher = QueryOutput(
        (torch.randn(2, 6, 4, generator=generator) - torch.tensor([0, 0, 0, 1.0]),),
        (6 * torch.randn(2, 6, 2, 3, generator=generator),),
    )
    masks = torch.zeros(1, 8, 12)
    masks[:, :3, :4] = 1
    truth = [
        ImageTargets.from_masks(torch.tensor([3]), masks),
        ImageTargets.from_masks(torch.zeros(0, dtype=torch.long), torch.zeros(0, 8, 12)),
    ]
    return truth, teacher


@pytest.mark.parametrize('activation', [QuerySoftmax(), QuerySigmoid()])
def test_logits_are_resized_before_the_activation(activation):
    truth, teacher = batch()
    completed = MaskPseudoLabels(activation)(truth, teacher)
    assert any(target.valid[target.num_masks :].any() for target in completed)
    for image, (target, before) in enumerate(zip(completed, truth, strict=True)):
        logits = functional.interpolate(
            teacher.mask_pred[image][None], (8, 12), mode='bilinear', align_corners=False
        )[0]
        covered = before.masks.sum(0) > 0
        owner, classes, valid = mask_pseudo_labels(
            teacher.cls_score[image], activation.probability(logits), covered
        )
        assert torch.equal(target.owner, owner)
        assert torch.equal(target.labels[before.num_masks :], classes)
        assert torch.equal(target.valid[before.num_masks :], valid)
        assert (target.owner[covered] == -1).all()
        assert target.masks is before.masks


@pytest.mark.parametrize('threshold', [dict(score_thr=0.999), dict(overlap_thr=1.0)])
def test_thresholds_are_passed_on(threshold):
    truth, teacher = batch()
    completed = MaskPseudoLabels(QuerySigmoid(), **threshold)(truth, teacher)
    assert not any(target.valid[target.num_masks :].any() for target in completed)


@pytest.mark.parametrize('memory', [True, False])
def test_images_from_memory(memory):
    """They are completed as others are, or keep what they were stored with."""
    truth, teacher = batch()
    truth[0] = ImageTargets.from_masks(truth[0].labels, truth[0].masks, from_memory=True)
    stored, current = MaskPseudoLabels(QuerySigmoid(), memory=memory)(truth, teacher)
    assert current.is_pseudo.any()
    assert stored.is_pseudo.any() == memory
    assert stored.from_memory
    assert (stored is truth[0]) == (not memory)


def test_ground_truth_of_other_classes_may_lie_over_a_pseudo_label():
    truth, teacher = batch()
    apart = MaskPseudoLabels(QuerySigmoid())(truth, teacher)
    over = MaskPseudoLabels(QuerySigmoid(), over_truth=True)(truth, teacher)
    free = [ImageTargets.from_masks(t.labels[:0], t.masks[:0]) for t in truth]
    alone = MaskPseudoLabels(QuerySigmoid())(free, teacher)
    for target, without, ours in zip(truth, apart, over, strict=True):
        assert not (without.owner[target.covered] >= 0).any()
        assert torch.equal(ours.masks, target.masks)
    # as if nothing were labelled
    assert [torch.equal(a.owner, b.owner) for a, b in zip(over, alone, strict=True)] == [True] * 2
    assert any((ours.owner[t.covered] >= 0).any() for t, ours in zip(truth, over, strict=True))


def test_an_object_of_the_same_class_is_not_labelled_twice():
    """Two queries of class 1: one sees an object that is labelled, one an object across another."""
    masks = torch.zeros(2, 6, 6)
    masks[0, :, :2] = masks[1, 4:] = 1
    truth = [ImageTargets.from_masks(torch.tensor([1, 2]), masks)]
    seen = torch.full((1, 2, 6, 6), -9.0)
    seen[0, 0, :, :2] = seen[0, 1, :, 3:] = 9
    teacher = QueryOutput((torch.tensor([[[0.0, 9, 0], [0, 9, 0]]]),), (seen,))
    (found,) = MaskPseudoLabels(QuerySigmoid(), over_truth=True)(truth, teacher)
    assert found.valid.tolist() == [True, True, False, True]
    # all of it, also where the object of class 2 lies
    assert torch.equal(found.mask_of(3), seen[0, 1] > 0)
    (apart,) = MaskPseudoLabels(QuerySigmoid())(truth, teacher)
    assert torch.equal(apart.mask_of(3), (seen[0, 1] > 0) & ~truth[0].covered)


def test_one_map_cannot_be_shared():
    truth, teacher = batch()
    truth = [ImageTargets.from_map(t.labels, torch.full((8, 12), -1)) for t in truth]
    with pytest.raises(ValueError, match='over_truth: the ground truth is one map'):
        MaskPseudoLabels(QuerySigmoid(), over_truth=True)(truth, teacher)


def test_no_gradient_reaches_the_teacher():
    truth, teacher = batch()
    teacher.mask_pred.requires_grad_()
    completed = MaskPseudoLabels(QuerySoftmax())(truth, teacher)
    assert not any(target.owner.requires_grad for target in completed)
