import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from mmcomformer.datasets.label_maps import (
    check_palette,
    check_values,
    colours_of,
    lookup_table,
    present_values,
    read_coded_map,
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
        ],
    )
    def test_type(self, tmp_path, name, dtype, match):
        values = np.ones((3, 4), dtype=dtype)
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


def save_grey(path, values, bits):
    """Write a PNG of grey values of 1, 2, 4 or 8 bits."""
    rows = [np.unpackbits(row[:, None], axis=1)[:, 8 - bits :].ravel() for row in values]
    data = b''.join(b'\0' + np.packbits(row).tobytes() for row in rows)
    height, width = values.shape
    header = struct.pack('>IIBBBBB', width, height, bits, 0, 0, 0, 0)
    chunks = [(b'IHDR', header), (b'IDAT', zlib.compress(data)), (b'IEND', b'')]
    content = b''.join(
        struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))
        for kind, body in chunks
    )
    path.write_bytes(b'\x89PNG\r\n\x1a\n' + content)


class TestAsStored:
    @pytest.mark.parametrize('bits', [1, 2, 4, 8])
    def test_grey(self, tmp_path, bits):
        values = (np.arange(26).reshape(2, 13) % 2**bits).astype(np.uint8)
        save_grey(tmp_path / 'a.png', values, bits)
        found = read_label_map(tmp_path / 'a.png')
        assert found.dtype == np.uint8
        assert np.array_equal(found, values)

    @pytest.mark.parametrize('bits', [1, 2, 4, 8])
    def test_palette(self, tmp_path, bits):
        values = (np.arange(26).reshape(2, 13) % 2**bits).astype(np.uint8)
        image = Image.fromarray(values)
        image.putpalette([9, 8, 7] * 2**bits)
        image.save(tmp_path / 'a.png', bits=bits)
        assert np.array_equal(read_label_map(tmp_path / 'a.png'), values)

    def test_tiff(self, tmp_path):
        values = np.arange(12, dtype=np.uint8).reshape(3, 4)
        Image.fromarray(values).save(tmp_path / 'a.tif', compression='tiff_lzw')
        assert np.array_equal(read_label_map(tmp_path / 'a.tif'), values)

    @pytest.mark.parametrize(
        ('name', 'options'),
        [
            ('a.jpg', {}),
            ('a.jpg', {'quality': 100}),
            ('a.jp2', {}),
            ('a.tif', {'compression': 'jpeg'}),
            ('hidden.png', {'format': 'JPEG'}),
        ],
    )
    def test_lossy(self, tmp_path, name, options):
        Image.fromarray(np.zeros((16, 16), np.uint8)).save(tmp_path / name, **options)
        with pytest.raises(ValueError, match=rf'{name} is in a lossy format .* as PNG$'):
            read_label_map(tmp_path / name)

    def test_white_is_zero(self, tmp_path):
        image = Image.fromarray(np.zeros((16, 16), np.uint8))
        image.save(tmp_path / 'a.tif', tiffinfo={262: 0})
        with pytest.raises(ValueError, match=r'a.tif is a TIFF in which 0 is white'):
            read_label_map(tmp_path / 'a.tif')


class TestPalette:
    TABLE = lookup_table({i: i for i in range(4)}, reduce_zero_label=False)

    @pytest.mark.parametrize(
        ('colours', 'doubtful'),
        [
            ({0: (0, 0, 0), 1: (1, 1, 1)}, False),
            ({0: (2, 2, 2), 1: (1, 1, 1)}, True),
            # unlabelled pixels first
            ({0: (255, 255, 255), 1: (1, 1, 1)}, True),
            # greys to look at, which are no labels
            ({0: (0, 0, 0), 1: (85, 85, 85), 2: (170, 170, 170)}, False),
            ({0: (0, 0, 0), 1: (128, 0, 0)}, False),
        ],
    )
    def test_doubt(self, colours, doubtful):
        palette = bytes(value for index in range(3) for value in colours.get(index, (7, 7, 7)))
        present = np.array(list(colours))
        if not doubtful:
            check_palette('a.png', present, palette, self.TABLE)
            return
        match = r'a.png: its palette holds greys in another order than their values \(grey \d+ at'
        with pytest.raises(ValueError, match=match):
            check_palette('a.png', present, palette, self.TABLE)

    def test_read(self, tmp_path):
        image = Image.fromarray(np.array([[0, 1]], dtype=np.uint8))
        image.putpalette([3, 3, 3, 9, 8, 7])
        image.save(tmp_path / 'a.png')
        values, palette = read_coded_map(tmp_path / 'a.png')
        assert colours_of(np.unique(values), palette) == {0: (3, 3, 3), 1: (9, 8, 7)}


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
