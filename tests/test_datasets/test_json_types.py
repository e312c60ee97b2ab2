"""Types in annotation files, and files that are no JSON in UTF-8."""

import json
import re

import pytest

from mmcomformer.datasets import json_types
from mmcomformer.datasets.json_types import (
    CATEGORY,
    IMAGE,
    INSTANCE,
    SEGMENT,
    check_records,
    described,
    read_json,
    read_sections,
)

GOOD = {
    'image': (IMAGE, {'id': 1, 'file_name': 'a.jpg', 'height': 3, 'width': 4}),
    'category': (CATEGORY, {'id': 0, 'name': 'cat', 'isthing': 1}),
    'instance': (INSTANCE, {'id': 1, 'image_id': 1, 'category_id': 1, 'iscrowd': 0}),
    'segment': (SEGMENT, {'id': 1, 'category_id': 1, 'iscrowd': 0, 'area': 7}),
}
WRONG = {
    'image': {
        'id': [None, 1.0, [1], {}, True],
        'file_name': [None, 5, '', '  ', ['a.jpg'], {'name': 'a.jpg'}],
        'height': ['480', None, 480.0, 0, -3, True, [480]],
        'width': ['640', 0],
    },
    'category': {
        'id': ['1', 1.0, None, True], 'name': [7, None, '', ['cat']],
        'isthing': ['1', None, 2, 1.0, 'true'],
    },
    'instance': {
        'id': [None, 1.5, []], 'image_id': [None, 1.0, [1], True],
        'category_id': ['1', None, 1.0, True, [1]], 'iscrowd': ['0', '1', None, 2, -1, 0.0, [0]],
    },
    'segment': {
        'id': ['7', 0, -1, 2**24, 1.0, None, True], 'category_id': ['1', None, 1.0, True],
        'iscrowd': ['0', None, 2], 'area': ['7', None, -1, float('nan'), [7]],
    },
}  # fmt: skip
CASES = [(name, key, value) for name, keys in WRONG.items() for key in keys for value in keys[key]]


@pytest.mark.parametrize(('name', 'key', 'value'), CASES)
def test_wrong_values(name, key, value):
    table, good = GOOD[name]
    records = [good, {**good, key: value}, good]
    message = f'entry 1: {key}: expected {table[key].words}, got {described(value)}'
    with pytest.raises(ValueError, match=f'^{re.escape(message)}'):
        check_records(records, table, 'entry {}'.format)


@pytest.mark.parametrize('name', GOOD)
def test_right_values(name):
    table, good = GOOD[name]
    columns = check_records([good, dict(good)], table, str)
    required = {key: [good[key]] * 2 for key, kind in table.items() if kind.required}
    assert columns == required
    assert check_records([], table, str) == {key: [] for key in required}


def test_other_right_values():
    check_records([{**GOOD['image'][1], 'id': 'x'}], IMAGE, str)
    check_records([{'id': 1, 'category_id': 1}], SEGMENT, str)
    check_records([{**GOOD['segment'][1], 'iscrowd': True, 'area': 7.5}], SEGMENT, str)


@pytest.mark.parametrize('record', [None, 5, 'image', ['a'], []])
def test_no_object(record):
    with pytest.raises(ValueError, match='^1: expected an object, got'):
        check_records([GOOD['image'][1], record], IMAGE, str)
    with pytest.raises(ValueError, match='^1: expected an object, got'):
        check_records([{}, record], {'iscrowd': INSTANCE['iscrowd']}, str)


def test_missing_key():
    with pytest.raises(ValueError, match=r"^0: 'width' is missing in .*; expected a positive"):
        check_records([{'id': 1, 'file_name': 'a', 'height': 3}], IMAGE, str)


@pytest.mark.parametrize('mark', [b'', b'\xef\xbb\xbf'])
def test_byte_order_mark(tmp_path, mark):
    path = tmp_path / 'a.json'
    path.write_bytes(mark + '{"images": ["ä"]}'.encode())
    assert read_sections(path, ['images'], expected='x') == {'images': ['ä']}


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('{}'.encode('utf-16'), 'is in UTF-16; save it as UTF-8'),
        ('{}'.encode('utf-16-le'), 'is in UTF-16'),
        ('[]'.encode('utf-16-be'), 'is in UTF-16'),
        ('{"a": "ä"}'.encode('latin-1'), r'is not in UTF-8 \(byte 7\); save it as UTF-8'),
        (b'\x1f\x8b\x08', r'is compressed; unpack it \(gunzip\)'),
        (b'PK\x03\x04', 'is a zip file'),
        (b'version https://git-lfs.github.com/spec/v1\n', 'is a pointer of Git LFS'),
        (b'', 'is not JSON .*; expected annotations'),
        (b'{"a": 1,}', 'is not JSON'),
        (b'[' * 200_000, 'is nested too deeply|is not JSON'),
        (b'{"a":' * 100_000, 'is nested too deeply'),
        (b'[' + b'9' * 5000 + b']', 'is not JSON|Exceeds the limit'),
    ],
)
def test_not_readable(tmp_path, content, message):
    path = tmp_path / 'a.json'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf'annotation file .*a\.json {message}'):
        read_json(path)


def test_missing_and_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'annotation file .*no.json does not exist; check'):
        read_json(tmp_path / 'no.json')
    with pytest.raises(ValueError, match='this is a folder; expected annotations'):
        read_json(tmp_path)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ([1], r'an object with the lists images, got \[1\] \(a list\)'),
        (None, 'got null'),
        ({'images': None}, "has no list 'images', got null"),
        ({'images': {}}, r"has no list 'images', got {} \(an object\)"),
        ({}, "has no list 'images', got nothing"),
    ],
)
def test_sections(tmp_path, content, message):
    (tmp_path / 'a.json').write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        read_sections(tmp_path / 'a.json', ['images'], expected='x')


def test_larger_than_the_memory(tmp_path, monkeypatch):
    path = tmp_path / 'a.json'
    path.write_text('{}' + ' ' * 98)
    monkeypatch.setattr(json_types, '_LARGE', 100)
    monkeypatch.setattr(json_types, 'free_memory', lambda: 400)
    assert read_json(path) == {}
    monkeypatch.setattr(json_types, 'free_memory', lambda: 399)
    with pytest.raises(ValueError, match=r'a\.json has 0\.0 GB, and reading it takes more .*split'):
        read_json(path)


def test_free_memory():
    assert json_types.free_memory() > 1 << 20
