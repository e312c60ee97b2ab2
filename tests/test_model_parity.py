"""The narrow model of the released program, converted: the same outputs at every level.

Recorded masks of the levels before the last are every second row and column.
"""

import numpy as np
import official
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from torch.nn import functional

from mmcomformer.engine.checkpoint import read_checkpoint
from mmcomformer.model_converters import convert_from_detectron2

pytestmark = [pytest.mark.families, pytest.mark.usefixtures('mmdet_scope')]

CASES = [(step, mode) for step in (0, 1) for mode in ('softmask', 'sigmoid')]
SETS = {'A': ('A',), 'B': ('B',), 'AB': ('A', 'B')}
NUM_CLASSES = 9
# the recorded outputs deviate from a float64 run by up to 1.2e-5 and 7.7e-5
CLASS_TOLERANCE, MASK_TOLERANCE = 1e-4, 5e-4
# largest change of a probability by the deviation measured here (6e-5 of a mask logit)
MARGIN = 1e-4


class Case:
    """A converted model and what the released program gave with the same weights."""

    def __init__(self, folder, step, mode):
        masks = official.SIGMOID if mode == 'sigmoid' else official.SOFTMASK
        config = official.write_config(folder, masks=masks, name=f'{mode}{step}.py')
        converted = folder / f'{mode}{step}.pth'
        convert_from_detectron2(official.checkpoint_path(step), converted, config=config)
        self.model = official.build(config, step)
        state_dict = read_checkpoint(converted)['state_dict']
        self.model.load_state_dict(state_dict, strict=True)
        self.recorded = np.load(official.ROOT / f'outputs_step{step}_{mode}.npz')
        self.order = self.model.panoptic_head.scenario.seen_learning_to_label

    def batch(self, name):
        """Preprocess a set of images; the model's own preprocessor normalises and pads."""
        # mmdet reads images as BGR
        inputs = [
            torch.from_numpy(official.image(x)[..., ::-1].copy()).permute(2, 0, 1)
            for x in SETS[name]
        ]
        shapes = [tuple(x.shape[-2:]) for x in inputs]
        ori_shapes = [(144, 192), (90, 131)] if name == 'AB' else shapes
        samples = [
            DetDataSample(metainfo=dict(img_shape=shape, ori_shape=ori_shape))
            for shape, ori_shape in zip(shapes, ori_shapes, strict=True)
        ]
        return self.model.data_preprocessor(dict(inputs=inputs, data_samples=samples))


@pytest.fixture(scope='module', params=CASES, ids=lambda case: f'step{case[0]}-{case[1]}')
def case(request, tmp_path_factory):
    return Case(tmp_path_factory.mktemp('official'), *request.param)


@pytest.mark.parametrize('name', SETS)
@torch.no_grad()
def test_every_prediction_level(case, name):
    batch = case.batch(name)
    padded = official.INDEX['files']['outputs_step0_softmask.npz'][name]['padded']
    assert list(batch['inputs'].shape[-2:]) == padded
    feats = case.model.extract_feat(batch['inputs'])
    cls_scores, mask_preds = case.model.panoptic_head(feats, batch['data_samples'])
    assert len(cls_scores) == len(mask_preds) == 4
    for level, (cls_score, mask_pred) in enumerate(zip(cls_scores, mask_preds, strict=True)):
        key = f'{name}__level{level}__'
        expected = torch.from_numpy(case.recorded[f'{key}pred_logits'])
        torch.testing.assert_close(cls_score, expected, rtol=0, atol=CLASS_TOLERANCE)
        if level < 3:
            mask_pred = mask_pred[..., ::2, ::2]
        expected = torch.from_numpy(case.recorded[f'{key}pred_masks'])
        torch.testing.assert_close(mask_pred, expected, rtol=0, atol=MASK_TOLERANCE)


def recorded_panoptic(case, key):
    """Return a recorded panoptic map in mmdet's code, (H, W)."""
    codes, num_things = [NUM_CLASSES], 0
    for category in case.recorded[f'{key}__segment_categories']:
        label = case.order[category - 1]
        is_thing = label < case.model.panoptic_head.scenario.num_things
        num_things += is_thing
        codes.append(label + 1000 * num_things * is_thing)
    return np.array(codes)[case.recorded[f'{key}__panoptic_seg']]


def mask_probability(case, mask_pred, sample):
    """Return mask probabilities at the size of the result, (Q, H, W)."""
    height, width = sample.img_shape
    masks = mask_pred[:, :height, :width]
    masks = functional.interpolate(
        masks[None], size=sample.ori_shape, mode='bilinear', align_corners=False
    )[0]
    return case.model.panoptic_head.mask_activation.probability(masks)


def margins(case, cls_score, mask_pred, sample, score_thr):
    """Return how far each pixel's decision is from another one, in probability, (H, W)."""
    prob = mask_probability(case, mask_pred, sample)
    scores, classes = cls_score.softmax(-1).max(-1)
    kept = (classes != NUM_CLASSES) & (scores > score_thr)
    (first, second), owner = (scores[kept, None, None] * prob[kept]).topk(2, dim=0)
    own = prob[kept].gather(0, owner[:1])[0]
    return torch.minimum(first - second, (own - 0.5).abs()).numpy()


@pytest.mark.parametrize('thresholds', ['thr0', 'thr2'])
@pytest.mark.parametrize('name', SETS)
@torch.no_grad()
def test_panoptic_and_semantic_maps(case, name, thresholds, monkeypatch):
    values = official.INDEX['thresholds'][thresholds]
    score_thr, iou_thr = values['object_mask_threshold'], values['overlap_threshold']
    settings = ConfigDict(panoptic_on=True, object_mask_thr=score_thr, iou_thr=iou_thr)
    monkeypatch.setattr(case.model.panoptic_fusion_head, 'test_cfg', settings)
    batch = case.batch(name)
    samples = case.model.predict(batch['inputs'], batch['data_samples'])
    feats = case.model.extract_feat(batch['inputs'])
    outputs = case.model.panoptic_head.predict(feats, batch['data_samples'])
    for index, (sample, cls_score, mask_pred) in enumerate(zip(samples, *outputs, strict=True)):
        key = f'{name}__img{index}__{thresholds}'
        panoptic = sample.pred_panoptic_seg.sem_seg[0].numpy()
        safe = margins(case, cls_score, mask_pred, sample, score_thr) > MARGIN
        assert safe.mean() > 0.995
        np.testing.assert_array_equal(panoptic[safe], recorded_panoptic(case, key)[safe])
        # the same rule gives the semantic map: 0 where there is no segment, else class + 1
        to_class = np.zeros(NUM_CLASSES + 1, np.int64)
        to_class[list(case.order)] = np.arange(1, len(case.order) + 1)
        semantic = to_class[panoptic % 1000]
        np.testing.assert_array_equal(
            semantic[safe], case.recorded[f'{key}__semantic_labels'][safe]
        )


@pytest.mark.parametrize('name', SETS)
@torch.no_grad()
def test_semantic_map_of_summed_queries(case, name):
    """Mask2Former's own semantic rule, from our outputs: the class with the largest sum of p m."""
    batch = case.batch(name)
    feats = case.model.extract_feat(batch['inputs'])
    outputs = case.model.panoptic_head.predict(feats, batch['data_samples'])
    for index, (sample, cls_score, mask_pred) in enumerate(
        zip(batch['data_samples'], *outputs, strict=True)
    ):
        prob = mask_probability(case, mask_pred, sample)
        class_prob = cls_score.softmax(-1)[:, list(case.order)]
        scores = torch.einsum('qk,qhw->khw', class_prob, prob)
        first, second = scores.topk(2, dim=0).values
        safe = (first - second > MARGIN).numpy()
        assert safe.mean() > 0.995
        expected = case.recorded[f'{name}__img{index}__semantic_sum_mode_labels']
        np.testing.assert_array_equal(scores.argmax(0).numpy()[safe], expected[safe])
