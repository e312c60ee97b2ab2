"""Both rules of semantic inference, against loops and against the released program."""

import golden
import numpy as np
import oracles
import pytest
import torch
from mmengine.registry import MODELS

from mmcomformer.models.semantic_fusion import MaskBasedFusion, ScoreSumFusion

GOLDEN = golden.Golden('inference')


def masks_of(case):
    logits = GOLDEN[f'{case["case"]}__mask_logits']
    return logits.softmax(0) if case['softmask'] else logits.sigmoid()


@pytest.mark.parametrize('case', GOLDEN.cases, ids=lambda case: case['case'])
def test_released_labels(case):
    cls_score = GOLDEN[f'{case["case"]}__class_logits']
    num_classes = cls_score.shape[1] - 1
    fusion = MaskBasedFusion(case['object_threshold'], case['overlap_threshold'])
    scores = fusion(cls_score, masks_of(case))
    assert scores.shape == (num_classes + 1, *case['hw'])
    assert torch.equal(scores.sum(0), torch.ones(*case['hw']))
    # theirs: 0 is nothing, then the classes
    released = GOLDEN[f'{case["case"]}__semantic_labels'].long()
    assert torch.equal(scores.argmax(0), torch.where(released == 0, num_classes, released - 1))


@pytest.mark.parametrize('case', GOLDEN.cases, ids=lambda case: case['case'])
def test_released_sums(case):
    scores = ScoreSumFusion()(GOLDEN[f'{case["case"]}__class_logits'], masks_of(case))
    released = GOLDEN[f'{case["case"]}__semantic_scores_sum_mode_f32']
    torch.testing.assert_close(scores[:-1], released, atol=1e-6, rtol=1e-6)
    if case['softmask']:
        torch.testing.assert_close(scores.sum(0), torch.ones(*case['hw']))


@pytest.mark.parametrize('kind', oracles.KINDS)
@pytest.mark.parametrize(('score_thr', 'iou_thr'), [(0.0, 0.0), (0.3, 0.5)])
def test_mask_based_labels_are_the_panoptic_ones(kind, score_thr, iou_thr):
    rng = np.random.default_rng(0)
    for _ in range(40):
        cls_score, masks, _ = oracles.random_queries(rng, kind)
        scores = MaskBasedFusion(score_thr, iou_thr)(
            torch.from_numpy(cls_score), torch.from_numpy(masks)
        )
        prob = torch.from_numpy(cls_score).softmax(-1).numpy()
        expected = oracles.panoptic(prob, masks, 0, score_thr, iou_thr)
        np.testing.assert_array_equal(scores.argmax(0).numpy(), expected)


def test_sums_against_a_loop():
    cls_score, masks = torch.randn(5, 4), torch.rand(5, 3, 2)
    prob = cls_score.softmax(-1)
    expected = torch.zeros(4, 3, 2)
    for query in range(5):
        for label in range(4):
            expected[label] += prob[query, label] * masks[query]
    torch.testing.assert_close(ScoreSumFusion()(cls_score, masks), expected)


@pytest.mark.parametrize(('key', 'value'), [('object_mask_thr', -0.1), ('iou_thr', 1.1)])
def test_wrong_threshold(key, value):
    with pytest.raises(ValueError, match=f'MaskBasedFusion.{key}: expected 0 to 1, got {value}'):
        MODELS.build(dict(type='MaskBasedFusion', **{key: value}))
