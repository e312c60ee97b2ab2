"""The id map goes through the stock transforms of either library family unharmed."""

import numpy as np
import pytest
from mmengine.registry import TRANSFORMS

pytestmark = [pytest.mark.families, pytest.mark.usefixtures('mmdet_scope')]
NUM_SEGMENTS = {np.uint8: 240, np.int32: 300}
"""What eight bits hold, and more."""


@pytest.fixture(params=NUM_SEGMENTS)
def results(request):
    rows = np.arange(NUM_SEGMENTS[request.param] // 10 + 1)[:, None] * 10 + np.arange(10)
    seg_map = rows.astype(request.param).repeat(2, axis=0).repeat(5, axis=1)
    # every channel shows its segment, so that image and map can be compared after geometry
    image = np.repeat((seg_map % 251).astype(np.uint8)[..., None], 3, axis=2)
    shape = seg_map.shape
    return {'img': image, 'gt_seg_map': seg_map, 'img_shape': shape, 'ori_shape': shape}


GEOMETRY = {
    'Resize': {'type': 'Resize', 'scale': (100, 124), 'interpolation': 'nearest'},
    'Resize keep': {
        'type': 'Resize',
        'scale': (75, 200),
        'keep_ratio': True,
        'interpolation': 'nearest',
    },
    'RandomResize': {
        'type': 'RandomResize',
        'scale': (124, 100),
        'ratio_range': (0.5, 2.0),
        'keep_ratio': True,
        'interpolation': 'nearest',
    },
    'ResizeShortestEdge': {
        'type': 'ResizeShortestEdge',
        'scale': 120,
        'max_size': 140,
        'interpolation': 'nearest',
    },
    'RandomChoiceResize': {
        'type': 'RandomChoiceResize',
        'scales': [30, 40, 90],
        'resize_type': 'ResizeShortestEdge',
        'max_size': 140,
        'interpolation': 'nearest',
    },
    'RandomCrop': {'type': 'RandomCrop', 'crop_size': (20, 30)},
    'RandomFlip': {'type': 'RandomFlip', 'prob': 1.0},
    'RandomFlip vertical': {'type': 'RandomFlip', 'prob': 1.0, 'direction': 'vertical'},
}


@pytest.mark.parametrize('name', GEOMETRY)
def test_geometry(results, name):
    original = results['gt_seg_map']
    np.random.seed(0)
    out = TRANSFORMS.build(GEOMETRY[name])(dict(results))
    seg_map = out['gt_seg_map']
    assert seg_map.dtype == original.dtype
    assert seg_map.shape == out['img'].shape[:2] == out['img_shape']
    assert np.isin(seg_map, original).all()
    assert np.array_equal(seg_map % 251, out['img'][..., 0])
    assert seg_map.shape != original.shape or not np.array_equal(seg_map, original)


def test_crop_larger_than_the_image(results):
    out = TRANSFORMS.build({'type': 'RandomCrop', 'crop_size': (640, 640)})(dict(results))
    assert np.array_equal(out['gt_seg_map'], results['gt_seg_map'])


@pytest.mark.parametrize('name', ['PhotoMetricDistortion', 'SSDColorJitter'])
def test_colour(results, name):
    out = TRANSFORMS.build({'type': name})(dict(results))
    assert out['gt_seg_map'] is results['gt_seg_map']


def test_padding_with_zero(results):
    pad = {'type': 'Pad', 'size': (100, 90), 'pad_val': {'img': 0, 'seg': 0}}
    out = TRANSFORMS.build(pad)(dict(results))
    height, width = results['gt_seg_map'].shape
    assert out['gt_seg_map'].dtype == results['gt_seg_map'].dtype
    assert np.array_equal(out['gt_seg_map'][:height, :width], results['gt_seg_map'])
    assert not out['gt_seg_map'][height:].any()
    assert not out['gt_seg_map'][:, width:].any()
