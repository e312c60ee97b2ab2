import cv2
import numpy as np
import pytest
from downloads import save
from PIL import ExifTags, Image

from mmcomformer.datasets.png import (
    check_values,
    image_size,
    read_labels,
    read_record,
    write_png,
)

RECORD = {'image': {'id': 'ä', 'height': 2}, 'notes': {}}
RGB = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)


@pytest.mark.parametrize('image', [RGB, RGB[..., 0]], ids=['colours', 'labels'])
def test_written_and_read(tmp_path, image):
    path = tmp_path / 'deep' / 'a.png'
    write_png(path, image, RECORD)
    assert read_record(path) == RECORD
    channels = 3 if image.ndim == 3 else 1
    assert (read_labels(path, channels=channels) == image).all()
    # other programs read it as if there were no record
    assert (np.asarray(Image.open(path)) == image).all()
    bgr = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert (bgr == (image[..., ::-1] if channels == 3 else image)).all()
    assert [file.name for file in path.parent.iterdir()] == ['a.png']


def test_damage_is_noticed(tmp_path):
    path = tmp_path / 'a.png'
    write_png(path, RGB, RECORD)
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        assert read_record(path) is None
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        assert read_record(path) is None


def test_no_record(tmp_path):
    assert read_record(tmp_path / 'a.png') is None
    save(tmp_path / 'a.png', RGB)
    assert read_record(tmp_path / 'a.png') is None
    (tmp_path / 'a.png').write_text('text')
    assert read_record(tmp_path / 'a.png') is None


def test_palette_gives_indices(tmp_path):
    save(tmp_path / 'a.png', RGB[..., 0], palette=True)
    assert (read_labels(tmp_path / 'a.png') == RGB[..., 0]).all()


@pytest.mark.parametrize(('orientation', 'size'), [(1, (2, 4)), (3, (2, 4)), (6, (4, 2))])
def test_turned_photo(tmp_path, orientation, size):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.fromarray(RGB).save(tmp_path / 'a.jpg', exif=exif)
    assert image_size(tmp_path / 'a.jpg') == size
    assert cv2.imread(str(tmp_path / 'a.jpg')).shape[:2] == size


def test_sixteen_bits(tmp_path):
    labels = np.array([[26000, 7]], dtype=np.uint16)
    save(tmp_path / 'a.png', labels)
    assert read_labels(tmp_path / 'a.png').tolist() == labels.tolist()


def test_faults(tmp_path):
    path = tmp_path / 'a.png'
    for function in (read_labels, image_size):
        with pytest.raises(FileNotFoundError, match='a.png does not exist'):
            function(path)
    path.write_bytes(b'nothing')
    for function in (read_labels, image_size):
        with pytest.raises(ValueError, match='a.png cannot be read as an image'):
            function(path)
    save(path, RGB)
    with pytest.raises(ValueError, match=r'a.png: expected a picture of 1 channel'):
        read_labels(path)
    with pytest.raises(ValueError, match=r'a.png: expected 0 or 2, got \[1, 7\]'):
        check_values(path, np.array([0, 1, 2, 7]), np.array([True, False, True]), '0 or 2')
