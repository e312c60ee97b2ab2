import json
import shutil
import zipfile

import numpy as np
import pytest
from downloads import photo, save

from mmcomformer.dataset_converters.coco_panoptic import convert_coco_panoptic


def convert(root, **kwargs):
    return convert_coco_panoptic(root, workers=1, **kwargs)


def pack(root, split='train2017'):
    """Put the PNGs of a split into the zip file in which they are downloaded."""
    folder = root / 'annotations' / f'panoptic_{split}'
    with zipfile.ZipFile(folder.with_suffix('.zip'), 'w') as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, f'{folder.name}/{path.name}')
    shutil.rmtree(folder)
    return folder


def test_valid(coco):
    before = sorted(path for path in coco.rglob('*'))
    reports = convert(coco)
    assert [report.faults for report in reports] == [[], []]
    assert [report.num_images for report in reports] == [2, 2]
    assert 'the set as published has 118287 images' in '\n'.join(reports[0].lines())
    assert sorted(coco.rglob('*')) == before


def test_zip(coco):
    originals = {
        path.name: path.read_bytes()
        for path in (coco / 'annotations' / 'panoptic_train2017').iterdir()
    }
    folder = pack(coco)
    report = convert(coco, check=True)[0]
    assert report.usable
    assert 'has to be unpacked for training' in report.outputs[0]
    assert not folder.exists()

    report = convert(coco)[0]
    assert (report.usable, report.num_written, report.num_reused) == (True, 2, 0)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == originals

    # the one that is incomplete is written again
    first, second = sorted(folder.iterdir())
    first.write_bytes(b'of the user')
    with pytest.raises(FileExistsError, match=f'{first.name} exists, and was not written by'):
        convert(coco)
    assert first.read_bytes() == b'of the user'
    convert(coco, overwrite=True)
    assert first.read_bytes() == originals[first.name]
    first.write_bytes(originals[first.name][:20])
    status = second.stat()
    report = convert(coco)[0]
    assert (report.num_written, report.num_reused) == (1, 1)
    assert first.read_bytes() == originals[first.name]
    assert second.stat().st_mtime_ns == status.st_mtime_ns


def test_damaged_zip(coco):
    archive = pack(coco).with_suffix('.zip')
    content = archive.read_bytes()
    archive.write_bytes(content[:100])
    with pytest.raises(ValueError, match='panoptic_train2017.zip is damaged'):
        convert(coco)
    position = content.index(b'IDAT') + 6
    archive.write_bytes(content[:position] + b'\x00\xff\x00' + content[position + 3 :])
    with pytest.raises(ValueError, match='panoptic_train2017.zip is damaged'):
        convert(coco)
    shutil.rmtree(archive.with_suffix(''))
    (fault,) = convert(coco, check=True)[0].faults
    assert 'panoptic_train2017.zip is damaged at 000000000004.png' in fault


def test_faults(coco):
    path = coco / 'annotations' / 'panoptic_val2017.json'
    content = json.loads(path.read_text())
    content['categories'][0]['name'] = 'human'
    first, second = content['annotations']
    first['segments_info'][0]['area'] = 63
    first['segments_info'][1]['category_id'] = 999
    second['segments_info'][0]['id'] = 70001
    path.write_text(json.dumps(content))
    photo(coco / 'val2017' / '000000000009.jpg', height=5)
    (coco / 'train2017' / '000000000004.jpg').unlink()
    save(coco / 'annotations' / 'panoptic_train2017' / '000000000009.png', np.eye(3, dtype='u1'))
    train, val = convert(coco)
    assert train.faults == [
        f'{coco}/train2017/000000000004.jpg does not exist',
        f'{coco}/annotations/panoptic_train2017/000000000009.png: expected a picture of 3 '
        f'channel(s) with labels, got 1 channel(s) of mode L',
    ]
    assert "('human', 1)" in val.faults[0]
    assert val.faults[1:] == [
        '000000000004.png: segment 70000 has 64 pixels and the area 63',
        '000000000004.png: segment 5 has the unknown category 999',
        '000000000009.jpg has 5 x 16 pixels and the annotation says 12 x 16 (height x width)',
        '000000000009.png: 1 segment ids are only in the PNG, such as 70000',
        '000000000009.png: 1 segment ids are only in the annotation, such as 70001',
    ]


@pytest.mark.parametrize('name', ['val2017', 'annotations/panoptic_train2017'])
def test_layout(coco, name):
    shutil.rmtree(coco / name)
    with pytest.raises(FileNotFoundError, match=f'(?s){name} does not exist.*panoptic_train2017.z'):
        convert(coco)


def test_unknown_split(coco):
    with pytest.raises(ValueError, match="got \\['test2017'\\]"):
        convert(coco, splits=['test2017'])
