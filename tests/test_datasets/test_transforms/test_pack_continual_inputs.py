import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks

from mmcomformer.datasets import PackContinualInputs

SEGMENTS = [
    {'id': 50, 'label': 4, 'iscrowd': False},
    {'id': 60, 'label': 0, 'iscrowd': False},
    {'id': 70, 'label': 2, 'iscrowd': True},
]


@pytest.fixture
def results():
    return {
        'img': np.arange(2 * 4 * 3, dtype=np.uint8).reshape(2, 4, 3),
        'img_id': 3,
        'img_path': 'a.jpg',
        'ori_shape': (2, 4),
        'img_shape': (2, 4),
        'gt_seg_map': np.array([[0, 1, 1, 3], [3, 3, 1, 0]], dtype=np.int32),
        'gt_segments': SEGMENTS,
    }


def test_training(results):
    packed = PackContinualInputs()(results)
    assert packed['inputs'].dtype == torch.uint8
    assert np.array_equal(packed['inputs'].numpy(), results['img'].transpose(2, 0, 1))
    sample = packed['data_samples']
    assert isinstance(sample, DetDataSample)
    # the segment without pixels is left out; labels and masks stay together
    assert sample.gt_instances.labels.tolist() == [4, 2]
    assert sample.gt_instances.labels.dtype == torch.int64
    masks = sample.gt_instances.masks
    assert isinstance(masks, BitmapMasks)
    assert (masks.height, masks.width) == (2, 4)
    assert masks.masks.tolist() == [[[0, 1, 1, 0], [0, 0, 1, 0]], [[0, 0, 0, 1], [1, 1, 0, 0]]]
    assert 'gt_sem_seg' not in sample
    assert 'gt_panoptic_seg' not in sample
    assert sample.metainfo == {
        'img_id': 3,
        'img_path': 'a.jpg',
        'ori_shape': (2, 4),
        'img_shape': (2, 4),
    }


@pytest.mark.parametrize('count', [2, 255, 256, 70_000])
def test_number_of_segments(results, count):
    """The map is compared in a smaller type, which has to hold the number of segments."""
    # values that a type too small would take for each other
    seg_map = np.array([[1, 0, count, count - 1], [1, 1, 0, count]], dtype=np.int32)
    segments = [{'id': index, 'label': index % 7, 'iscrowd': False} for index in range(count)]
    # a view as flipping makes it
    results.update(gt_seg_map=seg_map[:, ::-1], gt_segments=segments)
    instances = PackContinualInputs()(results)['data_samples'].gt_instances
    values = sorted({1, count - 1, count})
    assert instances.labels.tolist() == [(value - 1) % 7 for value in values]
    expected = [seg_map[:, ::-1] == value for value in values]
    assert np.array_equal(instances.masks.masks, expected)
    assert instances.masks.masks.dtype == np.uint8


def test_training_without_segment(results):
    results.update(gt_seg_map=np.zeros((2, 4), np.int32), gt_segments=[])
    instances = PackContinualInputs()(results)['data_samples'].gt_instances
    assert len(instances) == 0
    assert instances.labels.dtype == torch.int64
    assert instances.masks.masks.shape == (0, 2, 4)
    assert instances.masks.to_tensor(torch.bool, 'cpu').shape == (0, 2, 4)


def test_evaluation(results):
    # a map of the original size beside a resized image
    results['gt_seg_map'] = np.flip(results['gt_seg_map'], axis=1)
    results['img'] = np.zeros((4, 8, 3), np.uint8)
    packed = PackContinualInputs(evaluation=True)(results)
    sample = packed['data_samples']
    assert packed['inputs'].shape == (3, 4, 8)
    assert sample.gt_panoptic_seg.sem_seg.tolist() == [[[3, 1, 1, 0], [0, 1, 3, 3]]]
    assert sample.gt_panoptic_seg.sem_seg.dtype == torch.int32
    assert sample.metainfo['segments'] == SEGMENTS
    assert 'gt_instances' not in sample


@pytest.mark.parametrize('evaluation', [True, False])
def test_image_of_a_user(results, evaluation):
    del results['gt_seg_map'], results['gt_segments'], results['img_id']
    sample = PackContinualInputs(evaluation=evaluation)(results)['data_samples']
    assert 'gt_instances' not in sample
    assert 'gt_panoptic_seg' not in sample
    assert 'segments' not in sample.metainfo


def test_meta_keys(results):
    sample = PackContinualInputs(meta_keys=['img_shape', 'flip'])(results)['data_samples']
    assert list(sample.metainfo) == ['img_shape']


@pytest.mark.parametrize('image', ['grey', 'flipped', 'float'])
def test_images_of_other_forms(results, image):
    results['img'] = {
        'grey': results['img'][..., 0],
        'flipped': np.flip(results['img'], axis=1),
        'float': results['img'].astype(np.float32),
    }[image]
    inputs = PackContinualInputs()(results)['inputs']
    expected = np.atleast_3d(results['img']).transpose(2, 0, 1)
    assert inputs.is_contiguous()
    assert np.array_equal(inputs.numpy(), expected)


def test_repr():
    expected = "PackContinualInputs(evaluation=True, meta_keys=('flip',))"
    assert repr(PackContinualInputs(evaluation=True, meta_keys=['flip'])) == expected
