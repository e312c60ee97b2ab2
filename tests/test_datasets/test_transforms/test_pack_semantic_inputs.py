import numpy as np
import pytest
import torch
from mmseg.structures import SegDataSample

from mmcomformer.datasets.transforms import PackSemanticInputs

pytestmark = pytest.mark.families


@pytest.fixture
def results():
    rng = np.random.default_rng(0)
    return {
        'img': rng.integers(0, 256, (4, 6, 3), dtype=np.uint8),
        'img_path': '/img/a.jpg',
        'img_id': 'a',
        'seg_map_path': '/map/a.png',
        'ori_shape': (8, 12),
        'img_shape': (4, 6),
        'pad_shape': (4, 6),
        'scale_factor': (0.5, 0.5),
        'flip': False,
        'flip_direction': None,
        'reduce_zero_label': True,
        'gt_seg_map': np.array([[9, 255, 3, 3, 9, 0]] * 4, dtype=np.uint8),
    }


def test_sample(results):
    packed = PackSemanticInputs()(dict(results))
    assert packed['inputs'].dtype == torch.uint8
    assert np.array_equal(packed['inputs'].numpy(), results['img'].transpose(2, 0, 1))
    sample = packed['data_samples']
    assert isinstance(sample, SegDataSample)
    assert sample.gt_sem_seg.data.shape == (1, 4, 6)
    assert sample.gt_sem_seg.data.dtype == torch.int64
    assert np.array_equal(sample.gt_sem_seg.data[0], results['gt_seg_map'])
    assert sample.gt_labels == (0, 3, 9)
    for key in set(results) - {'img', 'gt_seg_map'}:
        assert sample.metainfo[key] == results[key]


def test_nothing_labelled(results):
    results['gt_seg_map'][:] = 255
    assert PackSemanticInputs()(results)['data_samples'].gt_labels == ()


def test_map_that_is_a_view(results):
    """Flipping gives such maps."""
    results['gt_seg_map'] = np.flip(results['gt_seg_map'], axis=1)
    sample = PackSemanticInputs()(results)['data_samples']
    assert sample.gt_sem_seg.data[0, 0].tolist() == [0, 9, 3, 3, 255, 9]
    assert sample.gt_labels == (0, 3, 9)


def test_own_image(results):
    del results['gt_seg_map'], results['seg_map_path'], results['flip']
    sample = PackSemanticInputs()(results)['data_samples']
    assert 'gt_sem_seg' not in sample
    assert 'gt_labels' not in sample
    assert sample.img_id == 'a'


def test_meta_keys(results):
    sample = PackSemanticInputs(meta_keys=('img_id',))(results)['data_samples']
    assert set(sample.metainfo_keys()) == {'img_id', 'gt_labels'}


def test_type_of_the_map(results):
    results['gt_seg_map'] = results['gt_seg_map'].astype(np.int32)
    with pytest.raises(TypeError, match=r'expected a uint8 gt_seg_map for /img/a\.jpg, got int32'):
        PackSemanticInputs()(results)
