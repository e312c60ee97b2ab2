import cv2
import numpy as np
import pytest

from mmcomformer.datasets.panoptic_png import MAX_ID, ids_to_rgb, read_panoptic_png, rgb_to_ids


@pytest.mark.parametrize('dtype', ['int32', 'int64', 'uint32', 'uint64'])
def test_ids_and_colours_are_inverse(dtype):
    ids = np.array([[0, 1, 255], [256, 65536, MAX_ID]], dtype=dtype)
    rgb = ids_to_rgb(ids)
    assert rgb.shape == (2, 3, 3)
    assert rgb.dtype == np.uint8
    assert rgb[1, 0].tolist() == [0, 1, 0]
    assert rgb[1, 1].tolist() == [0, 0, 1]
    back = rgb_to_ids(rgb)
    assert back.dtype == np.int32
    assert np.array_equal(back, ids)


@pytest.mark.parametrize('dtype', ['uint8', 'int16'])
def test_small_id_types(dtype):
    assert ids_to_rgb(np.array([3, 100], dtype=dtype)).tolist() == [[3, 0, 0], [100, 0, 0]]


def test_ids_to_rgb_of_views_and_scalars():
    ids = np.arange(12).reshape(3, 4)
    assert np.array_equal(rgb_to_ids(ids_to_rgb(ids[::-1, ::2])), ids[::-1, ::2])
    assert ids_to_rgb(np.int64(258)).tolist() == [2, 1, 0]


def test_rgb_to_ids_of_a_flipped_view():
    bgr = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    expected = bgr[..., 2] + 256 * bgr[..., 1].astype(int) + 65536 * bgr[..., 0].astype(int)
    assert np.array_equal(rgb_to_ids(bgr[..., ::-1]), expected)


@pytest.mark.parametrize('ids', [[-1], [MAX_ID + 1]])
def test_ids_out_of_range(ids):
    with pytest.raises(ValueError, match=r'segment ids from 0 to 16777215'):
        ids_to_rgb(np.array(ids))


def test_ids_of_another_type():
    with pytest.raises(TypeError, match=r'expected integers, got float64'):
        ids_to_rgb(np.zeros(3))


@pytest.mark.parametrize('rgb', [np.zeros((2, 2, 4), np.uint8), np.zeros((2, 2, 3), np.int32)])
def test_rgb_of_another_form(rgb):
    with pytest.raises(ValueError, match=r'expected a uint8 array of shape'):
        rgb_to_ids(rgb)


def test_read(tmp_path):
    ids = np.random.default_rng(0).integers(0, MAX_ID + 1, (7, 5))
    path = str(tmp_path / 'a.png')
    cv2.imwrite(path, ids_to_rgb(ids)[..., ::-1])
    assert np.array_equal(read_panoptic_png(path), ids)


def test_read_missing(tmp_path):
    path = str(tmp_path / 'a.png')
    with pytest.raises(FileNotFoundError, match=r'panoptic PNG .*a.png does not exist; check'):
        read_panoptic_png(path)


@pytest.mark.parametrize('content', [b'', b'no image', 'truncated'])
def test_read_unreadable(tmp_path, content):
    path = tmp_path / 'a.png'
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:1000] if content == 'truncated' else content)
    with pytest.raises(ValueError, match=r'a\.png cannot be decoded'):
        read_panoptic_png(str(path))


@pytest.mark.parametrize('shape', [(4, 4), (4, 4, 4)])
def test_read_wrong_channels(tmp_path, shape):
    path = str(tmp_path / 'a.png')
    cv2.imwrite(path, np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match=r'a\.png: expected three 8-bit channels'):
        read_panoptic_png(path)


def test_read_wrong_depth(tmp_path):
    path = str(tmp_path / 'a.png')
    cv2.imwrite(path, np.zeros((4, 4, 3), np.uint16))
    with pytest.raises(ValueError, match=r'expected three 8-bit channels .* uint16'):
        read_panoptic_png(path)
