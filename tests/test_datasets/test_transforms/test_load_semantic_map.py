import numpy as np
import pytest
from PIL import Image

from mmcomformer.datasets.transforms import LoadSemanticMap


@pytest.fixture
def results(tmp_path):
    values = np.array([[0, 1, 2], [3, 2, 255]], dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / 'a.png')
    return {
        'img_path': '/img/a.jpg',
        'seg_map_path': str(tmp_path / 'a.png'),
        'label_map': {0: 255, 1: 1, 2: 0, 3: 3},
        'reduce_zero_label': False,
        'seg_fields': [],
        'ori_shape': (2, 3),
    }


def test_map(results):
    out = LoadSemanticMap()(results)
    assert out['gt_seg_map'].dtype == np.uint8
    assert out['gt_seg_map'].tolist() == [[255, 1, 0], [3, 0, 255]]
    assert out['seg_fields'] == ['gt_seg_map']


def test_reduced(results):
    out = LoadSemanticMap()({**results, 'reduce_zero_label': True})
    assert out['gt_seg_map'].tolist() == [[255, 255, 1], [0, 1, 255]]


def test_without_label_map(results):
    """mmseg's datasets give None where their maps hold dataset labels."""
    out = LoadSemanticMap()({**results, 'label_map': None})
    assert out['gt_seg_map'].tolist() == [[0, 1, 2], [3, 2, 255]]


@pytest.mark.parametrize('missing', [True, False])
def test_own_image(results, missing):
    results['seg_map_path'] = None
    if missing:
        del results['seg_map_path']
    assert 'gt_seg_map' not in LoadSemanticMap()(results)


def test_unknown_label(results):
    del results['label_map'][3]
    with pytest.raises(ValueError, match=r'a\.png: expected labels from 0 to 2 and 255, got \[3\]'):
        LoadSemanticMap()(results)


def test_another_size(results):
    results['ori_shape'] = (3, 2)
    match = r'a\.png: its size .* is \(2, 3\), but the image /img/a\.jpg has \(3, 2\)'
    with pytest.raises(ValueError, match=match):
        LoadSemanticMap()(results)


def test_missing(results):
    with pytest.raises(FileNotFoundError, match=r'/b\.png does not exist'):
        LoadSemanticMap()({**results, 'seg_map_path': '/b.png'})


def test_backend(results):
    with pytest.raises(KeyError, match='nowhere'):
        LoadSemanticMap(backend_args={'backend': 'nowhere'})(results)


def test_repr():
    assert repr(LoadSemanticMap()) == 'LoadSemanticMap(backend_args=None)'
