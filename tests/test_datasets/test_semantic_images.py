import logging
import os
import pickle
import re

import cv2
import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.registry import DATASETS
from mmseg.datasets import ADE20KDataset, BaseSegDataset
from PIL import Image

from mmcomformer.datasets import IncrementalDataset, class_index, incremental_dataset
from mmcomformer.scenario import Scenario

pytestmark = [pytest.mark.families, pytest.mark.usefixtures('mmseg_scope')]
CLASSES = ('background', 'cat', 'dog', 'sky', 'sea')
BACKGROUND, CAT, DOG, SKY, SEA = range(5)
VOID = 255
# step 0: sky, dog; step 1: cat; sea is never learned
SCENARIO = {
    'increments': [2, 1],
    'thing_classes': [],
    'stuff_classes': list(CLASSES),
    'class_order': ['sky', 'dog', 'cat'],
    'background': 'background',
}
STRIPS = {
    'a': [SKY, DOG, CAT, BACKGROUND],
    'b': [SKY, SEA, VOID, BACKGROUND],
    'deep/c': [CAT, CAT, SEA, VOID],
    'd': [DOG, DOG, DOG, DOG],
    'e': [BACKGROUND, VOID, VOID, VOID],
}
PIPELINE = [
    {'type': 'LoadImageFromFile'},
    {'type': 'LoadSemanticMap'},
    {'type': 'PackSemanticInputs'},
]


class LabelMaps:
    """Images of 8x10 and their label maps, of horizontal strips."""

    def __init__(self, root):
        self.root = root
        rng = np.random.default_rng(0)
        for name, strips in STRIPS.items():
            self.write(name, np.repeat(strips, 2)[:, None].repeat(10, axis=1))
            path = self.image(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), rng.integers(0, 256, (8, 10, 3), dtype=np.uint8))

    def image(self, name):
        return self.root / 'img' / f'{name}.jpg'

    def map(self, name):
        return self.root / 'map' / f'{name}.png'

    def write(self, name, values):
        self.map(name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(values, dtype=np.uint8)).save(self.map(name))

    def inner(self, **options):
        return {
            'type': 'BaseSegDataset',
            'data_root': str(self.root),
            'data_prefix': {'img_path': 'img', 'seg_map_path': 'map'},
            'metainfo': {'classes': CLASSES},
            **options,
        }

    @property
    def caches(self):
        return sorted((self.root / '.mmcomformer').glob('*'))


@pytest.fixture
def maps(tmp_path):
    return LabelMaps(tmp_path)


def build(maps, *, step=0, setting='overlap', inner=None, scenario=None, **options):
    return IncrementalDataset(
        maps.inner(**(inner or {})),
        {**(scenario or SCENARIO), 'step': step, 'setting': setting},
        **{'pipeline': PIPELINE, 'serialize_data': False, **options},
    )


def names(dataset):
    return [dataset.get_data_info(index)['img_id'] for index in range(len(dataset))]


@pytest.mark.parametrize(
    ('setting', 'step', 'kept'),
    [
        ('overlap', 0, ['a', 'b', 'd']),
        ('overlap', 1, ['a', 'deep/c']),
        ('disjoint', 0, ['b', 'd']),
        ('disjoint', 1, ['a', 'deep/c']),
        ('sequential', 0, ['b', 'd']),
        ('sequential', 1, ['a', 'deep/c']),
    ],
)
def test_images_of_a_step(maps, setting, step, kept):
    assert names(build(maps, setting=setting, step=step)) == kept


@pytest.mark.parametrize(
    ('setting', 'step', 'strips'),
    [
        ('overlap', 0, [SKY, DOG, VOID, VOID]),
        ('overlap', 1, [VOID, VOID, CAT, VOID]),
        ('disjoint', 1, [VOID, VOID, CAT, VOID]),
        ('sequential', 1, [SKY, DOG, CAT, VOID]),
    ],
)
def test_labels_of_a_step(maps, setting, step, strips):
    """Neither the background nor a class that is never learned is shown."""
    sample = build(maps, setting=setting, step=step)[0]['data_samples']
    assert sample.gt_sem_seg.data[0, ::2, 3].tolist() == strips
    assert sample.gt_labels == tuple(sorted(set(strips) - {VOID}))


@pytest.mark.parametrize('step', [0, 1])
def test_evaluation_keeps_everything(maps, step):
    dataset = build(maps, step=step, test_mode=True)
    assert names(dataset) == ['a', 'b', 'd', 'deep/c', 'e']
    for index, name in enumerate(names(dataset)):
        found = dataset[index]['data_samples'].gt_sem_seg.data
        assert torch.equal(found[0, ::2, 0], torch.tensor(STRIPS[name]))
    assert not maps.caches


def test_what_the_pipeline_receives(maps):
    info = build(maps, inner={'reduce_zero_label': False}, step=1).get_data_info(1)
    assert info == {
        'img_path': str(maps.image('deep/c')),
        'img_id': 'deep/c',
        'seg_map_path': str(maps.map('deep/c')),
        'label_map': {BACKGROUND: VOID, CAT: CAT, DOG: VOID, SKY: VOID, SEA: VOID},
        'reduce_zero_label': False,
        'hidden_label': VOID,
        'seg_fields': [],
        'sample_idx': 1,
    }


def test_metainfo(maps):
    dataset = build(maps, step=1, lazy_init=True)
    metainfo = dataset.metainfo
    assert metainfo['classes'] == metainfo['stuff_classes'] == CLASSES
    assert metainfo['thing_classes'] == ()
    assert len(metainfo['palette']) == 5
    assert metainfo['reduce_zero_label'] is False
    assert metainfo['label_map'] is None
    assert Scenario.from_config(metainfo['scenario']).background_label == BACKGROUND
    assert dataset.source.task == 'semantic'


def test_lazy_opens_no_file(maps):
    inner = {'data_root': '/nowhere', 'ann_file': 'no.txt'}
    dataset = build(maps, inner=inner, lazy_init=True)
    with pytest.raises(FileNotFoundError, match=r'/nowhere/no\.txt does not exist; .* ann_file'):
        dataset.full_init()


def test_pickles_and_serialises(maps):
    dataset = build(maps, serialize_data=True)
    assert names(pickle.loads(pickle.dumps(dataset))) == names(dataset) == ['a', 'b', 'd']
    assert dataset.get_data_info(1) == build(maps).get_data_info(1)


def test_indices_are_of_the_step(maps):
    assert names(build(maps, indices=[2, 0])) == ['d', 'a']


def test_list_of_images(maps):
    (maps.root / 'list.txt').write_text('d\na\n')
    assert names(build(maps, inner={'ann_file': 'list.txt'})) == ['d', 'a']


def test_logs_the_images_of_the_step(maps):
    logger = MMLogger.get_current_instance()
    handler = logging.Handler(logging.INFO)
    messages = []
    handler.emit = lambda record: messages.append(record.getMessage())
    logger.addHandler(handler)
    build(maps, step=1)
    build(maps, step=1, test_mode=True)
    logger.removeHandler(handler)
    assert messages == [
        'step 1 (overlap): 2 of 5 images, 1 classes to learn: cat',
        'step 1 (evaluation): 5 of 5 images, 3 classes seen so far',
    ]


class TestIndexFile:
    def test_is_beside_the_data_and_used(self, maps, monkeypatch):
        build(maps)
        (path,) = maps.caches
        assert path.name.startswith('class_index_')
        monkeypatch.setattr(class_index, 'read_coded_map', None)
        assert names(build(maps, step=1, setting='disjoint')) == ['a', 'deep/c']
        assert maps.caches == [path]

    def test_changed_map(self, maps):
        build(maps)
        maps.write('e', [[SKY] * 10] * 8)
        assert names(build(maps)) == ['a', 'b', 'd', 'e']
        assert len(maps.caches) == 1

    def test_other_sets_have_other_files(self, maps):
        build(maps)
        build(maps, images=['a.jpg', 'b.jpg'])
        (maps.root / 'map').rename(maps.root / 'other')
        build(maps, inner={'data_prefix': {'img_path': 'img', 'seg_map_path': 'other'}})
        assert len(maps.caches) == 3

    def test_moved_set_replaces_its_file(self, maps, tmp_path_factory):
        build(maps)
        target = tmp_path_factory.mktemp('moved') / 'set'
        os.rename(maps.root, target)
        maps.root = target
        before = maps.caches
        build(maps)
        assert maps.caches == before

    def test_chosen_file(self, maps):
        path = maps.root / 'elsewhere' / 'index.npz'
        build(maps, index_cache=str(path))
        assert path.is_file()
        assert not maps.caches

    def test_without_data_root(self, maps):
        prefix = {'img_path': str(maps.root / 'img'), 'seg_map_path': str(maps.root / 'map')}
        assert len(build(maps, inner={'data_root': None, 'data_prefix': prefix})) == 3
        assert (maps.root / 'map' / '.mmcomformer').is_dir()

    def test_folder_that_cannot_be_written(self, maps):
        (maps.root / '.mmcomformer').write_text('a file in the way')
        assert len(build(maps)) == 3

    def test_for_panoptic_sets(self, hand_made, scenario):
        with pytest.raises(ValueError, match=r'index_cache: expected None, because CocoPanoptic'):
            IncrementalDataset(hand_made.inner(), scenario, index_cache='index.npz')


class TestHandMadeSplit:
    def test_list(self, maps):
        assert names(build(maps, images=['deep/c.jpg', 'a.jpg'], step=1)) == ['deep/c', 'a']

    @pytest.mark.parametrize(
        ('name', 'holds'), [('deep/c.jpg', r"\['cat', 'sea'\]"), ('e.jpg', r"\['background'\]")]
    )
    def test_image_without_class_of_the_step(self, maps, name, holds):
        message = rf'images: {name} does not belong to step 0 .* it holds {holds}, and the step'
        with pytest.raises(ValueError, match=message):
            build(maps, images=['a.jpg', name])

    def test_image_without_any_class(self, maps):
        maps.write('e', [[VOID] * 10] * 8)
        with pytest.raises(ValueError, match=r'images: e\.jpg .* it holds no class, and the step'):
            build(maps, images=['e.jpg'])

    def test_unknown_image(self, maps):
        with pytest.raises(ValueError, match=r"\['c.jpg'\] are not in the annotations; .*'a.jpg'"):
            build(maps, images=['c.jpg'])

    def test_empty(self, maps):
        with pytest.raises(ValueError, match=r'has no training image: none of 0 images'):
            build(maps, images=[])
        assert not maps.caches


class TestBadConfig:
    @pytest.fixture
    def other_classes(self):
        """Dataset classes that declare, leave alone or contradict mmseg's rule on label 0."""

        class Plain(BaseSegDataset):
            METAINFO = {'classes': CLASSES}

        class Declared(BaseSegDataset):
            METAINFO = {'classes': CLASSES}

            def __init__(self, reduce_zero_label=True, **kwargs):
                super().__init__(reduce_zero_label=reduce_zero_label, **kwargs)

        for kind in (Plain, Declared):
            DATASETS.register_module(module=kind, force=True)
        yield
        for kind in (Plain, Declared):
            DATASETS.module_dict.pop(kind.__name__)

    def test_class_that_the_dataset_lacks(self, maps):
        scenario = {**SCENARIO, 'stuff_classes': [*CLASSES[:4], 'wolf']}
        message = (
            r"scenario: its classes differ .*only the scenario has \['wolf'\], only the dataset "
            r"has \['sea'\]"
        )
        with pytest.raises(ValueError, match=message):
            build(maps, scenario=scenario, lazy_init=True)

    def test_classes_in_another_order(self, maps):
        scenario = {**SCENARIO, 'stuff_classes': ['background', 'dog', 'cat', 'sky', 'sea']}
        message = "another order: class 1 is 'dog' in the scenario and 'cat' in the dataset"
        with pytest.raises(ValueError, match=message):
            build(maps, scenario=scenario, lazy_init=True)

    def test_no_classes(self, maps):
        with pytest.raises(ValueError, match=r'BaseSegDataset cannot .* expected metainfo with cl'):
            build(maps, inner={'metainfo': None}, lazy_init=True)

    def test_class_that_looks_for_its_files(self, maps):
        inner = {'type': 'PascalVOCDataset', 'metainfo': None, 'ann_file': 'no.txt'}
        with pytest.raises(ValueError, match=r'PascalVOCDataset cannot be built .* ann_file no\.t'):
            build(maps, inner=inner, lazy_init=True)

    def test_ignore_index(self, maps):
        with pytest.raises(ValueError, match=r'dataset\.ignore_index: expected 255.* got 0'):
            build(maps, inner={'ignore_index': 0}, lazy_init=True)

    @pytest.mark.parametrize(('count', 'reduce'), [(256, False), (255, True)])
    def test_too_many_classes(self, maps, count, reduce):
        classes = [f'class {index}' for index in range(count)]
        scenario = {'increments': [count], 'thing_classes': [], 'stuff_classes': classes}
        inner = {'metainfo': {'classes': classes}, 'reduce_zero_label': reduce}
        message = f'expected at most {count - 1} classes, .* got {count}'
        with pytest.raises(ValueError, match=message):
            build(maps, inner=inner, scenario=scenario, lazy_init=True)
        fewer = {**scenario, 'increments': [count - 1], 'stuff_classes': classes[:-1]}
        inner = {**inner, 'metainfo': {'classes': classes[:-1]}}
        build(maps, inner=inner, scenario=fewer, lazy_init=True)

    @pytest.mark.parametrize('key', ['img_path', 'seg_map_path'])
    def test_prefixes(self, maps, key):
        inner = maps.inner()
        del inner['data_prefix'][key]
        with pytest.raises(ValueError, match=rf"data_prefix has no '{key}'; expected"):
            build(maps, inner=inner)

    @pytest.mark.parametrize('key', ['img_path', 'seg_map_path'])
    def test_missing_folder(self, maps, key):
        inner = {'data_prefix': {'img_path': 'img', 'seg_map_path': 'map', key: 'no'}}
        match = rf"/no does not exist; check data_root and data_prefix\['{key}'\]"
        with pytest.raises(FileNotFoundError, match=match):
            build(maps, inner=inner)

    @pytest.mark.parametrize('backend', ['petrel', 'http'])
    def test_label_maps_elsewhere(self, maps, backend):
        inner = {'backend_args': {'backend': backend}}
        match = rf"dataset\.backend_args: label maps have to be local files.* got .*'{backend}'"
        with pytest.raises(ValueError, match=match):
            build(maps, inner=inner, lazy_init=True)
        # evaluation opens them through the backend
        build(maps, inner=inner, lazy_init=True, test_mode=True)

    def test_local_backend(self, maps):
        assert len(build(maps, inner={'backend_args': {'backend': 'local'}})) == 3

    def test_no_image(self, maps):
        with pytest.raises(ValueError, match=r"img names no image; .* end in '\.jpeg'"):
            build(maps, inner={'img_suffix': '.jpeg'})

    def test_category_aliases(self, maps):
        with pytest.raises(
            ValueError, match=r'category_aliases: .* is a dataset for semantic segmentation'
        ):
            build(maps, category_aliases={'tomcat': 'cat'})

    def test_against_the_declared_convention(self, maps):
        classes = ADE20KDataset.METAINFO['classes']
        scenario = {'increments': [150], 'thing_classes': [], 'stuff_classes': classes}
        inner = {'type': 'ADE20KDataset', 'metainfo': None}
        build(maps, inner=inner, scenario=scenario, lazy_init=True)
        message = (
            r'dataset\.reduce_zero_label: expected True, because 0 stands for no class in the maps '
            r'of ADE20KDataset, got False; .* use BaseSegDataset with metainfo'
        )
        with pytest.raises(ValueError, match=message):
            build(maps, inner={**inner, 'reduce_zero_label': False}, scenario=scenario)

    @pytest.mark.parametrize('kind', ['BaseSegDataset', 'Plain'])
    def test_class_0_is_the_background(self, maps, other_classes, kind):
        inner = {'type': kind, 'reduce_zero_label': True}
        with pytest.raises(ValueError, match=r"expected False, because class 0 .* 'background'"):
            build(maps, inner=inner, lazy_init=True)

    def test_class_0_is_the_scenarios_background(self, maps):
        classes = ['nothing', *CLASSES[1:]]
        scenario = {**SCENARIO, 'stuff_classes': classes, 'background': 'nothing'}
        inner = {'metainfo': {'classes': classes}, 'reduce_zero_label': True}
        with pytest.raises(ValueError, match=r"because class 0 of BaseSegDataset is 'nothing'"):
            build(maps, inner=inner, scenario=scenario, lazy_init=True)
        del scenario['background']
        build(maps, inner=inner, scenario=scenario, lazy_init=True)

    def test_a_class_may_declare_it_nevertheless(self, maps, other_classes):
        build(maps, inner={'type': 'Declared'}, lazy_init=True)
        with pytest.raises(ValueError, match='expected True, because 0 stands for no class'):
            build(maps, inner={'type': 'Declared', 'reduce_zero_label': False}, lazy_init=True)

    @pytest.mark.parametrize('value', [None, 1])
    def test_reduce_zero_label_of_another_type(self, maps, value):
        with pytest.raises(TypeError, match=rf'expected True or False, got {value}'):
            build(maps, inner={'reduce_zero_label': value}, lazy_init=True)


class TestIgnoredValues:
    VALUE = 77

    @pytest.fixture
    def unlabelled(self, maps):
        """Maps in which another value than 255 stands for no class."""
        maps.write('b', [[SKY, self.VALUE, 255, SKY, 0, 0, 0, 0, 0, 0]] * 8)
        return maps

    @pytest.mark.parametrize('place', ['wrapper', 'inner'])
    @pytest.mark.parametrize('test_mode', [False, True])
    def test_is_no_class(self, unlabelled, place, test_mode):
        ignored = {'ignore_values': [self.VALUE]}
        options = ignored if place == 'wrapper' else {'inner': ignored}
        dataset = build(unlabelled, test_mode=test_mode, **options)
        index = names(dataset).index('b')
        row = dataset[index]['data_samples'].gt_sem_seg.data[0, 0].tolist()
        assert row[:4] == [SKY, 255, 255, SKY]

    def test_another_one_is_refused(self, unlabelled):
        with pytest.raises(ValueError, match=r'got \[77\]; .* set ignore_values=\[77\]'):
            build(unlabelled, ignore_values=[78])

    @pytest.mark.parametrize(
        ('values', 'error', 'match'),
        [
            ([SKY], ValueError, rf'stand for no class, got \[{SKY}\], which stand for classes'),
            ([256], ValueError, 'values from 0 to 255, got 256'),
            ({77}, TypeError, 'expected a list of values'),
            (77, TypeError, 'expected a list of values'),
            ('77', TypeError, 'expected a list of values'),
            (['77'], TypeError, "expected integers, got '77'"),
            ([True], TypeError, 'expected integers, got True'),
        ],
    )
    def test_mistakes(self, maps, values, error, match):
        with pytest.raises(error, match=match):
            build(maps, ignore_values=values, lazy_init=True)


class TestMarkedHiddenClasses:
    HIDDEN = 254

    @pytest.mark.parametrize(
        ('setting', 'step', 'strips'),
        [
            ('overlap', 0, [SKY, DOG, HIDDEN, HIDDEN]),
            ('overlap', 1, [HIDDEN, HIDDEN, CAT, HIDDEN]),
            ('sequential', 1, [SKY, DOG, CAT, HIDDEN]),
        ],
    )
    def test_what_a_step_sees(self, maps, setting, step, strips):
        """The background is hidden too; what belongs to no class is not labelled."""
        dataset = build(maps, setting=setting, step=step, mark_hidden=True)
        samples = [dataset[i]['data_samples'] for i in range(len(dataset))]
        seen = {sample.img_id: sample.gt_sem_seg.data[0, ::2, 0].tolist() for sample in samples}
        assert seen['a'] == strips
        labels = {sample.img_id: sample.gt_labels for sample in samples}
        assert labels['a'] == tuple(sorted(set(strips) - {self.HIDDEN}))
        assert {sample.hidden_label for sample in samples} == {self.HIDDEN}
        if setting == 'overlap' and step == 0:
            assert seen['b'] == [SKY, self.HIDDEN, VOID, self.HIDDEN]

    def test_evaluation_hides_nothing(self, maps):
        dataset = build(maps, test_mode=True, mark_hidden=True)
        sample = dataset[names(dataset).index('b')]['data_samples']
        assert sample.gt_sem_seg.data[0, ::2, 0].tolist() == STRIPS['b']

    def test_classes_that_the_dataset_leaves_out_are_not_hidden(self, maps):
        inner = {'metainfo': {'classes': CLASSES[:4]}, 'type': LeavesOutSea}
        scenario = {**SCENARIO, 'stuff_classes': list(CLASSES[:4])}
        dataset = build(maps, inner=inner, scenario=scenario, mark_hidden=True)
        sample = dataset[names(dataset).index('b')]['data_samples']
        assert sample.gt_sem_seg.data[0, ::2, 0].tolist() == [SKY, VOID, VOID, self.HIDDEN]

    def test_too_many_classes(self, maps):
        classes = [f'c{i}' for i in range(255)]
        scenario = {'increments': [255], 'thing_classes': [], 'stuff_classes': classes}
        options = {'inner': {'metainfo': {'classes': classes}}, 'scenario': scenario}
        build(maps, lazy_init=True, **options)
        with pytest.raises(ValueError, match='mark_hidden: expected at most 254 classes.*got 255'):
            build(maps, lazy_init=True, mark_hidden=True, **options)


class LeavesOutSea(BaseSegDataset):
    METAINFO = {'classes': CLASSES}


class TestLists:
    """A file of names, as editors leave it."""

    def build(self, maps, content, **inner):
        (maps.root / 'list.txt').write_bytes(content)
        return build(maps, test_mode=True, inner={'ann_file': 'list.txt', **inner})

    @pytest.mark.parametrize(
        'content',
        [
            b'a\nb\n',
            b'a\nb\n\n',
            b'\n\na\n  \nb',
            b'\xef\xbb\xbfa\nb',
            b'\xef\xbb\xbf\r\na\r\nb\r\n',
        ],
    )
    def test_names(self, maps, content):
        dataset = self.build(maps, content)
        assert names(dataset) == ['a', 'b']
        assert dataset[0]['data_samples'].gt_sem_seg.shape == (8, 10)

    def test_nothing(self, maps):
        with pytest.raises(ValueError, match='names no image'):
            self.build(maps, b'\n\n')

    def test_suffix(self, maps):
        with pytest.raises(ValueError, match=r"expected names without '.jpg', .* got 'a.jpg'"):
            self.build(maps, b'a.jpg\nb.jpg\n')

    def test_another_encoding(self, maps):
        with pytest.raises(ValueError, match=r'list.txt is not in UTF-8 .* save the list as UTF-8'):
            self.build(maps, 'a\nb'.encode('utf-16'))


class TestFilesLeftOut:
    @pytest.fixture
    def warnings(self, maps, monkeypatch):
        def run(**inner):
            found = []
            monkeypatch.setattr(
                incremental_dataset,
                'print_log',
                lambda message, logger, level=0: found.append(message) if level > 20 else None,
            )
            build(maps, inner=inner)
            return found

        return run

    def test_none(self, warnings):
        assert warnings() == []

    def test_images_and_maps(self, maps, warnings):
        (maps.root / 'img' / 'a.jpg').rename(maps.root / 'img' / 'a.JPG')
        (maps.root / 'img' / 'x.bmp').write_bytes(b'')
        (maps.root / 'img' / 'notes.txt').write_bytes(b'')
        maps.write('lonely', np.zeros((8, 10)))
        (maps.root / 'map' / 'c.tif').write_bytes(b'')
        assert [message.split(', such')[0] for message in warnings()] == [
            f"2 images in {maps.root}/img do not end in img_suffix '.jpg' and are left out",
            f"1 maps in {maps.root}/map do not end in seg_map_suffix '.png' and are left out",
            f'2 label maps in {maps.root}/map have no image and are left out',
        ]

    def test_no_image_at_all(self, maps):
        match = "names no image; .* check img_suffix; 5 images .* do not end in img_suffix '.tif'"
        with pytest.raises(ValueError, match=match):
            build(maps, inner={'img_suffix': '.tif'})

    def test_a_list_says_what_is_used(self, maps, warnings):
        (maps.root / 'list.txt').write_text('a\nb')
        assert warnings(ann_file='list.txt') == []

    def test_one_folder(self, maps, monkeypatch, warnings):
        for path in sorted((maps.root / 'map').rglob('*.png')):
            path.rename(maps.root / 'img' / path.relative_to(maps.root / 'map'))
        folders = {'img_path': 'img', 'seg_map_path': 'img'}
        assert warnings(data_prefix=folders) == []


class TestBadFiles:
    """Training meets them when the maps are indexed, evaluation when an image is loaded."""

    def assert_refused(self, maps, error, match):
        with pytest.raises(error, match=match):
            build(maps)
        dataset = build(maps, test_mode=True)
        dataset[0]
        with pytest.raises(error, match=match):
            dataset[1]

    def test_unknown_label(self, maps):
        maps.write('b', [[SKY, 5, 150, 4, 0, 0, 0, 0, 0, 0]] * 8)
        match = (
            r'b\.png: expected labels from 0 to 4 and 255, got \[5, 150\]; if they stand for no '
            r'class, set ignore_values=\[5, 150\] in the config of the dataset; else check'
        )
        self.assert_refused(maps, ValueError, match)

    def test_missing_map(self, maps):
        maps.map('b').unlink()
        self.assert_refused(
            maps, FileNotFoundError, r'label map .*/map/b\.png does not exist; check data_p'
        )

    def test_colours(self, maps):
        Image.fromarray(np.zeros((8, 10, 3), np.uint8)).save(maps.map('b'))
        self.assert_refused(
            maps, ValueError, r'map/b\.png: expected a picture of 1 channel.* got 3 channel'
        )

    def test_type(self, maps):
        Image.fromarray(np.ones((8, 10), np.uint16)).save(maps.map('b'))
        self.assert_refused(maps, ValueError, r'map/b\.png: expected')

    def test_unreadable(self, maps):
        maps.map('b').write_bytes(b'text')
        self.assert_refused(maps, ValueError, r'map/b\.png cannot be read as an image')

    @pytest.mark.parametrize('test_mode', [False, True])
    def test_another_size(self, maps, test_mode):
        maps.write('b', [[SKY] * 9] * 8)
        match = r'map/b\.png: its size .* is \(8, 9\), but the image .*b\.jpg has \(8, 10\)'
        with pytest.raises(ValueError, match=match):
            build(maps, test_mode=test_mode)[1]

    def test_missing_image(self, maps):
        maps.image('b').unlink()
        maps.image('d').unlink()
        (maps.root / 'list.txt').write_text('a\nb\n')
        with pytest.raises(FileNotFoundError, match=re.escape(str(maps.image('b')))):
            build(maps, inner={'ann_file': 'list.txt'})[1]

    def test_stock_loader_too(self, maps):
        """The wrapper names the files where mmseg's transform does not."""
        maps.map('b').write_bytes(b'text')
        pipeline = [{'type': 'LoadImageFromFile'}, {'type': 'LoadAnnotations'}]
        with pytest.raises(RuntimeError, match=r'image .*img/b\.jpg could not be read or transfo'):
            build(maps, pipeline=pipeline, test_mode=True)[1]
