import json

import numpy as np
import pytest
from downloads import HEIGHT, WIDTH, annotation_of, as_categories, photo, save
from mmengine.config import Config
from mmengine.registry import DATASETS
from PIL import Image

from mmcomformer.dataset_converters.ade20k import (
    THING_LABELS,
    ade20k_categories,
    ade20k_panoptic,
    convert_ade20k,
)

NAMES = {category['name']: category['id'] for category in ade20k_categories()}
WALL, SKY, CAR, BED = (NAMES[name] for name in ('wall', 'sky', 'car', 'bed'))


def convert(root, **kwargs):
    return convert_ade20k(root, workers=1, **kwargs)


def test_every_pixel(ade):
    reports = convert(ade)
    assert all(report.usable for report in reports)
    assert [report.num_images for report in reports] == [3, 1]
    content = json.loads((ade / 'ade20k_panoptic_train.json').read_text())
    assert [image['file_name'] for image in content['images']] == [
        f'ADE_training_{index}.jpg' for index in range(3)
    ]
    annotation = annotation_of(content, 'ADE_training_1')
    found = as_categories(
        ade / 'ade20k_panoptic_train' / annotation['file_name'], annotation['segments_info']
    )
    expected = np.full((HEIGHT, WIDTH), None, dtype=object)

    def fill(rows, columns, name):
        for row in range(*rows):
            for column in range(*columns):
                expected[row, column] = name

    fill((1, 6), (0, WIDTH), (SKY, 0, 0))
    fill((6, 11), (0, WIDTH), (WALL, 0, 0))
    fill((10, 11), (2, 6), None)
    fill((4, 8), (0, 3), (CAR, 0, 0))
    fill((4, 8), (3, 6), (CAR, 1, 0))
    fill((7, 11), (8, 13), (BED, 0, 0))
    assert (found == expected).all()
    notes = reports[0].notes
    assert sum(notes['stuff wholly under things, left out'].values()) == 3
    assert notes['pixels of thing classes without an instance, now VOID'] == {
        f'ADE_training_{index}.jpg': 4 for index in range(3)
    }


@pytest.mark.families
def test_categories_agree_with_the_scenarios(repo_root):
    """Each semantic label becomes the class at that place of SceneParse150's order."""
    config = Config.fromfile(repo_root / 'configs' / '_base_' / 'scenarios' / 'ade20k_classes.py')
    order, things = config.class_order, config.thing_classes
    assert [order[label - 1] for label in THING_LABELS] == things
    blank = np.zeros((1, 150, 3), np.uint8)
    labels = np.arange(1, 151, dtype=np.uint8)[None]
    panoptic = ade20k_panoptic(labels, blank)
    names = {category['id']: category['name'] for category in ade20k_categories()}
    found = [names[segment['category_id']] for segment in panoptic.segments_info]
    assert found == [name for name in order if name not in things]
    # every instance category, each as one pixel
    blank[0, :100, 0] = blank[0, :100, 1] = np.arange(1, 101)
    panoptic = ade20k_panoptic(np.zeros_like(labels), blank)
    assert [names[segment['category_id']] for segment in panoptic.segments_info] == things


@pytest.mark.families
@pytest.mark.usefixtures('mmdet_scope')
def test_loads_with_the_config(ade, repo_root, tmp_path):
    convert(ade)
    config = Config.fromfile(repo_root / 'configs' / 'comformer_ade_100-50.py')
    dataset = config.val_dataloader.dataset
    dataset.scenario, dataset.dataset.data_root = config.scenario, str(ade)
    built = DATASETS.build(dataset)
    assert len(built) == 1
    names = sorted(
        built.metainfo['classes'][s['label']] for s in built.get_data_info(0)['segments']
    )
    assert names == ['bed', 'car', 'car', 'sky', 'wall']
    assert built[0]['data_samples'].gt_panoptic_seg is not None
    # mmdet's own reading finds the same labels
    inner = DATASETS.build({**dataset.dataset, 'pipeline': [], 'test_mode': True})
    labels = [segment['category'] for segment in inner.get_data_info(0)['segments_info']]
    assert sorted(inner.metainfo['classes'][label] for label in labels) == names


def test_shifted_semantic(ade):
    convert(ade, shifted_semantic=True)
    before = np.asarray(Image.open(ade / 'annotations' / 'validation' / 'ADE_validation_0.png'))
    path = ade / 'annotations_sem' / 'validation' / 'ADE_validation_0.png'
    after = np.asarray(Image.open(path))
    assert after.dtype == np.uint8
    assert (after == np.where(before == 0, 255, before.astype(int) - 1)).all()
    assert all(report.usable for report in convert(ade, shifted_semantic=True, check=True))
    save(path, np.full((HEIGHT, WIDTH), 200, np.uint8))
    report = convert(ade, shifted_semantic=True, check=True)[-1]
    assert report.faults == [f'{path}: expected labels from 0 to 149, or 255, got [200]']


class TestFaults:
    @pytest.mark.parametrize(
        'folder',
        ['images/training', 'annotations/validation', 'annotations_instance/training'],
    )
    def test_layout(self, ade, folder):
        (ade / folder).rename(ade / 'elsewhere')
        with pytest.raises(FileNotFoundError, match=f'(?s){folder} does not exist.*ROOT/.*images'):
            convert(ade)

    def test_no_image(self, ade):
        for path in (ade / 'images' / 'training').iterdir():
            path.unlink()
        with pytest.raises(FileNotFoundError, match=r'images/training has no \*.jpg'):
            convert(ade)

    def faults(self, ade):
        json_path = ade / 'ade20k_panoptic_train.json'
        report = convert(ade)[0]
        assert not report.usable
        assert not json_path.exists()
        assert convert(ade, skip_faulty=True)[0].usable
        assert len(json.loads(json_path.read_text())['images']) == 3 - len(report.faults)
        return report.faults

    def test_missing_labels(self, ade):
        path = ade / 'annotations_instance' / 'training' / 'ADE_training_2.png'
        path.unlink()
        assert self.faults(ade) == [f'{path} does not exist']

    def test_sizes_differ(self, ade):
        photo(ade / 'images' / 'training' / 'ADE_training_0.jpg', height=HEIGHT + 1)
        (fault,) = self.faults(ade)
        assert 'annotations/training/ADE_training_0.png has 12 x 16 pixels' in fault
        assert 'its image has 13 x 16' in fault

    def test_values(self, ade):
        semantic = np.full((HEIGHT, WIDTH), 151, np.uint8)
        save(ade / 'annotations' / 'training' / 'ADE_training_0.png', semantic)
        instances = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        instances[0, 0] = 101, 3, 0
        save(ade / 'annotations_instance' / 'training' / 'ADE_training_1.png', instances)
        first, second = self.faults(ade)
        assert 'annotations/training/ADE_training_0.png: expected labels from 0 to 150' in first
        assert 'got [151]' in first
        assert 'annotations_instance/training/ADE_training_1.png: ' in second
        assert 'instance categories from 1 to 100, got [101]' in second

    def test_instance_of_two_categories(self, ade):
        path = ade / 'annotations_instance' / 'training' / 'ADE_training_1.png'
        instances = np.asarray(Image.open(path)).copy()
        instances[4, 0, 0] = 8
        save(path, instances)
        assert self.faults(ade) == [f'{path}: instance 1 has more than one category']

    def test_damaged(self, ade):
        path = ade / 'annotations' / 'training' / 'ADE_training_1.png'
        path.write_bytes(path.read_bytes()[:40])
        (fault,) = self.faults(ade)
        assert f'{path}' in fault
        assert 'get it again' in fault


class TestCheck:
    def test_nothing_there(self, ade):
        reports = convert(ade, check=True)
        assert 'ade20k_panoptic_train.json does not exist' in reports[0].faults[0]
        assert not list(ade.glob('ade20k*'))

    def test_faults(self, ade):
        convert(ade)
        assert all(report.usable for report in convert(ade, check=True))
        folder = ade / 'ade20k_panoptic_train'
        (folder / 'ADE_training_0.png').unlink()
        save(folder / 'ADE_training_1.png', np.ones((HEIGHT, WIDTH, 3), np.uint8))
        content = json.loads((ade / 'ade20k_panoptic_train.json').read_text())
        content['annotations'][2]['segments_info'][0]['area'] += 1
        del content['categories'][0]
        (ade / 'ade20k_panoptic_train.json').write_text(json.dumps(content))
        text = '\n'.join(convert(ade, check=True)[0].faults)
        assert 'segment ids are only in the PNG, such as 65793' in text
        assert '5 segment ids are only in the annotation' in text
        assert 'pixels and the area' in text
        assert "categories (id, name, isthing) differ from those of the dataset: [(0, 'bed'" in text
        del content['images'][0]
        (ade / 'ade20k_panoptic_train.json').write_text(json.dumps(content))
        (fault,) = convert(ade, check=True)[0].faults
        assert "the image id 'ADE_training_0' (a string) is not listed in images" in fault
