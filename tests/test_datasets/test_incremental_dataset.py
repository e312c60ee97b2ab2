import gc
import json
import logging
import math
import pickle
import re
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from mmengine.dataset import BaseDataset
from mmengine.fileio import load
from mmengine.logging import MMLogger
from mmengine.registry import DATASETS
from packed import masks_of

from mmcomformer.datasets.incremental_dataset import IncrementalDataset
from mmcomformer.engine.hooks.summary_hook import image_counts
from mmcomformer.scenario import Scenario

CAT, DOG, FOX, SKY, SEA = range(5)
TRAIN_PIPELINE = [
    {'type': 'LoadImageFromFile'},
    {'type': 'LoadPanopticIdMap'},
    {'type': 'PackContinualInputs'},
]
TEST_PIPELINE = [
    {'type': 'LoadImageFromFile'},
    {'type': 'LoadPanopticIdMap'},
    {'type': 'PackContinualInputs', 'evaluation': True},
]


def build(hand_made, scenario, *, step=0, setting='overlap', inner=None, **kwargs):
    return IncrementalDataset(
        inner or hand_made.inner(),
        {**scenario, 'step': step, 'setting': setting},
        **{'pipeline': TRAIN_PIPELINE, **kwargs},
    )


def names(dataset):
    return [dataset.get_data_info(i)['img_path'].rsplit('/')[-1] for i in range(len(dataset))]


KEPT = {
    # by hand; step 0: sky, dog; step 1: cat, sea; step 2: fox, which image c shows as a crowd only
    ('overlap', 0): ['a.jpg', 'b.jpg', 'd.jpg'],
    ('overlap', 1): ['a.jpg', 'b.jpg', 'c.jpg', 'd.jpg'],
    ('overlap', 2): ['d.jpg'],
    ('disjoint', 1): ['a.jpg', 'b.jpg', 'c.jpg'],
    ('disjoint', 2): ['d.jpg'],
    ('sequential', 1): ['a.jpg', 'b.jpg', 'c.jpg'],
    ('sequential', 2): ['d.jpg'],
}
SHOWN = {
    ('overlap', 0): {SKY, DOG},
    ('overlap', 1): {CAT, SEA},
    ('overlap', 2): {FOX},
    ('disjoint', 1): {CAT, SEA},
    ('disjoint', 2): {FOX},
    ('sequential', 1): {SKY, DOG, CAT, SEA},
    ('sequential', 2): {SKY, DOG, CAT, SEA, FOX},
}


@pytest.mark.parametrize(('setting', 'step'), KEPT)
def test_images_and_pixels_of_a_step(hand_made, scenario, setting, step):
    dataset = build(hand_made, scenario, setting=setting, step=step)
    assert names(dataset) == KEPT[setting, step]
    label_of = {3: SEA, 77: FOX, 1: SKY, 40: CAT, 2: DOG}
    for sample, name in zip(dataset, KEPT[setting, step], strict=False):
        ids = hand_made.maps[name]
        expected = [
            (label_of[segment['category_id']], ids == segment['id'])
            for segment in hand_made.annotation(name[0])['segments_info']
            if label_of[segment['category_id']] in SHOWN[setting, step] and not segment['iscrowd']
        ]
        sample = sample['data_samples']
        labels = sample.gt_instances.labels
        assert labels.tolist() == [label for label, _ in expected]
        assert labels.dtype == torch.int64
        assert np.array_equal(masks_of(sample), [mask for _, mask in expected])


def test_stuff_only_and_tiny_segments_count(hand_made, scenario):
    # b holds stuff only; in a, the dog has one column of pixels, area 0 and a box without width
    dataset = build(hand_made, scenario)
    labels = [dataset[i]['data_samples'].gt_instances.labels.tolist() for i in range(2)]
    assert labels == [[SKY, DOG], [SKY]]
    assert masks_of(dataset[0]['data_samples']).sum(axis=(1, 2)).tolist() == [18, 2]


class TestWrappers:
    """Wrappers of mmengine go around the dataset, not inside."""

    def outer(self, hand_made, scenario, **wrapper):
        dataset = {
            'type': 'IncrementalDataset',
            'dataset': hand_made.inner(),
            'scenario': {**scenario, 'step': 1},
        }
        key = wrapper.pop('key', None)
        return DATASETS.build({**wrapper, key: [dataset] * 2 if key == 'datasets' else dataset})

    @pytest.mark.parametrize('kind', ['ConcatDataset', 'RepeatDataset', 'ClassBalancedDataset'])
    def test_inside(self, hand_made, scenario, kind):
        with pytest.raises(TypeError, match=f"{kind} is no data.*dict.type='IncrementalDataset'"):
            build(hand_made, scenario, inner={'type': kind, 'datasets': [hand_made.inner()]})

    def test_images_are_counted_once(self, hand_made, scenario):
        repeated = self.outer(hand_made, scenario, type='RepeatDataset', key='dataset', times=3)
        assert (len(repeated), image_counts(repeated)) == (12, {'train_images': 4})
        both = self.outer(hand_made, scenario, type='ConcatDataset', key='datasets')
        assert (len(both), image_counts(both)) == (8, {'train_images': 8})

    def test_balanced(self, hand_made, scenario):
        """Images of the rarer class are repeated; classes that the step hides do not count."""
        inner = build(hand_made, scenario, step=1)
        assert [inner.get_cat_ids(i) for i in range(4)] == BALANCED
        outer = self.outer(
            hand_made, scenario, type='ClassBalancedDataset', key='dataset', oversample_thr=1.0
        )
        counts = np.bincount(outer.repeat_indices)
        assert image_counts(outer) == {'train_images': 4}
        frequency = {label: sum(label in found for found in BALANCED) / 4 for label in (CAT, SEA)}
        expected = [
            math.ceil(max(frequency[label] ** -0.5 for label in found)) for found in BALANCED
        ]
        assert counts.tolist() == expected


# labels of the images a to d that step 1 shows: cat and sea
BALANCED = [[CAT], [SEA], [CAT, SEA], [SEA]]


def test_disjoint_step_without_images(hand_made, scenario):
    # every image with fox holds classes of earlier steps only, so take away what step 0 keeps
    del hand_made.content['annotations'][0:2]
    hand_made.ann_file.write_text(json.dumps(hand_made.content))
    with pytest.raises(ValueError, match=r'step 0 \(disjoint\) has no training image: none of 5'):
        build(hand_made, scenario, setting='disjoint')


@pytest.mark.parametrize('step', [0, 2])
def test_evaluation_keeps_everything(hand_made, scenario, step):
    dataset = build(hand_made, scenario, step=step, test_mode=True, pipeline=TEST_PIPELINE)
    assert names(dataset) == ['a.jpg', 'b.jpg', 'c.jpg', 'd.jpg', 'e.jpg']
    for sample, (_name, ids) in zip(dataset, hand_made.maps.items(), strict=False):
        sample = sample['data_samples']
        sem_seg = sample.gt_panoptic_seg.sem_seg
        assert sem_seg.shape == (1, 8, 10)
        assert sem_seg.dtype == torch.uint8
        table = np.array([0] + [segment['id'] for segment in sample.segments])
        assert np.array_equal(table[sem_seg[0].numpy()], ids)
        assert 'gt_instances' not in sample
    assert dataset[2]['data_samples'].segments == [
        {'id': 8, 'label': FOX, 'iscrowd': True},
        {'id': 2, 'label': CAT, 'iscrowd': False},
        {'id': 65536, 'label': SEA, 'iscrowd': False},
    ]


def test_paths(hand_made, scenario):
    info = build(hand_made, scenario).get_data_info(0)
    assert info['img_path'] == str(hand_made.image_path('a'))
    assert info['seg_map_path'] == str(hand_made.png_path('a'))
    assert (info['img_id'], info['height'], info['width']) == ('id-a', 8, 10)
    assert [segment['visible'] for segment in info['segments']] == [False, True, True]


def test_lazy_opens_no_file(hand_made, scenario):
    inner = hand_made.inner(data_root='/nowhere', ann_file='no.json')
    dataset = build(hand_made, scenario, inner=inner, step=1, lazy_init=True)
    metainfo = dataset.metainfo
    assert metainfo['classes'] == ('cat', 'dog', 'fox', 'sky', 'sea')
    assert metainfo['thing_classes'] == ('cat', 'dog', 'fox')
    assert metainfo['stuff_classes'] == ('sky', 'sea')
    assert len(metainfo['palette']) == 5
    assert Scenario.from_config(metainfo['scenario']).current_classes == ('cat', 'sea')
    with pytest.raises(FileNotFoundError, match=r'/nowhere/no.json does not exist'):
        dataset.full_init()


def test_lazy_can_be_initialised_later(hand_made, scenario):
    dataset = build(hand_made, scenario, lazy_init=True)
    dataset.full_init()
    assert len(dataset) == 3


@pytest.mark.parametrize('enabled', [True, False])
@pytest.mark.parametrize('ann_file', ['', 'missing.json'])
def test_garbage_collector_is_left_as_it_was(hand_made, scenario, enabled, ann_file):
    options = {'inner': hand_made.inner(ann_file=ann_file)} if ann_file else {}
    dataset = build(hand_made, scenario, lazy_init=True, **options)
    before = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    try:
        with pytest.raises(FileNotFoundError) if ann_file else nullcontext():
            dataset.full_init()
        assert gc.isenabled() == enabled
    finally:
        (gc.enable if before else gc.disable)()


def test_pickles_and_serialises(hand_made, scenario):
    dataset = build(hand_made, scenario)
    assert dataset.data_list == []
    assert names(pickle.loads(pickle.dumps(dataset))) == names(dataset)
    plain = build(hand_made, scenario, serialize_data=False)
    assert len(plain.data_list) == 3
    assert plain.get_data_info(1) == dataset.get_data_info(1)


@pytest.mark.parametrize(
    ('indices', 'expected'), [(2, ['a.jpg', 'b.jpg']), ([2, 0], ['d.jpg', 'a.jpg'])]
)
def test_indices_are_of_the_step(hand_made, scenario, indices, expected):
    assert names(build(hand_made, scenario, indices=indices)) == expected


def test_logs_the_images_of_the_step(hand_made, scenario):
    logger = MMLogger.get_current_instance()
    handler = logging.Handler(logging.INFO)
    messages = []
    handler.emit = lambda record: messages.append(record.getMessage())
    logger.addHandler(handler)
    build(hand_made, scenario, step=1)
    build(hand_made, scenario, step=1, test_mode=True)
    logger.removeHandler(handler)
    assert messages == [
        'step 1 (overlap): 4 of 5 images, 2 classes to learn: cat, sea',
        'step 1 (evaluation): 5 of 5 images, 4 classes seen so far',
    ]


class TestHandMadeSplit:
    def test_list(self, hand_made, scenario):
        assert names(build(hand_made, scenario, images=['d.jpg', 'a.jpg'])) == ['d.jpg', 'a.jpg']

    def test_file(self, hand_made, scenario, tmp_path):
        path = tmp_path / 'split.txt'
        path.write_text('b.jpg\n\na.jpg\n')
        assert names(build(hand_made, scenario, images=str(path))) == ['b.jpg', 'a.jpg']

    def test_evaluation(self, hand_made, scenario):
        dataset = build(hand_made, scenario, images=['e.jpg'], test_mode=True)
        assert names(dataset) == ['e.jpg']

    def test_missing_file(self, hand_made, scenario):
        with pytest.raises(FileNotFoundError, match=r'images: no\.txt does not exist'):
            build(hand_made, scenario, images='no.txt')

    def test_image_without_class_of_the_step(self, hand_made, scenario):
        message = (
            r'images: c\.jpg does not belong to step 0 in the overlap setting: it holds '
            r"\['cat', 'sea'\], and the step teaches \['sky', 'dog'\]; remove it"
        )
        with pytest.raises(ValueError, match=message):
            build(hand_made, scenario, images=['a.jpg', 'c.jpg'])

    def test_image_without_segment(self, hand_made, scenario):
        with pytest.raises(ValueError, match=r'e\.jpg does not belong to step 0 .* no segment'):
            build(hand_made, scenario, images=['e.jpg'])

    def test_image_with_later_class(self, hand_made, scenario):
        with pytest.raises(ValueError, match=r'd\.jpg does not belong to step 1 in the disjoint'):
            build(hand_made, scenario, images=['d.jpg'], step=1, setting='disjoint')

    def test_unknown_image(self, hand_made, scenario):
        with pytest.raises(ValueError, match=r"\['z.jpg'\] are not in the annotations.*'a.jpg'"):
            build(hand_made, scenario, images=['a.jpg', 'z.jpg'])

    def test_repeated_image(self, hand_made, scenario):
        with pytest.raises(ValueError, match=r"\['a.jpg'\] are listed more than once"):
            build(hand_made, scenario, images=['a.jpg', 'b.jpg', 'a.jpg'])


class TestHeldOut:
    """Half of the images, by their names: d and e."""

    @pytest.mark.parametrize(
        ('step', 'expected'), [(0, ['a.jpg', 'b.jpg']), (1, ['a.jpg', 'b.jpg', 'c.jpg'])]
    )
    def test_training(self, hand_made, scenario, step, expected):
        dataset = build(hand_made, scenario, step=step, held_out=0.5)
        assert names(dataset) == expected

    def test_evaluation(self, hand_made, scenario):
        held = build(hand_made, scenario, held_out=0.5, test_mode=True, pipeline=TEST_PIPELINE)
        assert names(held) == ['d.jpg', 'e.jpg']

    @pytest.mark.parametrize('share', [1, -0.1, True, '0.1', math.nan])
    def test_bad_share(self, hand_made, scenario, share):
        with pytest.raises(ValueError, match='held_out: expected a share from 0 to below 1, got'):
            build(hand_made, scenario, held_out=share)

    def test_none_is_held_out(self, hand_made, scenario):
        with pytest.raises(ValueError, match='held_out: 0.001 of 5 images leaves none'):
            build(hand_made, scenario, held_out=0.001, test_mode=True)


class TestBadConfig:
    def test_no_scenario(self, hand_made):
        with pytest.raises(
            TypeError, match=r'scenario: expected a dict .* got None; inherit one of'
        ):
            IncrementalDataset(hand_made.inner())

    def test_other_class_names(self, hand_made, scenario):
        inner = hand_made.inner()
        inner['metainfo']['classes'] = ('cat', 'dog', 'wolf', 'sky', 'sea')
        message = (
            r"classes differ.*only the scenario has \['fox'\], only the dataset has \['wolf'\]"
        )
        with pytest.raises(ValueError, match=message):
            build(hand_made, scenario, inner=inner, lazy_init=True)

    def test_other_class_order(self, hand_made, scenario):
        scenario['thing_classes'] = ['dog', 'cat', 'fox']
        message = "in another order: class 0 is 'dog' in the scenario and 'cat' in the dataset"
        with pytest.raises(ValueError, match=message):
            build(hand_made, scenario, lazy_init=True)

    def test_thing_as_stuff(self, hand_made, scenario):
        scenario['thing_classes'], scenario['stuff_classes'] = ['cat', 'dog'], ['fox', 'sky', 'sea']
        with pytest.raises(ValueError, match=r'its thing_classes differ from those of mmdet'):
            build(hand_made, scenario, lazy_init=True)

    @pytest.mark.parametrize(
        ('key', 'value'),
        [
            ('pipeline', TRAIN_PIPELINE),
            ('filter_cfg', {'filter_empty_gt': True}),
            ('indices', 3),
            ('test_mode', True),
        ],
    )
    def test_arguments_of_the_wrapper(self, hand_made, scenario, key, value):
        with pytest.raises(ValueError, match=rf'dataset: \[{key!r}\] have to be left out'):
            build(hand_made, scenario, inner=hand_made.inner(**{key: value}))

    @pytest.mark.parametrize('inner', ['CocoPanopticDataset', {'ann_file': 'a.json'}])
    def test_inner_config(self, scenario, inner):
        with pytest.raises(TypeError, match=r'dataset: expected the config of a dataset'):
            IncrementalDataset(inner, scenario)

    @pytest.mark.parametrize('key', ['img', 'seg'])
    def test_prefixes(self, hand_made, scenario, key):
        inner = hand_made.inner()
        inner['data_root'] = None
        inner['ann_file'] = str(hand_made.ann_file)
        inner['data_prefix'][key] = ''
        with pytest.raises(ValueError, match=f'dataset: data_prefix has no {key!r}'):
            build(hand_made, scenario, inner=inner)

    def test_ignore_empty(self, hand_made, scenario):
        pipeline = [{'type': 'LoadImageFromFile', 'ignore_empty': True}]
        with pytest.raises(ValueError, match=r'ignore_empty=True.*would silently replace'):
            build(hand_made, scenario, pipeline=pipeline)

    def test_evaluation_without_annotation(self, hand_made, scenario):
        del hand_made.content['annotations'][3]
        hand_made.ann_file.write_text(json.dumps(hand_made.content))
        with pytest.raises(ValueError, match=r'1 images to evaluate on have no .* as d\.jpg'):
            build(hand_made, scenario, test_mode=True)
        assert names(build(hand_made, scenario)) == ['a.jpg', 'b.jpg']

    def test_evaluation_without_images(self, hand_made, scenario):
        hand_made.content.update(images=[], annotations=[])
        hand_made.ann_file.write_text(json.dumps(hand_made.content))
        with pytest.raises(ValueError, match=r'no image to evaluate on'):
            build(hand_made, scenario, test_mode=True)


class TestBadFiles:
    def test_image_missing(self, hand_made, scenario):
        hand_made.image_path('b').unlink()
        with pytest.raises(FileNotFoundError, match=re.escape(str(hand_made.image_path('b')))):
            build(hand_made, scenario)[1]

    @pytest.mark.parametrize('content', [None, b''])
    def test_error_can_leave_a_worker_process(self, hand_made, scenario, content):
        path = hand_made.image_path('b')
        path.write_bytes(content) if content is not None else path.unlink()
        with pytest.raises((OSError, RuntimeError)) as caught:
            build(hand_made, scenario)[1]
        # a DataLoader makes the error again in the main process, from its type and message
        assert str(path) in str(type(caught.value)(f'in worker process 0: {caught.value}'))

    @pytest.mark.parametrize('content', [b'', b'no image'])
    @pytest.mark.parametrize('test_mode', [False, True])
    def test_image_unreadable(self, hand_made, scenario, content, test_mode):
        hand_made.image_path('b').write_bytes(content)
        dataset = build(hand_made, scenario, test_mode=test_mode)
        dataset[0]
        with pytest.raises((AssertionError, RuntimeError), match=r'img/b\.jpg'):
            dataset[1]

    def test_png_missing(self, hand_made, scenario):
        hand_made.png_path('b').unlink()
        with pytest.raises(FileNotFoundError, match=r'PNG .*b_panoptic.png does not exist'):
            build(hand_made, scenario)[1]

    def test_png_of_another_size(self, hand_made, scenario):
        hand_made.write_png('b', hand_made.maps['b.jpg'][:, :7])
        message = r'b_panoptic\.png: its size .* is \(8, 7\), but the image .*b\.jpg has \(8, 10\)'
        with pytest.raises(ValueError, match=message):
            build(hand_made, scenario)[1]

    def test_segment_without_pixels(self, hand_made, scenario):
        ids = hand_made.maps['b.jpg']
        hand_made.write_png('b', np.where(ids == 301, 0, ids))
        message = r'b_panoptic\.png .* no pixel has the segment ids \[301\] that the annotation'
        with pytest.raises(ValueError, match=message):
            build(hand_made, scenario)[1]

    def test_pixels_without_segment(self, hand_made, scenario):
        ids = hand_made.maps['b.jpg']
        hand_made.write_png('b', np.where(ids == 0, 999, ids))
        message = r'b_panoptic\.png .* does not list the segment ids \[999\] of its pixels'
        with pytest.raises(ValueError, match=message):
            build(hand_made, scenario)[1]

    def test_transform_that_gives_up(self, hand_made, scenario):
        pipeline = [lambda results: None]
        with pytest.raises(Exception, match=r'Cannot find valid image after 3'):
            build(hand_made, scenario, pipeline=pipeline, max_refetch=3)[0]


class SegmentsInfoDataset(BaseDataset):
    """A dataset of another kind, whose data have ``segments_info``."""

    METAINFO = {'classes': ('cat', 'dog', 'fox', 'sky', 'sea')}

    def load_data_list(self):
        return [
            {**info, 'img_path': f'{self.data_prefix["img_path"]}/{info["img_path"]}'}
            for info in load(self.ann_file)
        ]


@pytest.fixture
def other_kind(tmp_path):
    DATASETS.register_module(module=SegmentsInfoDataset, force=True)
    infos = [
        {
            'img_path': 'sub/a.jpg',
            'seg_map_path': 'a.png',
            'segments_info': [
                {'id': 1, 'category': FOX, 'is_thing': True},
                # as CocoPanopticDataset marks a crowd
                {'id': 2, 'category': CAT, 'is_thing': False},
                {'id': 3, 'category': SKY, 'is_thing': False},
                {'id': 4, 'category': DOG, 'is_thing': True, 'iscrowd': 1},
            ],
        },
        {
            'img_path': 'b.jpg',
            'img_id': 7,
            'seg_map_path': 'b.png',
            'segments_info': [{'id': 1, 'category': CAT, 'is_thing': True}],
        },
    ]
    path = tmp_path / 'infos.json'

    def config(change=None):
        if change:
            change(infos)
        path.write_text(json.dumps(infos))
        return {
            'type': 'SegmentsInfoDataset',
            'ann_file': str(path),
            'data_prefix': {'img_path': '/img'},
        }

    yield config
    DATASETS.module_dict.pop('SegmentsInfoDataset')


class TestOtherDatasets:
    def build(self, inner, scenario, **kwargs):
        return IncrementalDataset(inner, scenario, **kwargs)

    @pytest.mark.parametrize('inner', [None])
    def test_segments_info(self, other_kind, scenario, inner, mmdet_scope):
        config = other_kind()
        config.pop('type')
        dataset = self.build({'type': 'SegmentsInfoDataset', **config}, scenario)
        assert len(dataset) == 1
        assert dataset.get_data_info(0) == {
            'img_path': '/img/sub/a.jpg',
            'img_id': '/img/sub/a.jpg',
            'seg_map_path': 'a.png',
            'height': None,
            'width': None,
            'sample_idx': 0,
            'segments': [
                {'id': 1, 'label': FOX, 'iscrowd': False, 'visible': False},
                {'id': 2, 'label': CAT, 'iscrowd': True, 'visible': False},
                {'id': 3, 'label': SKY, 'iscrowd': False, 'visible': True},
                {'id': 4, 'label': DOG, 'iscrowd': True, 'visible': False},
            ],
        }
        assert dataset.metainfo['thing_classes'] == ('cat', 'dog', 'fox')

    def test_names_of_images(self, other_kind, scenario):
        dataset = self.build(other_kind(), {**scenario, 'step': 1}, images=['b.jpg'])
        assert dataset.get_data_info(0)['img_id'] == 7
        dataset = self.build(other_kind(), scenario, images=['sub/a.jpg'])
        assert len(dataset) == 1

    @pytest.mark.parametrize('key', ['segments_info', 'seg_map_path'])
    def test_missing_key(self, other_kind, scenario, key):
        config = other_kind(lambda infos: infos[1].pop(key))
        with pytest.raises(ValueError, match=rf'the data of /img/b\.jpg hold no {key}'):
            self.build(config, scenario)

    def test_wrong_label(self, other_kind, scenario):
        config = other_kind(lambda infos: infos[1]['segments_info'][0].update(category=5))
        with pytest.raises(ValueError, match=r'b\.jpg: segment 1 has the label 5; expected 0 to 4'):
            self.build(config, scenario)

    def test_repeated_id(self, other_kind, scenario):
        config = other_kind(lambda infos: infos[0]['segments_info'][0].update(id=2))
        with pytest.raises(ValueError, match=r'segment ids of /img/sub/a\.jpg are repeated'):
            self.build(config, scenario)

    def test_aliases(self, other_kind, scenario):
        with pytest.raises(ValueError, match=r'category_aliases: expected None, because Segments'):
            self.build(other_kind(), scenario, category_aliases={'ocean': 'sea'})
