import cv2
import numpy as np
import pytest

from mmcomformer.datasets import SSDColorJitter

NOTHING = {
    'brightness_delta': 0,
    'contrast_range': (1, 1),
    'saturation_range': (1, 1),
    'hue_delta': 0,
}


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (8, 9, 3), dtype=np.uint8)


def jitter(image, *, times=60, **kwargs):
    np.random.seed(0)
    transform = SSDColorJitter(**{**NOTHING, **kwargs})
    return [transform({'img': image})['img'] for _ in range(times)]


def test_keeps_type_and_input(image):
    before = image.copy()
    for out in jitter(image, brightness_delta=32, contrast_range=(0.5, 1.5), hue_delta=18):
        assert out.dtype == np.uint8
        assert out.shape == image.shape
    assert np.array_equal(image, before)


def test_brightness(image):
    outs = jitter(image, brightness_delta=32)
    grey = np.full((1, 1, 3), 128, np.uint8)
    values = [int(out[0, 0, 0]) for out in jitter(grey, brightness_delta=32)]
    assert 20 < sum(value == 128 for value in values) < 40
    assert 96 <= min(values) < 110
    assert 146 < max(values) <= 160
    assert all(out.min() >= 0 and out.max() <= 255 for out in outs)


def test_contrast():
    grey = np.full((1, 1, 3), 100, np.uint8)
    values = [int(out[0, 0, 0]) for out in jitter(grey, contrast_range=(0.5, 1.5))]
    assert 20 < sum(value == 100 for value in values) < 40
    assert 50 <= min(values) < 70
    assert 130 < max(values) <= 150


@pytest.mark.parametrize('change', ['hue', 'saturation'])
def test_hue_and_saturation_leave_the_rest(change):
    colour = np.array([[[40, 80, 200]]], dtype=np.uint8)
    kwargs = {'hue': {'hue_delta': 18}, 'saturation': {'saturation_range': (0.5, 1.5)}}[change]
    hsv = np.array([cv2.cvtColor(o, cv2.COLOR_BGR2HSV)[0, 0] for o in jitter(colour, **kwargs)])
    changed, kept = (0, 1) if change == 'hue' else (1, 0)
    assert len(np.unique(hsv[:, changed])) > 8
    assert np.ptp(hsv[:, kept].astype(int)) <= 3
    assert np.ptp(hsv[:, 2].astype(int)) <= 1
    if change == 'hue':
        original = int(cv2.cvtColor(colour, cv2.COLOR_BGR2HSV)[0, 0, 0])
        shift = (hsv[:, 0].astype(int) - original + 90) % 180 - 90
        assert shift.min() >= -19
        assert shift.max() <= 19


def test_float_image():
    with pytest.raises(TypeError, match='expected a uint8 image, got float32'):
        SSDColorJitter()({'img': np.zeros((2, 2, 3), np.float32)})


def test_repr():
    assert 'hue_delta=18' in repr(SSDColorJitter())
