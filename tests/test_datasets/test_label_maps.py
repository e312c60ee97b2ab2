import cv2
import numpy as np
import pytest
from PIL import Image

from mmcomformer.datasets.label_maps import (
    check_values,
    lookup_table,
    present_values,
    read_label_map,
)


class TestRead:
    def test_grey(self, tmp_path):
        values = np.arange(12, dtype=np.uint8).reshape(3, 4)
        Image.fromarray(values).save(tmp_path / 'a.png')
        found = read_label_map(tmp_path / 'a.png')
        assert found.dtype == np.uint8
        assert np.array_equal(found, values)

    def test_palette_gives_indices(self, tmp_path):
        image = Image.fromarray(np.array([[3, 255]], dtype=np.uint8))
        image.putpalette([200, 100, 50] * 256)
        image.save(tmp_path / 'a.png')
        assert read_label_map(tmp_path / 'a.png').tolist() == [[3, 255]]

    def test_colours(self, tmp_path):
        Image.fromarray(np.zeros((3, 4, 3), np.uint8)).save(tmp_path / 'a.png')
        match = (
            r'^label map .*a\.png: expected .* 1 channel.* got 3 .* mode RGB; save class numbers '
            r'in one channel, .* not colours'
        )
        with pytest.raises(ValueError, match=match):
            read_label_map(tmp_path / 'a.png')

    @pytest.mark.parametrize(
        ('name', 'dtype', 'match'),
        [
            (
                'a.png',
                np.uint16,
                r'a\.png: expected 8-bit labels, got pixels of type (u?int16|int32)',
            ),
            ('a.tif', np.float32, r'a\.tif: expected 8-bit labels, got pixels of type float32'),
            ('a.png', bool, r'a\.png: expected .* with labels, got 1 channel\(s\) of mode 1'),
        ],
    )
    def test_type(self, tmp_path, name, dtype, match):
        values = np.ones((3, 4), dtype=dtype)
        if dtype is bool:
            Image.fromarray(values).save(tmp_path / name)
        else:
            cv2.imwrite(str(tmp_path / name), values)
        with pytest.raises(ValueError, match=match):
            read_label_map(tmp_path / name)

    def test_missing(self, tmp_path):
        match = r'label map .*a\.png does not exist; check data_prefix\["seg_map_path"\]'
        with pytest.raises(FileNotFoundError, match=match):
            read_label_map(tmp_path / 'a.png')

    @pytest.mark.parametrize('content', [b'', b'text', b'\x89PNG\r\n\x1a\n'])
    def test_damaged(self, tmp_path, content):
        (tmp_path / 'a.png').write_bytes(content)
        with pytest.raises(ValueError, match=r'^label map .*a\.png .*; get it again$'):
            read_label_map(tmp_path / 'a.png')

    def test_backend(self, tmp_path):
        with pytest.raises(KeyError, match='nowhere'):
            read_label_map(tmp_path / 'a.png', backend_args={'backend': 'nowhere'})


class TestTable:
    @pytest.mark.parametrize('reduce', [False, True])
    @pytest.mark.parametrize('label_map', [None, {0: 1, 1: 255, 2: 0}, {i: i for i in range(254)}])
    def test_against_brute_force(self, reduce, label_map):
        table = lookup_table(label_map, reduce_zero_label=reduce)
        assert table.shape == (256,)
        known = {i: i for i in range(255)} if label_map is None else label_map
        for value in range(256):
            label = value - reduce
            ignored = value == 255 or label < 0
            assert table[value] == (255 if ignored else known.get(label, -1))

    def test_ignored_stays_ignored(self):
        everything = {label: label for label in range(255)}
        assert lookup_table(everything, reduce_zero_label=False)[255] == 255

    def test_present_values(self):
        rng = np.random.default_rng(0)
        values = rng.choice([0, 7, 100, 255], (30, 40)).astype(np.uint8)[::2, 3:]
        assert present_values(values).tolist() == np.unique(values).tolist()
        assert present_values(values.T).tolist() == np.unique(values).tolist()

    @pytest.mark.parametrize(
        ('reduce', 'match'),
        [
            (False, r'map m\.png: expected labels from 0 to 2 and 255, got \[3, 9\]'),
            (True, r'map m\.png: expected labels from 0 to 3 and 255, got \[9\]'),
        ],
    )
    def test_unknown(self, reduce, match):
        table = lookup_table({0: 0, 1: 255, 2: 1}, reduce_zero_label=reduce)
        check_values('m.png', np.array([0, 2, 255]), table)
        with pytest.raises(ValueError, match=match):
            check_values('m.png', np.array([0, 2, 3, 9, 255]), table)
