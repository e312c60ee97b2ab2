"""Instances from queries: Mask2Former's rule, by hand and against a loop."""

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData  # noqa: F401

from mmcomformer.models.class_activation import ClassSigmoid
from mmcomformer.models.instance_fusion import ContinualInstanceFusionHead, fuse_instances

THINGS = ['cat', 'dog', 'fox']
SCENARIO = dict(increments=[2, 1], thing_classes=THINGS, stuff_classes=[])


def logits(prob):
    return torch.tensor(prob, dtype=torch.float64).log()


def by_loop(prob, masks, limit):
    """The rule as it is told: pairs, the best first; quality; order of the product."""
    pairs = [
        (float(prob[query, label]), query, label)
        for query in range(prob.shape[0])
        for label in range(prob.shape[1])
        if prob[query, label] >= 0
    ]
    best = sorted(pairs, key=lambda pair: -pair[0])[:limit]
    found = []
    for score, query, label in best:
        inside = masks[query] >= 0.5
        if inside.any():
            found.append((score * float(masks[query][inside].mean()), label, inside))
    return sorted(found, key=lambda item: -item[0])


def test_by_hand():
    masks = torch.tensor([[[0.9, 0.7, 0.2]], [[0.6, 0.1, 0.4]]])
    # cat, dog, no-object
    found = fuse_instances(logits([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1]]).float(), masks)
    assert found.labels.tolist() == [0, 1, 1, 0]
    torch.testing.assert_close(found.scores, torch.tensor([0.48, 0.42, 0.24, 0.12]))
    # one query in two instances, and pixels in more than one
    assert found.masks.tolist() == [
        [[True, True, False]],
        [[True, False, False]],
        [[True, True, False]],
        [[True, False, False]],
    ]


def test_sigmoids_without_a_no_object():
    """By dataset label there is a column for it, of -inf, which takes nothing away."""
    cls_score = torch.tensor([[0.4, -0.2, -torch.inf], [-1.0, 2.0, -torch.inf]])
    masks, activation = torch.full((2, 1, 2), 0.8), ClassSigmoid(no_object=False, temperature=0.06)
    found = fuse_instances(cls_score, masks, class_activation=activation)
    assert found.labels.tolist() == [1, 0, 1, 0]
    expected = torch.tensor([2.0, 0.4, -0.2, -1.0]).sigmoid() * 0.8
    torch.testing.assert_close(found.scores, expected)


@pytest.mark.parametrize('limit', [1, 7, 100])
@pytest.mark.parametrize('activation', ['softmax', 'sigmoid'])
def test_against_a_loop(limit, activation):
    generator = torch.Generator().manual_seed(limit)
    cls_score = torch.randn(9, 4, generator=generator)
    cls_score[:, 1] = -torch.inf
    masks = torch.rand(9, 5, 6, generator=generator)
    masks[3] = 0.4
    if activation == 'sigmoid':
        # an object of a class is none of no-object
        seen = 1 - cls_score[:, -1:].sigmoid()
        prob, options = cls_score.sigmoid() * seen, {'class_activation': ClassSigmoid()}
    else:
        prob, options = cls_score.softmax(-1), {}
    prob = prob[:, :-1].masked_fill(cls_score[:, :-1] == -torch.inf, -1)
    found = fuse_instances(cls_score, masks, max_per_image=limit, **options)
    expected = by_loop(prob, masks, limit)
    assert len(found.scores) == len(expected)
    assert found.labels.tolist() == [label for _, label, _ in expected]
    torch.testing.assert_close(found.scores, torch.tensor([score for score, _, _ in expected]))
    assert torch.equal(found.masks, torch.stack([mask for _, _, mask in expected]))
    assert 1 not in found.labels


def test_head_resizes_and_boxes():
    head = ContinualInstanceFusionHead(SCENARIO, {'type': 'QuerySigmoid'})
    mask_pred = torch.full((1, 2, 8, 8), -9.0)
    mask_pred[0, 0, 2:4, 1:5] = 9.0
    cls_score = torch.tensor([[[9.0, 0, 0, 0], [0, 0, 0, 9.0]]])
    sample = DetDataSample(metainfo={'img_shape': (6, 6), 'ori_shape': (12, 12)})
    (small,) = head.predict(cls_score, mask_pred, [sample])
    (large,) = head.predict(cls_score, mask_pred, [sample], rescale=True)
    assert small['ins_results'].masks.shape[1:] == (6, 6)
    assert small['ins_results'].bboxes[0].tolist() == [1, 2, 5, 4]
    assert large['ins_results'].bboxes[0].tolist() == [2, 4, 10, 8]
    assert small['ins_results'].labels[0] == 0


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            {'test_cfg': {'panoptic_on': True}},
            'gives instances only; set model.panoptic_fus',
        ),
        ({'test_cfg': {'semantic_on': True}}, 'model.test_cfg.semantic_on'),
        ({'test_cfg': {'max_per_image': 0}}, 'max_per_image: expected at least 1, got 0'),
        (
            {'scenario': {**SCENARIO, 'stuff_classes': ['sky'], 'increments': [2, 2]}},
            r"scenario.stuff_classes: instances are of things, got \['sky'\]",
        ),
        (
            {
                'scenario': dict(
                    increments=[1000],
                    thing_classes=[f'c{i}' for i in range(1000)],
                    stuff_classes=[],
                )
            },
            'expected fewer than 1000 classes, because pictures .*got 1000; leave classes out',
        ),
    ],
)
def test_bad_settings(change, message):
    settings = {'scenario': SCENARIO, 'mask_activation': {'type': 'QuerySigmoid'}, **change}
    with pytest.raises(ValueError, match=message):
        ContinualInstanceFusionHead(**settings)


@pytest.mark.parametrize(
    ('test_cfg', 'message'),
    [
        ({'split_share': 0.1}, r"does not read \['split_share'\]; it reads .*'max_per_image'\]"),
        ({'iou_thr': 0.8, 'max_per_image': 9}, r"gives instances, does not read \['iou_thr'\]"),
        ({'max_per_image': True}, 'model.test_cfg.max_per_image: expected a number, got True'),
        ({'max_per_image': '9'}, 'model.test_cfg.max_per_image: expected a number, got .9'),
    ],
)
def test_settings_that_nothing_reads(test_cfg, message):
    with pytest.raises(TypeError, match=message):
        ContinualInstanceFusionHead(SCENARIO, {'type': 'QuerySigmoid'}, test_cfg=test_cfg)


def test_number_of_instances():
    head = ContinualInstanceFusionHead(
        SCENARIO, {'type': 'QuerySigmoid'}, test_cfg={'max_per_image': 3}
    )
    found = head.instance_postprocess(torch.zeros(2, 4), torch.full((2, 4, 4), 9.0))
    assert found.masks.shape == (3, 4, 4)
    setting = head.inference_settings()['max_per_image']
    assert setting.key == 'model.test_cfg.max_per_image'
    setting.assign(2)
    found = head.instance_postprocess(torch.zeros(2, 4), torch.full((2, 4, 4), 9.0))
    assert found.masks.shape == (2, 4, 4)
    with pytest.raises(ValueError, match='max_per_image: expected at least 1, got 0'):
        setting.assign(0)
