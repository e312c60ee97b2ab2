import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from packed import masks_of

from mmcomformer.datasets import PackContinualInputs
from mmcomformer.datasets.transforms.pack_continual_inputs import number_segments

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
    # the segment without pixels is left out; labels and map stay together
    assert sample.gt_instances.labels.tolist() == [4, 2]
    assert sample.gt_instances.labels.dtype == torch.int64
    number = sample.gt_panoptic_seg.sem_seg
    assert number.tolist() == [[[0, 1, 1, 2], [2, 2, 1, 0]]]
    assert number.dtype == torch.uint8
    # what was read stays as it is
    assert results['gt_seg_map'].tolist() == [[0, 1, 1, 3], [3, 3, 1, 0]]
    assert set(sample.all_keys()) == {'gt_instances', 'gt_panoptic_seg', *sample.metainfo_keys()}
    assert sample.gt_instances.keys() == ['labels']
    assert sample.metainfo == {
        'img_id': 3,
        'img_path': 'a.jpg',
        'ori_shape': (2, 4),
        'img_shape': (2, 4),
    }


@pytest.mark.parametrize('count', [2, 255, 256, 70_000])
def test_number_of_segments(results, count):
    """A few of them have pixels; their values would be others in a type that is too small."""
    seg_map = np.array([[1, 0, count, count - 1], [1, 1, 0, count]], dtype=np.int32)
    segments = [{'id': index, 'label': index % 7, 'iscrowd': False} for index in range(count)]
    # a view as flipping makes it
    results.update(gt_seg_map=seg_map[:, ::-1], gt_segments=segments)
    sample = PackContinualInputs()(results)['data_samples']
    values = sorted({1, count - 1, count})
    assert sample.gt_instances.labels.tolist() == [(value - 1) % 7 for value in values]
    assert np.array_equal(masks_of(sample), [seg_map[:, ::-1] == value for value in values])
    number = sample.gt_panoptic_seg.sem_seg
    assert number.shape == (1, 2, 4)
    assert number.dtype == torch.uint8
    assert number.is_contiguous()


@pytest.mark.parametrize('count', [2, 255, 256, 70_000])
def test_number_of_segments_with_pixels(count):
    """The map has the smallest type that holds all of them, and every second is without pixels."""
    values = np.arange(0, 2 * count + 2, 2, dtype=np.int32)
    labels = np.random.default_rng(0).integers(150, size=2 * count)
    segments = [{'label': int(label)} for label in labels]
    seg_map = np.random.default_rng(1).permutation(values).reshape(1, -1)
    found, number = number_segments(seg_map[:, ::-1], segments)
    assert number.dtype == (torch.uint8 if count < 256 else torch.int32)
    assert np.array_equal(number.numpy(), seg_map[None, :, ::-1] // 2)
    assert found.tolist() == labels[1::2].tolist()


def test_a_map_full_of_one_segment():
    labels, number = number_segments(np.full((3, 5), 2, np.int32), SEGMENTS)
    assert labels.tolist() == [0]
    assert number.tolist() == [[[1] * 5] * 3]


@pytest.mark.parametrize('segments', [[], SEGMENTS])
def test_training_without_segment(results, segments):
    results.update(gt_seg_map=np.zeros((2, 4), np.int32), gt_segments=segments)
    sample = PackContinualInputs()(results)['data_samples']
    assert len(sample.gt_instances) == 0
    assert sample.gt_instances.labels.shape == (0,)
    assert sample.gt_instances.labels.dtype == torch.int64
    assert sample.gt_panoptic_seg.sem_seg.tolist() == [[[0] * 4] * 2]
    assert sample.gt_panoptic_seg.sem_seg.dtype == torch.uint8


@pytest.mark.parametrize('value', [255, 4, -1])
def test_value_without_segment(results, value):
    """255 is what mmdet's transforms pad label maps with."""
    results['gt_seg_map'][1, 3] = value
    message = (
        rf'gt_seg_map has the values \[{value}\], expected 0 to 3, .* Pad\(pad_val=dict\(seg=0'
    )
    with pytest.raises(ValueError, match=message):
        PackContinualInputs()(results)


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
