"""Panoptic maps against a loop over queries, and against the released program."""

from collections import Counter

import golden
import numpy as np
import oracles
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.registry import MODELS
from torch.nn import functional

from mmcomformer.models.panoptic_fusion import (
    ContinualFusionHead,
    fuse_panoptic,
    fuse_with_scores,
)

SCENARIO = dict(
    increments=[2, 1],
    thing_classes=['cat', 'dog'],
    stuff_classes=['sky'],
    class_order=['sky', 'dog', 'cat'],
)


@pytest.mark.parametrize('kind', oracles.KINDS)
@pytest.mark.parametrize(('score_thr', 'iou_thr'), [(0.0, 0.0), (0.3, 0.5)])
def test_equals_a_loop_over_queries(kind, score_thr, iou_thr):
    rng, seen = np.random.default_rng(0), Counter()
    for _ in range(120):
        cls_score, masks, _ = oracles.random_queries(rng, kind)
        num_things = int(rng.integers(0, cls_score.shape[1]))
        result = fuse_panoptic(
            torch.from_numpy(cls_score),
            torch.from_numpy(masks),
            num_things=num_things,
            score_thr=score_thr,
            iou_thr=iou_thr,
        )
        prob = torch.from_numpy(cls_score).softmax(-1).numpy()
        expected = oracles.panoptic(prob, masks, num_things, score_thr, iou_thr, seen)
        assert result.dtype == torch.int32
        np.testing.assert_array_equal(result.numpy(), expected)
    # the cases are no use unless each branch is taken
    branches = {'no-object', 'nobody kept', 'thing', 'stuff', 'stuff merged', 'empty'}
    branches |= {'below threshold'} if score_thr else set()
    # with a softmax, hardly another query takes a pixel where a mask reaches 0.5
    if iou_thr and kind != 'softmax':
        branches |= {'owns too little', 'owns exactly the threshold'}
    branches |= {'tie'} if kind in ('shares', 'quarters') else set()
    assert branches - {branch for branch, count in seen.items() if count} == set()


GOLDEN = golden.Golden('inference')


@pytest.mark.parametrize('case', GOLDEN.cases, ids=lambda case: case['case'])
def test_released_panoptic_maps(case):
    name = case['case']
    cls_score, logits = GOLDEN[f'{name}__class_logits'], GOLDEN[f'{name}__mask_logits']
    num_classes = cls_score.shape[1] - 1
    # the released program mixes things and stuff; here things come first
    things = [c - 1 for c in case['thing_categories'] if c <= num_classes]
    order = things + [c for c in range(num_classes) if c not in things]
    result = fuse_panoptic(
        cls_score[:, [*order, num_classes]],
        logits.softmax(0) if case['softmask'] else logits.sigmoid(),
        num_things=len(things),
        score_thr=case['object_threshold'],
        iou_thr=case['overlap_threshold'],
    )
    released = GOLDEN[f'{name}__panoptic_seg']
    assert torch.equal(result == num_classes, released == 0)
    ids, categories = GOLDEN[f'{name}__segment_ids'], GOLDEN[f'{name}__segment_categories']
    codes = set()
    for segment, category in zip(ids, categories, strict=True):
        code = result[released == segment].unique()
        assert len(code) == 1
        assert order[int(code) % 1000] == int(category) - 1
        codes.add(int(code))
    assert codes == set(result.unique().tolist()) - {num_classes}
    assert len(codes) == case['segments']
    # the semantic map follows: class + 1, and 0 where nothing is
    to_class = torch.tensor([*(label + 1 for label in order), 0])
    semantic = to_class[result.long() % 1000]
    assert torch.equal(semantic, GOLDEN[f'{name}__semantic_labels'].long())


def stripes(num_queries):
    """One vertical stripe for each query."""
    return torch.eye(num_queries)[:, None, :]


def logits_of(classes, num_classes):
    return 20.0 * torch.nn.functional.one_hot(torch.tensor(classes), num_classes + 1)


def test_instances_are_numbered_over_all_things_and_stuff_is_merged():
    result = fuse_panoptic(logits_of([1, 2, 0, 3, 2, 1], 3), stripes(6), num_things=2)
    # labels 0 and 1 are things, 2 is stuff, 3 is no-object
    assert result.tolist() == [[1001, 2, 2000, 3, 2, 3001]]


def test_dropped_things_take_no_instance_number():
    masks = stripes(3)
    masks[0] = 0.4 * masks[0]
    result = fuse_panoptic(logits_of([0, 0, 0], 1), masks, num_things=1)
    assert result.tolist() == [[1, 1000, 2000]]


def test_segment_is_dropped_when_it_owns_a_smaller_share():
    # the second query owns 2 of the 4 pixels where its mask reaches 0.5
    masks = torch.tensor([[[1.0, 1.0, 0.0, 0.0]], [[0.5, 0.5, 0.5, 0.5]]])
    for iou_thr, second in ((0.5, 1), (0.51, 2)):
        result = fuse_panoptic(logits_of([0, 1], 2), masks, num_things=0, iou_thr=iou_thr)
        assert result.tolist() == [[0, 0, second, second]]


def test_parts_of_things_are_segments_of_their_own():
    # a thing in three parts of 4, 3 and 1 pixels, and stuff in two
    thing = torch.tensor([[1, 1, 0, 1, 1, 1], [1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 0.0]])
    masks = torch.stack([thing, 1 - thing])
    for share, second, third in ((None, 1000, 1000), (0.2, 2000, 1000), (0.1, 2000, 3000)):
        result, codes, scores = fuse_with_scores(
            logits_of([0, 1], 2), masks, num_things=1, split_share=share
        )
        expected = [[1000, 1000, 1, *3 * [second]], [1000, 1000, *4 * [1]], [*4 * [1], third, 1]]
        assert result.tolist() == expected
        of_parts = sorted({1000, second, third} - {1000})
        assert codes.tolist() == [1000, 1, *of_parts]
        assert scores.tolist() == pytest.approx([1] * len(codes))


def test_parts_of_queries_without_a_segment_take_no_number():
    masks = torch.tensor([[[1, 0, 1, 0, 0.0]], [[0, 0, 0, 0, 0.0]], [[0, 0, 0, 0, 1.0]]])
    result, codes, scores = fuse_with_scores(
        logits_of([0, 0, 0], 1), masks, num_things=1, split_share=0
    )
    assert result.tolist() == [[1000, 1, 3000, 1, 2000]]
    assert (codes.tolist(), scores[1].item()) == ([1000, 0, 2000, 3000], 0)


def build(**changes):
    cfg = dict(
        type='ContinualFusionHead',
        scenario=SCENARIO,
        mask_activation=dict(type='QuerySoftmax'),
    )
    return MODELS.build({**cfg, **changes})


def test_head_decides_things_by_dataset_label_whatever_the_learning_order():
    head = build()
    assert (head.num_things_classes, head.num_stuff_classes) == (2, 1)
    # dataset labels: cat 0, dog 1, sky 2; learned as sky, dog, cat
    result = head.panoptic_postprocess(logits_of([2, 1, 0, 2], 3), 50 * stripes(4)).sem_seg
    assert result.tolist() == [[[2, 1001, 2000, 2]]]


@pytest.mark.parametrize(('activation', 'code'), [('QuerySoftmax', 1000), ('QuerySigmoid', 3)])
def test_head_uses_its_mask_activation(activation, code):
    head = build(mask_activation=dict(type=activation))
    # below 0, but far above the other query
    logits = torch.tensor([[[-1.0]], [[-9.0]]])
    assert head.panoptic_postprocess(logits_of([0, 0], 3), logits).sem_seg.tolist() == [[[code]]]


@pytest.mark.parametrize(
    ('test_cfg', 'labels'),
    [
        (None, [2, 2, 1, 1]),
        (dict(object_mask_thr=0.6), [1, 1, 1, 1]),
        (dict(iou_thr=0.5), [2, 2, 1, 1]),
        (dict(iou_thr=0.6), [2, 2, 3, 3]),
    ],
)
def test_thresholds_come_from_the_test_settings(test_cfg, labels):
    head = build(mask_activation=dict(type='QuerySigmoid'), test_cfg=test_cfg)
    # class 2 with score 0.54 on the left, class 1 with score 1 everywhere but weaker on the left
    cls_score = torch.tensor([[-9.0, -9.0, 0.2, 0.0], [-9.0, 20.0, -9.0, -9.0]])
    mask_pred = torch.tensor([[[9.0, 9.0, -9.0, -9.0]], [[0.1, 0.1, 5.0, 5.0]]])
    result = head.panoptic_postprocess(cls_score, mask_pred).sem_seg[0, 0]
    assert result.remainder(1000).tolist() == labels


@pytest.mark.parametrize('key', ['instance_on', 'semantic_on'])
def test_other_results_are_refused(key):
    with pytest.raises(ValueError, match=f'{key}: ContinualFusionHead gives panoptic results only'):
        build(test_cfg={key: True})


@pytest.mark.parametrize('key', ['max_per_image', 'filter_low_score', 'iou_threshold'])
def test_keys_that_nothing_reads(key):
    found = rf"does not read \['{key}'\]; it reads \['iou_thr', .*'split_share'\]"
    with pytest.raises(TypeError, match=f'^model.test_cfg: ContinualFusionHead, .*{found}'):
        build(test_cfg={key: 1})


@pytest.mark.parametrize('key', ['object_mask_thr', 'iou_thr'])
def test_bad_threshold(key):
    for value, kind in ((None, TypeError), (True, TypeError), (1.1, ValueError)):
        with pytest.raises(kind, match=rf'^model.test_cfg.{key}: expected .*0 to 1, got'):
            build(test_cfg={key: value})


def test_too_many_classes():
    names = [str(i) for i in range(1000)]
    scenario = dict(increments=[1000], thing_classes=names, stuff_classes=[])
    with pytest.raises(ValueError, match='expected fewer than 1000 classes.*got 1000'):
        ContinualFusionHead(scenario, dict(type='QuerySoftmax'))


@pytest.mark.parametrize('rescale', [True, False])
def test_padding_is_cut_off_before_resizing(rescale):
    head = build()
    cls_score = logits_of([2, 1, 0, 2], 3)[None]
    logits = 6 * torch.randn(1, 4, 160, 192)
    sample = DetDataSample(metainfo=dict(img_shape=(150, 180), ori_shape=(75, 260)))
    result = head.predict(cls_score, logits, [sample], rescale=rescale)[0]['pan_results'].sem_seg[0]
    expected = logits[:, :, :150, :180]
    if rescale:
        expected = functional.interpolate(expected, (75, 260), mode='bilinear')
    masks = expected[0].softmax(0)
    assert torch.equal(result, fuse_panoptic(cls_score[0], masks, num_things=2))


def test_no_panoptic_map_unless_asked_for():
    sample = DetDataSample(metainfo=dict(img_shape=(1, 4), ori_shape=(1, 4)))
    head = build(test_cfg=dict(panoptic_on=False))
    assert head.predict(logits_of([2, 1, 0, 2], 3)[None], stripes(4)[None], [sample]) == [{}]


@pytest.mark.parametrize(('share', 'kind'), [('half', TypeError), (1.5, ValueError)])
def test_bad_share_of_parts(share, kind):
    with pytest.raises(
        kind, match=r'^model.test_cfg.split_share: expected .*0 to 1( or None)?, got'
    ):
        build(test_cfg=dict(split_share=share))
    setting = build().inference_settings()['split_share']
    with pytest.raises(
        kind, match=r'^model.test_cfg.split_share: expected .*0 to 1( or None)?, got'
    ):
        setting.assign(share)


def test_share_of_parts_is_read_and_can_be_swept():
    head = build(test_cfg=dict(split_share=0.1), mask_activation=dict(type='QuerySigmoid'))
    logits = 50 * torch.tensor([[[1, -1, 1, -1.0]]])
    of_one = logits_of([0], 3)
    assert head.panoptic_postprocess(of_one, logits).sem_seg.tolist() == [[[1000, 3, 2000, 3]]]
    head.inference_settings()['split_share'].assign(None)
    assert head.panoptic_postprocess(of_one, logits).sem_seg.tolist() == [[[1000, 3, 1000, 3]]]
