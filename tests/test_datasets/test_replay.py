"""What a step is shown of images from memory, in panoptic and in semantic datasets."""

import logging
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.logging import MMLogger
from mmengine.registry import DATASETS
from packed import masks_of
from PIL import Image
from replay import Steps

from mmcomformer.datasets import IncrementalDataset
from mmcomformer.engine.hooks.summary_hook import image_counts

pytestmark = pytest.mark.families
MEMORY = {'type': 'ClassProportionalMemory', 'size': 2}


class Panoptic:
    """The hand-made set."""

    pipeline = (
        {'type': 'LoadImageFromFile'},
        {'type': 'LoadPanopticIdMap'},
        {'type': 'PackContinualInputs'},
    )

    def __init__(self, hand_made, scenario):
        # a later step's image that shows a class of step 0, and one of all steps
        hand_made.add('f', {21: ('sky', 0), 22: ('cat', 0), 23: ('fox', 0)})
        hand_made.add('g', {31: ('sky', 0), 32: ('cat', 0), 33: ('cat', 0)})
        # and some of one step only
        hand_made.add('h', {41: ('fox', 0)})
        hand_made.add('i', {51: ('sky', 0), 52: ('dog', 0), 53: ('dog', 0)})
        hand_made.add('k', {61: ('dog', 0), 62: ('dog', 1)})
        self.set, self.scenario = hand_made.write(), scenario
        self.inner = hand_made.inner()

    @property
    def images(self):
        """Segments by class, crowds left out."""
        ids = {entry['id']: entry['name'] for entry in self.set.content['categories']}
        return {
            f'{entry["image_id"][3:]}.jpg': Counter(
                ids[segment['category_id']]
                for segment in entry['segments_info']
                if not segment['iscrowd']
            )
            for entry in self.set.content['annotations']
        }

    def check(self, sample, shown):
        """Compare the segments of a sample with those of the classes that it has to show."""
        name = sample.img_path.rsplit('/', 1)[-1]
        ids = {entry['id']: entry['name'] for entry in self.set.content['categories']}
        expected = [
            (self.scenario_classes.index(ids[segment['category_id']]), segment['id'])
            for segment in self.set.annotation(name[0])['segments_info']
            if ids[segment['category_id']] in shown and not segment['iscrowd']
        ]
        assert sample.gt_instances.labels.tolist() == [label for label, _ in expected]
        masks = [self.set.maps[name] == id_ for _, id_ in expected]
        assert np.array_equal(masks_of(sample), masks)

    @property
    def scenario_classes(self):
        return [*self.scenario['thing_classes'], *self.scenario['stuff_classes']]


class Semantic:
    """Label maps of strips; 0 is background, which no step teaches."""

    classes = ('background', 'cat', 'dog', 'fox', 'sky', 'sea')
    pipeline = (
        {'type': 'LoadImageFromFile'},
        {'type': 'LoadSemanticMap'},
        {'type': 'PackSemanticInputs'},
    )
    strips = {
        'a': ['cat', 'sky', 'dog', 'background'],
        'b': ['sea', 'sky', None, 'background'],
        'deep/c': ['cat', 'sea', 'sea', 'sea'],
        'd': ['dog', 'fox', 'sea', 'background'],
        'e': [None, None, 'background', None],
        'f': ['sky', 'cat', 'fox', 'cat'],
        'g': ['sky', 'sky', 'cat', 'background'],
        'h': ['fox', None, None, 'background'],
        'i': ['sky', 'dog', 'dog', None],
        'k': ['dog', 'dog', 'background', None],
    }

    def __init__(self, root):
        for name, strips in self.strips.items():
            values = [255 if one is None else self.classes.index(one) for one in strips]
            for folder in ('img', 'map'):
                (root / folder / name).parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(root / 'img' / f'{name}.jpg'), np.zeros((8, 10, 3), np.uint8))
            Image.fromarray(np.repeat(values, 2)[:, None].repeat(10, 1).astype(np.uint8)).save(
                root / 'map' / f'{name}.png'
            )
        self.inner = {
            'type': 'mmseg.BaseSegDataset',
            'data_root': str(root),
            'data_prefix': {'img_path': 'img', 'seg_map_path': 'map'},
            'metainfo': {'classes': self.classes},
        }
        self.scenario = {
            'increments': [2, 2, 1],
            'thing_classes': [],
            'stuff_classes': list(self.classes),
            'class_order': ['sky', 'dog', 'cat', 'sea', 'fox'],
            'background': 'background',
        }

    @property
    def images(self):
        return {
            f'{name}.jpg': Counter({c for c in strips if c not in (None, 'background')})
            for name, strips in self.strips.items()
        }

    def check(self, sample, shown):
        name = sample.img_path.split('img/')[1].removesuffix('.jpg')
        values = [self.classes.index(one) if one in shown else 255 for one in self.strips[name]]
        assert sample.gt_sem_seg.data[0, ::2, 0].tolist() == values
        assert sample.gt_labels == tuple(sorted(set(values) - {255}))


@pytest.fixture(params=['panoptic', 'semantic'])
def data(request, tmp_path):
    if request.param == 'panoptic':
        getfixture = request.getfixturevalue
        return Panoptic(getfixture('hand_made'), getfixture('scenario'))
    return Semantic(tmp_path)


def build(data, *, step=2, setting='overlap', memory=MEMORY, **options):
    return IncrementalDataset(
        data.inner,
        {**data.scenario, 'step': step, 'setting': setting},
        **{'pipeline': data.pipeline, 'memory': memory, 'serialize_data': False, **options},
    )


def steps_of(data, setting='overlap'):
    return Steps(data.images, data.scenario['increments'], data.scenario['class_order'], setting)


def name_of(info):
    return info['img_path'].split('img/')[1]


@pytest.mark.parametrize('size', [2, 0.5])
@pytest.mark.parametrize('step', [0, 1, 2])
@pytest.mark.parametrize('setting', ['overlap', 'sequential', 'partitioned'])
def test_images_and_their_labels(data, setting, step, size):
    steps = steps_of(data, setting)
    dataset = build(data, setting=setting, step=step, memory={**MEMORY, 'size': size})
    names = [name_of(dataset.get_data_info(i)) for i in range(len(dataset))]
    stored = steps.memory(step, size)
    current = list(steps.shown(step))
    assert sorted(names[: len(current)]) == current
    assert names[len(current) :] == list(stored)
    assert dataset.num_from_memory == len(stored)
    assert (step == 0) == (not stored)
    for index, name in enumerate(names):
        sample = dataset[index]['data_samples']
        from_memory = index >= len(current)
        assert sample.metainfo.get('from_memory', False) is from_memory
        data.check(sample, set(stored[name]) if from_memory else steps.labels(step))


def test_what_the_comparison_needs(data):
    """An image of the step in memory; one with labels of two steps; one that lacks some."""
    steps = steps_of(data)
    stored = steps.memory(2, 0.5)
    assert set(stored) & set(steps.shown(2))
    kinds = [
        [bool(set(shown) & steps.classes[step]) for step in (0, 1)] for shown in stored.values()
    ]
    assert [True, True] in kinds
    for name, shown in stored.items():
        assert not set(shown) & steps.classes[2]
        assert set(shown) <= set(data.images[name])


def test_labels_for_samplers(data):
    """They are those that each sample shows, in memory and out of it."""
    dataset = build(data, memory={**MEMORY, 'size': 0.5})
    steps = steps_of(data)
    classes = dataset.metainfo['classes']
    stored = steps.memory(2, 0.5)
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        name = name_of(info)
        shown = stored[name] if 'from_memory' in info else steps.shown(2)[name]
        assert dataset.get_cat_ids(index) == sorted(classes.index(c) for c in shown)


@pytest.mark.parametrize('serialize_data', [True, False])
def test_every_packing_transform_keeps_the_mark(data, serialize_data):
    *loading, packing = data.pipeline
    pipeline = [*loading, {**packing, 'meta_keys': ('img_path',)}]
    dataset = build(data, pipeline=pipeline, serialize_data=serialize_data)
    marks = ['from_memory' in dataset[i]['data_samples'].metainfo for i in range(len(dataset))]
    assert marks == [False] * (len(marks) - 2) + [True, True]


def test_counts_for_the_summary(data):
    config = {
        'type': 'IncrementalDataset',
        'dataset': data.inner,
        'scenario': {**data.scenario, 'step': 2},
        'memory': MEMORY,
        'serialize_data': False,
    }
    expected = len(steps_of(data).shown(2))
    for wrapper in (
        config,
        {'type': 'RepeatDataset', 'times': 3, 'dataset': config},
        {'type': 'ConcatDataset', 'datasets': [config]},
    ):
        counts = image_counts(DATASETS.build(wrapper))
        assert counts == {'train_images': expected, 'memory_images': 2}
    at_first = build(data, step=0)
    assert image_counts(at_first)['memory_images'] == 0
    assert 'memory_images' not in image_counts(build(data, memory=None))


def test_log(data):
    logger = MMLogger.get_current_instance()
    handler, messages = logging.Handler(logging.INFO), []
    handler.emit = lambda record: messages.append(record.getMessage())
    logger.addHandler(handler)
    build(data)
    build(data, step=0)
    logger.removeHandler(handler)
    told = [message for message in messages if message.startswith('step')]
    first, last = (len(steps_of(data).shown(step)) for step in (0, 2))
    assert told == [
        f'step 2 (overlap): {last} of 10 images and 2 from memory, 1 classes to learn: fox',
        f'step 0 (overlap): {first} of 10 images and 0 from memory, 2 classes to learn: sky, dog',
    ]


def test_choice_is_kept_beside_the_data(data):
    build(data)
    (folder,) = {path.parent for path in _memory_files(data)}
    assert folder.name == '.mmcomformer'
    before = {path: path.stat().st_mtime_ns for path in _memory_files(data)}
    build(data)
    assert {path: path.stat().st_mtime_ns for path in _memory_files(data)} == before


def _memory_files(data):
    return list(Path(data.inner['data_root']).rglob('memory_*.npz'))


class TestErrors:
    def test_evaluation(self, data):
        with pytest.raises(ValueError, match=r'memory: expected None, because .*test_mode=True'):
            build(data, test_mode=True)

    def test_joint(self, data):
        data.scenario['increments'] = [5]
        with pytest.raises(ValueError, match=r'memory: expected None, .* a single step, \(5,\)'):
            build(data, step=0)

    @pytest.mark.parametrize(('key', 'value'), [('images', ['a.jpg']), ('indices', 2)])
    def test_parts_of_a_step(self, data, key, value):
        with pytest.raises(ValueError, match=rf'memory: expected None beside {key}, which says'):
            build(data, **{key: value})

    @pytest.mark.parametrize('memory', [300, 'ClassProportionalMemory', {'size': 3}])
    def test_no_config(self, data, memory):
        with pytest.raises(TypeError, match=r'memory: expected a dict such as .* got '):
            build(data, memory=memory)

    def test_something_else(self, data):
        memory = {'type': 'WeightedMatchCost'}
        with pytest.raises(TypeError, match=r"memory\.type: expected a ReplayMemory, got 'Weigh"):
            build(data, memory=memory)

    @pytest.mark.parametrize('step', [0, 1, 2])
    def test_too_large(self, data, step):
        most = len(steps_of(data).shown(0))
        message = rf'memory\.size: expected at most {most}, the number of images of step 0 \(of 10'
        with pytest.raises(ValueError, match=message):
            build(data, step=step, memory={**MEMORY, 'size': most + 1})
        stored = build(data, step=step, memory={**MEMORY, 'size': most}).num_from_memory
        assert stored == (most if step else 0)
