"""ADE20K's instances as a COCO file."""

import json

import numpy as np
import pytest
from downloads import HEIGHT, WIDTH, save
from mmdet.datasets import ADE20KInstanceDataset

from mmcomformer.dataset_converters.ade20k import THING_LABELS
from mmcomformer.dataset_converters.ade20k_instances import (
    INSTANCE_CLASSES,
    convert_ade20k_instances,
)
from mmcomformer.datasets.coco_masks import decode_mask
from mmcomformer.datasets.png import read_labels

CATEGORY = {name: i for i, name in enumerate(INSTANCE_CLASSES, start=1)}


def convert(root, **kwargs):
    return convert_ade20k_instances(root, workers=1, **kwargs)


@pytest.mark.families
def test_classes_are_those_of_mmdet():
    assert tuple(ADE20KInstanceDataset.METAINFO['classes']) == INSTANCE_CLASSES
    assert len(INSTANCE_CLASSES) == len(THING_LABELS) == 100


def test_every_instance(ade):
    reports = convert(ade)
    assert all(report.usable for report in reports)
    content = json.loads((ade / 'ade20k_instance_train.json').read_text())
    assert [image['file_name'] for image in content['images']] == [
        f'ADE_training_{index}.jpg' for index in range(3)
    ]
    assert [entry['name'] for entry in content['categories']] == list(INSTANCE_CLASSES)
    image = content['images'][1]
    labels = read_labels(
        ade / 'annotations_instance' / 'training' / 'ADE_training_1.png', channels=3
    )
    found = [entry for entry in content['annotations'] if entry['image_id'] == image['id']]
    assert sorted(entry['category_id'] for entry in found) == sorted(
        [CATEGORY['car'], CATEGORY['car'], CATEGORY['bed']]
    )
    union = np.zeros((HEIGHT, WIDTH), dtype=int)
    for entry in found:
        mask = decode_mask(entry['segmentation'], (HEIGHT, WIDTH))
        assert set(labels[..., 0][mask]) == {entry['category_id']}
        assert len(set(labels[..., 1][mask])) == 1
        assert entry['area'] == mask.sum()
        union += mask
    assert (union == (labels[..., 1] > 0)).all()
    ids = [entry['id'] for entry in content['annotations']]
    assert ids == list(range(1, len(ids) + 1))


def test_faults(ade):
    path = ade / 'annotations_instance' / 'training' / 'ADE_training_1.png'
    instances = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    instances[:2, :2] = (101, 1, 0)
    save(path, instances)
    (ade / 'annotations_instance' / 'training' / 'ADE_training_2.png').unlink()
    reports = convert(ade)
    assert len(reports[0].faults) == 2
    assert f'{path}: expected instance categories from 1 to 100, got [101]' in reports[0].faults
    assert not reports[0].usable
    assert not (ade / 'ade20k_instance_train.json').exists()
    reports = convert(ade, skip_faulty=True)
    content = json.loads((ade / 'ade20k_instance_train.json').read_text())
    assert [image['file_name'] for image in content['images']] == ['ADE_training_0.jpg']
    assert reports[0].usable


def test_files_of_a_user_stay(ade):
    path = ade / 'ade20k_instance_val.json'
    path.write_text('mine')
    with pytest.raises(FileExistsError, match='ade20k_instance_val.json exists, and was not'):
        convert(ade)
    assert path.read_text() == 'mine'
    assert not (ade / 'ade20k_instance_train.json').exists()
    convert(ade, overwrite=True)
    convert(ade)
