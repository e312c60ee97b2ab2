import cv2
import numpy as np
import pytest
from downloads import save
from PIL import ExifTags, Image

from mmcomformer.datasets.png import (
    check_values,
    decoded_picture,
    image_size,
    orientation_note,
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


@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.webp', '.tif'])
@pytest.mark.parametrize('orientation', [1, 3, 6, 8])
def test_size_is_that_of_the_loaded_picture(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = tmp_path / f'a{suffix}'
    Image.new('RGB', (24, 16)).save(path, exif=exif)
    # as mmcv does; imread of some versions does not read a TIFF that is turned
    assert image_size(path) == decoded_picture(path.read_bytes()).shape[:2]


def test_what_the_orientation_does(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    for suffix in ('.jpg', '.png', '.webp', '.tif'):
        path = tmp_path / f'a{suffix}'
        Image.new('RGB', (16, 8)).save(path)
        assert orientation_note(path.read_bytes()) == ''
        Image.new('RGB', (16, 8)).save(path, exif=exif)
        turned = decoded_picture(path.read_bytes()).shape[:2] == (16, 8)
        what = 'turns it' if turned else 'is not applied'
        assert orientation_note(path.read_bytes()) == (
            f'; its EXIF orientation 6 {what} when it is loaded'
        )


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
@pytest.mark.parametrize('cut', [2, 0.5])
def test_truncated_picture(tmp_path, suffix, cut):
    path = tmp_path / f'a{suffix}'
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: -cut if cut > 1 else int(len(content) * cut)])
    if decoded_picture(path.read_bytes()) is None:
        with pytest.raises(ValueError, match='truncated'):
            image_size(path)
    else:
        assert image_size(path) == (64, 64)


def test_too_many_pixels(tmp_path, monkeypatch):
    path = tmp_path / 'a.png'
    Image.new('L', (30, 30)).save(path)
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 449)
    for read in (image_size, read_labels):
        with pytest.raises(ValueError, match=r'a\.png has too many pixels for one image'):
            read(path)
    # what Pillow only warns of is read
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 899)
    assert image_size(path) == (30, 30)


def test_picture_that_opencv_refuses(monkeypatch):
    def refuse(*args):
        raise cv2.error('too many pixels')

    monkeypatch.setattr(cv2, 'imdecode', refuse)
    assert decoded_picture(b'x') is None
    assert decoded_picture(b'') is None
