"""The check of a dataset with label maps: what it counts, and what it finds wrong."""

import json
import re
import shutil

import cv2
import numpy as np
import pytest
from mmengine.registry import DATASETS, DefaultScope
from PIL import ExifTags, Image

from mmcomformer.datasets.check_report import format_report
from mmcomformer.datasets.checking import check_scenario
from mmcomformer.datasets.file_checks import LabelledImage, check_labelled_image
from mmcomformer.datasets.label_maps import lookup_table

pytestmark = pytest.mark.families

CLASSES = ['wall', 'sky', 'tree', 'cat']
SCENARIO = dict(increments=[2, 1, 1], stuff_classes=CLASSES)
VOID = 255


@pytest.fixture(autouse=True)
def mmseg_scope():
    with DefaultScope.overwrite_default_scope('mmseg'):
        yield


class Data:
    """Images of 6 x 8 pixels whose columns have one label each."""

    MAPS = {
        'train': {'a': [0, 0, 1, VOID], 'b': [1, 2, 2, 2], 'c': [3, 3, VOID, 0]},
        'val': {'d': [0, 1, 2, 3]},
    }

    def __init__(self, root, offset=0):
        self.root = root
        rng = np.random.default_rng(0)
        for split, maps in self.MAPS.items():
            for name, columns in maps.items():
                (root / split).mkdir(parents=True, exist_ok=True)
                (root / f'{split}_maps').mkdir(exist_ok=True)
                image = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
                cv2.imwrite(str(root / split / f'{name}.jpg'), image)
                labels = [label if label == VOID else label + offset for label in columns]
                self.write(split, name, np.tile(np.repeat(labels, 2), (6, 1)))

    def map_path(self, name, split='train'):
        return self.root / f'{split}_maps' / f'{name}.png'

    def image_path(self, name, split='train'):
        return self.root / split / f'{name}.jpg'

    def write(self, split, name, label_map):
        cv2.imwrite(str(self.map_path(name, split)), np.asarray(label_map, np.uint8))

    def configs(self, scenario=SCENARIO, **inner):
        """Return the configs of the training set at each step, and of the validation set."""

        def config(split, **changes):
            return dict(
                type='IncrementalDataset',
                dataset=dict(
                    type='BaseSegDataset',
                    data_root=str(self.root),
                    data_prefix=dict(img_path=split, seg_map_path=f'{split}_maps'),
                    metainfo=dict(classes=CLASSES),
                    **inner,
                ),
                pipeline=[
                    dict(type='LoadImageFromFile'),
                    dict(type='LoadSemanticMap'),
                    dict(type='PackSemanticInputs'),
                ],
                **changes,
            )

        count = len(scenario['increments'])
        steps = [config('train', scenario={**scenario, 'step': step}) for step in range(count)]
        return steps, {'val': config('val', scenario=dict(scenario), test_mode=True)}

    def check(self, scenario=SCENARIO, *, workers=1, **inner):
        return check_scenario(*self.configs(scenario, **inner), workers=workers)

    def train(self):
        """Read every image of every step and of validation, as a training would."""
        steps, evaluation = self.configs()
        for config in [*steps, evaluation['val']]:
            dataset = DATASETS.build(config)
            for index in range(len(dataset)):
                dataset[index]


@pytest.fixture
def data(tmp_path):
    return Data(tmp_path / 'set')


def kinds(findings):
    return {finding.kind for finding in findings}


class TestSoundData:
    def test_counts(self, data):
        report = data.check()
        assert report.findings == []
        data.train()
        assert [step['images'] for step in report.steps] == [3, 1, 1]
        first = report.steps[0]['classes']
        # two columns of six pixels for each label; wall in a (twice) and c, sky in a and b
        assert first == {
            'wall': {'images': 2, 'segments': 2, 'pixels': 36, 'crowds': 0},
            'sky': {'images': 2, 'segments': 2, 'pixels': 24, 'crowds': 0},
        }
        assert list(report.steps[2]['classes']) == ['cat']
        assert report.datasets['train']['classes']['tree']['pixels'] == 36
        assert report.datasets['val']['segments'] == 4
        assert report.datasets['val']['smallest_size'] == (6, 8)

    def test_images_of_a_step_are_those_of_the_dataset(self, data):
        for setting in ('overlap', 'disjoint', 'sequential', 'partitioned'):
            scenario = {**SCENARIO, 'setting': setting, 'increments': [2, 2]}
            expected = [len(DATASETS.build(config)) for config in data.configs(scenario)[0]]
            assert [step['images'] for step in data.check(scenario).steps] == expected

    def test_memory(self, data):
        memory = {'type': 'ClassProportionalMemory', 'size': 2}
        steps, evaluation = data.configs()
        steps = [{**config, 'memory': memory} for config in steps]
        datasets = [DATASETS.build(config) for config in steps]
        report = check_scenario(steps, evaluation, workers=1)
        told = [(step['images'], step['memory']['images']) for step in report.steps]
        assert told == [
            (len(dataset) - dataset.num_from_memory, dataset.num_from_memory)
            for dataset in datasets
        ]
        assert [stored for _, stored in told] == [0, 2, 2]
        assert list(report.steps[1]['memory']['classes']) == ['wall', 'sky']
        assert report.steps[1]['memory']['segments'] > 0

    def test_processes_give_the_same(self, data):
        alone, shared = (data.check(workers=workers).to_dict() for workers in (1, 2))
        assert json.dumps(shared) == json.dumps(alone)

    def test_text(self, data):
        text = format_report(data.check())
        assert 'step 0 (overlap): 3 images, 4 segments, 6x8 pixels' in text
        assert text.endswith('training can start')

    def test_background_is_not_trained_on_but_evaluated(self, data):
        scenario = dict(increments=[2, 1], stuff_classes=CLASSES, background='wall')
        report = data.check(scenario)
        assert [list(step['classes']) for step in report.steps] == [['sky', 'tree'], ['cat']]
        assert report.steps[1]['segments'] == 1
        assert report.datasets['val']['classes']['wall']['images'] == 1
        assert report.faults == []


def grow(data):
    data.write('train', 'a', np.zeros((6, 10)))


def in_colour(data):
    data.write('train', 'a', np.zeros((6, 8, 3)))


def unknown(data):
    data.write('train', 'a', np.full((6, 8), 9))


# what is wrong, the kind of finding, and a part of its message
FAULTS = {
    'map missing': (lambda x: x.map_path('a').unlink(), 'missing file', 'a.png does not exist'),
    'map truncated': (
        lambda x: x.map_path('a').write_bytes(x.map_path('a').read_bytes()[:40]),
        'unreadable label map',
        'a.png',
    ),
    'map in colour': (in_colour, 'unreadable label map', 'a.png'),
    'map of another size': (grow, 'sizes differ', 'its size is 6x10 .*a.jpg has 6x8'),
    'unknown label': (unknown, 'unknown labels', r'labels from 0 to 3 and 255, got \[9\]'),
    'image unreadable': (
        lambda x: x.image_path('a').write_bytes(b'no image'),
        'unreadable file',
        'cannot be decoded',
    ),
    'no images': (
        lambda x: shutil.rmtree(x.root / 'train'), 'annotation file', 'train does not exist',
    ),
    'validation map missing': (
        lambda x: x.map_path('d', 'val').unlink(), 'missing file', 'd.png does not exist',
    ),
}  # fmt: skip


def in_jpeg(data):
    path = data.map_path('a')
    Image.fromarray(np.zeros((6, 8), np.uint8)).save(path, format='JPEG')


def with_palette(data, palette, name='a'):
    image = Image.fromarray(np.tile(np.uint8([0, 0, 1, 1, 2, 2, 0, 0]), (6, 1)))
    image.putpalette(palette)
    image.save(data.map_path(name))


FAULTS |= {
    'map in a lossy format': (in_jpeg, 'unreadable label map', 'a.png is in a lossy format'),
    'greys in another order': (
        lambda x: with_palette(x, [2, 2, 2, 0, 0, 0, 1, 1, 1]),
        'palette in doubt',
        'a.png: its palette holds greys in another order than their values',
    ),
}


class TestWarnings:
    def test_a_palette_for_each_file(self, data):
        with_palette(data, [0, 0, 0, 200, 0, 0, 0, 200, 0], 'a')
        with_palette(data, [0, 0, 0, 0, 200, 0, 200, 0, 0], 'b')
        (warning,) = data.check().warnings
        assert warning.kind == 'palettes differ'
        assert warning.message.startswith('1 label maps have another colour for a value')
        assert '1 is (200, 0, 0) in' in warning.message

    def test_one_palette_for_all(self, data):
        """Colours of classes that a file does not show do not matter."""
        with_palette(data, [0, 0, 0, 200, 0, 0, 0, 200, 0, 9, 9, 9], 'a')
        with_palette(data, [0, 0, 0, 200, 0, 0, 0, 200, 0, 8, 8, 8], 'b')
        assert 'palettes differ' not in kinds(data.check().warnings)

    @pytest.mark.parametrize(
        ('orientation', 'warned'), [(1, False), (2, True), (3, True), (4, True), (0, False)]
    )
    @pytest.mark.parametrize('kind', ['JPEG', 'WEBP'])
    def test_turned_pictures(self, data, orientation, warned, kind):
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        path = data.image_path('a')
        with Image.open(path) as image:
            image.convert('RGB').save(path, format=kind, exif=exif)
        stored = np.asarray(Image.open(path).convert('RGB'))
        loaded = cv2.imread(str(path))[..., ::-1]
        # OpenCV of some versions does not turn WebP
        turned = abs(stored.astype(int) - loaded).max() > 30
        assert turned == warned or kind == 'WEBP'
        found = [x for x in data.check().warnings if x.kind == 'EXIF orientation']
        assert [x.file for x in found] == ([str(path)] if turned else [])

    def test_files_left_out(self, data):
        data.image_path('c').rename(data.image_path('c').with_suffix('.JPG'))
        found = [x.message for x in data.check().warnings if x.kind == 'files left out']
        assert found == [
            f"1 images in {data.root}/train do not end in img_suffix '.jpg' and are left out, such "
            'as c.JPG',
            f'1 label maps in {data.root}/train_maps have no image and are left out, such as c.png',
        ]

    def test_ignored_values(self, data):
        unknown(data)
        assert data.check(ignore_values=[9]).faults == []

    def test_ignored_values_are_those_in_the_file(self, tmp_path):
        shifted = Data(tmp_path / 'shifted', offset=1)
        shifted.write('train', 'a', np.tile(np.repeat([1, 1, 2, 9], 2), (6, 1)))
        found = shifted.check(reduce_zero_label=True, ignore_values=[0, 9])
        assert found.faults == []
        assert found.datasets['train']['classes']['wall']['pixels'] == 36


@pytest.mark.parametrize('name', FAULTS)
def test_faults(data, name):
    spoil, kind, message = FAULTS[name]
    spoil(data)
    faults = data.check().faults
    assert kind in kinds(faults)
    (found,) = [finding for finding in faults if finding.kind == kind]
    assert len(faults) == 1
    assert re.search(message, found.message)
    # a training stops at it too
    with pytest.raises((ValueError, RuntimeError, FileNotFoundError)):
        data.train()


def spoil_picture(data, name, split='train'):
    data.image_path(name, split).write_bytes(b'no image')


class TestFilesThatNobodyOpens:
    """Training reads the maps of all images that it may use, and the pictures of its steps."""

    def first_step(self, data, images):
        """Return the findings of a training of step 0 on some images."""
        steps, evaluation = data.configs()
        return check_scenario([{**steps[0], 'images': images}], evaluation, workers=1).findings

    def test_picture_outside_images(self, data):
        spoil_picture(data, 'c')
        assert self.first_step(data, ['a.jpg', 'b.jpg']) == []
        (fault,) = self.first_step(data, ['a.jpg', 'c.jpg'])
        assert fault.file == str(data.image_path('c'))

    def test_map_outside_images(self, data):
        unknown(data)
        assert self.first_step(data, ['b.jpg', 'c.jpg']) == []

    def test_picture_of_no_step(self, data):
        data.write('train', 'a', np.full((6, 8), VOID))
        spoil_picture(data, 'a')
        assert data.check().findings == []
        data.train()

    def test_size_of_no_step(self, data):
        data.write('train', 'a', np.full((6, 10), VOID))
        assert data.check().findings == []
        data.train()

    def test_map_of_no_step(self, data):
        data.write('train', 'a', np.full((6, 8), 9))
        spoil_picture(data, 'a')
        (fault,) = data.check().faults
        assert fault.kind == 'unknown labels'

    def test_picture_of_two_steps(self, data):
        spoil_picture(data, 'b')
        report = data.check()
        assert [step['images'] for step in report.steps] == [3, 1, 1]
        (fault,) = report.faults
        assert fault.file == str(data.image_path('b'))

    def test_evaluation_opens_every_picture(self, data):
        data.write('val', 'd', np.full((6, 8), VOID))
        spoil_picture(data, 'd', 'val')
        (fault,) = data.check().faults
        assert fault.file == str(data.image_path('d', 'val'))


def test_one_fault_does_not_hide_another(data):
    for name in 'ab':
        data.map_path(name).unlink()
    unknown_map = np.full((6, 8), 200)
    data.write('train', 'c', unknown_map)
    report = data.check()
    assert kinds(report.faults) == {'missing file', 'unknown labels', 'images of a step'}
    assert sum(finding.kind == 'missing file' for finding in report.faults) == 2


def test_step_without_images(data):
    data.write('train', 'b', np.ones((6, 8)))
    report = data.check()
    (fault,) = report.faults
    assert fault.kind == 'images of a step'
    assert 'step 1 (overlap) has no training image' in fault.message


def test_class_without_images(data):
    data.write('train', 'a', np.ones((6, 8)))
    data.write('train', 'c', np.full((6, 8), 3))
    warnings = data.check().warnings
    assert 'class without images' in kinds(warnings)
    assert any('step 0 teaches wall, but no image' in finding.message for finding in warnings)


def test_picture_in_training_and_in_validation(data):
    shutil.copy(data.image_path('a'), data.image_path('d', 'val'))
    (warning,) = data.check().warnings
    assert warning.kind == 'picture in training and in val'
    assert warning.message.endswith('a.jpg')


class TestReduceZeroLabel:
    """Maps in which 0 stands for no class, and maps in which it is the first class."""

    @pytest.fixture
    def shifted(self, tmp_path):
        return Data(tmp_path / 'shifted', offset=1)

    def test_as_it_should_be(self, data, shifted):
        expected = data.check().to_dict()
        assert shifted.check(reduce_zero_label=True).to_dict() == expected

    def test_left_out(self, shifted):
        report = shifted.check()
        # the last class is no label, and the first one does not occur
        assert kinds(report.faults) == {'unknown labels'}
        message = "no label map holds 0, which is 'wall'; if 0 stands for no class"
        assert message in ' '.join(finding.message for finding in report.warnings)

    def test_set_where_it_should_not_be(self, data):
        report = data.check(reduce_zero_label=True)
        found = [x.message for x in report.warnings if x.kind == 'reduce_zero_label']
        assert found[0].startswith("no label map holds 4, which is 'cat', but some hold 0")

    def test_against_the_convention_of_the_dataset(self, data):
        classes = ['wall', 'sky', 'tree', 'car']
        scenario = {**SCENARIO, 'stuff_classes': classes}
        steps, evaluation = data.configs(scenario, reduce_zero_label=False)
        for config in [*steps, evaluation['val']]:
            config['dataset'].update(type='ADE20KDataset', metainfo=dict(classes=classes))
        with pytest.raises(ValueError, match='dataset.reduce_zero_label: expected True'):
            check_scenario(steps, evaluation, workers=1)


def test_pixels_of_one_image(data):
    rng = np.random.default_rng(0)
    label_map = rng.integers(0, 5, (6, 8))
    data.write('train', 'a', label_map)
    table = lookup_table({0: 2, 1: 0, 2: VOID, 3: 2}, reduce_zero_label=True)
    files = LabelledImage(str(data.image_path('a')), str(data.map_path('a')), table)
    report = check_labelled_image(files)
    # 1 and 4 become the same label, 3 is left out, 0 is no class
    counts = {0: int((label_map == 2).sum()), 2: int(np.isin(label_map, (1, 4)).sum())}
    assert dict(zip(report.labels, report.pixels, strict=True)) == counts
    assert report.values == (0, 1, 2, 3, 4)
    assert report.findings == ()
