import io

import numpy as np
import pytest
from PIL import Image

from mmcomformer.report import collected
from mmcomformer.report.collected import (
    EVALUATION,
    PSEUDO_LABELS,
    Evaluation,
    KeptPicture,
    PseudoLabelQuality,
    read_evaluation,
    read_pseudo_labels,
    write_evaluation,
    write_pseudo_labels,
)

PICTURE = KeptPicture.of(
    'val/a.jpg',
    np.full((40, 60, 3), 128, np.uint8),
    {'truth': np.full((40, 60), 3), 'prediction': np.full((40, 60), -1)},
)
FULL = Evaluation(
    ['a', 'ö "x"'],
    [(1, 2, 3), (4, 5, 6)],
    {'a': {'PQ': 1.5}, 'ö "x"': {'PQ': None}},
    np.arange(9).reshape(3, 3),
    {'a': {'matched': 1, 'missed': 2, 'wrong': 3}},
    [PICTURE],
)


def test_evaluation_comes_back(tmp_path):
    write_evaluation(tmp_path, FULL)
    found = read_evaluation(tmp_path)
    assert (found.classes, found.palette, found.per_class, found.segments) == (
        FULL.classes, FULL.palette, FULL.per_class, FULL.segments,
    )  # fmt: skip
    np.testing.assert_array_equal(found.confusion, FULL.confusion)
    [picture] = found.pictures
    assert picture.name == 'val/a.jpg'
    assert picture.image().shape == (40, 60, 3)
    for kind, values in PICTURE.maps.items():
        np.testing.assert_array_equal(picture.maps[kind], values)
    assert [path.name for path in tmp_path.iterdir()] == [EVALUATION]


def test_evaluation_without_confusion_or_pictures(tmp_path):
    write_evaluation(tmp_path, Evaluation(['a'], [(1, 2, 3)], {}))
    found = read_evaluation(tmp_path)
    assert found.confusion is None
    assert found.segments is None
    assert found.pictures == []


def test_pseudo_labels_come_back(tmp_path):
    values = {'a': {'precision': 50.0, 'recall': None, 'PQ': 1.0}}
    quality = PseudoLabelQuality(['a'], [(1, 2, 3)], values, 17, [PICTURE])
    write_pseudo_labels(tmp_path, quality)
    found = read_pseudo_labels(tmp_path)
    assert (found.classes, found.per_class, found.images) == (['a'], values, 17)
    assert len(found.pictures) == 1


def test_large_pictures_shrink_and_keep_their_shape():
    codes = np.zeros((500, 1000), np.int64)
    codes[:, 500:] = 7005
    picture = KeptPicture.of('a', np.zeros((250, 500, 3), np.uint8), {'truth': codes})
    assert Image.open(io.BytesIO(picture.jpeg)).size == (320, 160)
    small = picture.maps['truth']
    assert small.shape == (160, 320)
    assert (small[:, :160] == 0).all()
    assert (small[:, 160:] == 7005).all()


@pytest.mark.parametrize('content', [b'', b'no archive', b'PK\x03\x04 broken'])
@pytest.mark.parametrize(
    ('name', 'read'), [(EVALUATION, read_evaluation), (PSEUDO_LABELS, read_pseudo_labels)]
)
def test_damaged(tmp_path, content, name, read):
    with pytest.raises(FileNotFoundError):
        read(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf'{name}: it cannot be read'):
        read(tmp_path)


@pytest.mark.parametrize('part', [0.3, 0.7, 0.99])
def test_cut_off(tmp_path, part):
    write_evaluation(tmp_path, FULL)
    content = (tmp_path / EVALUATION).read_bytes()
    (tmp_path / EVALUATION).write_bytes(content[: int(part * len(content))])
    with pytest.raises(ValueError, match='it cannot be read'):
        read_evaluation(tmp_path)


def test_spoilt_in_the_middle(tmp_path):
    write_evaluation(tmp_path, FULL)
    content = bytearray((tmp_path / EVALUATION).read_bytes())
    content[200:260] = b'x' * 60
    (tmp_path / EVALUATION).write_bytes(content)
    with pytest.raises(ValueError, match='it cannot be read'):
        read_evaluation(tmp_path)


def test_another_version(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(collected, 'VERSION', 7)
        write_evaluation(tmp_path, FULL)
    with pytest.raises(ValueError, match='its version is 7, and 1 is read'):
        read_evaluation(tmp_path)


def test_keys_that_are_missing(tmp_path):
    write_pseudo_labels(tmp_path, PseudoLabelQuality(['a'], [(1, 2, 3)], {}, 1))
    (tmp_path / PSEUDO_LABELS).rename(tmp_path / EVALUATION)
    with pytest.raises(ValueError, match=r'evaluation.npz: it cannot be read \(KeyError'):
        read_evaluation(tmp_path)


def test_nothing_is_left_of_a_file_that_cannot_be_written(tmp_path, monkeypatch):
    write_evaluation(tmp_path, FULL)
    before = (tmp_path / EVALUATION).read_bytes()

    def fail(file, **arrays):
        file.write(b'half')
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(np, 'savez_compressed', fail)
    with pytest.raises(OSError, match='No space left'):
        write_evaluation(tmp_path, FULL)
    assert [path.name for path in tmp_path.iterdir()] == [EVALUATION]
    assert (tmp_path / EVALUATION).read_bytes() == before
