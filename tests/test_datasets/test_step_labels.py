"""Every pixel that a step sees after the whole pipeline, against a plain loop over raw PNGs."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from mmseg.datasets import ADE20KDataset, PascalVOCDataset
from PIL import Image
from semantic_miniatures import write_ade_semantic_miniature, write_voc_miniature

from mmcomformer.dataset_converters.ade20k import shifted_labels
from mmcomformer.dataset_converters.voc import convert_voc
from mmcomformer.datasets import IncrementalDataset

pytestmark = [pytest.mark.families, pytest.mark.usefixtures('mmseg_scope')]
SETTINGS = ('overlap', 'disjoint', 'sequential')


class AddCoordinates:
    """Let the transforms that follow carry along where each pixel comes from."""

    def __call__(self, results):
        height, width = results['gt_seg_map'].shape
        results['gt_origin'] = np.arange(height * width, dtype=np.int32).reshape(height, width)
        results['seg_fields'].append('gt_origin')
        return results


def pipeline(loader='LoadSemanticMap'):
    return [
        {'type': 'LoadImageFromFile'},
        {'type': loader},
        AddCoordinates(),
        {'type': 'RandomResize', 'scale': (32, 24), 'ratio_range': (0.5, 2.0), 'keep_ratio': True},
        {'type': 'RandomCrop', 'crop_size': (20, 20), 'cat_max_ratio': 0.75},
        {'type': 'RandomFlip', 'prob': 0.5},
        {'type': 'PackSemanticInputs', 'meta_keys': ('img_path', 'flip', 'gt_origin')},
    ]


@dataclass
class Miniature:
    """A set whose raw label maps the oracle reads by itself."""

    inner: dict
    classes: tuple
    increments: list
    maps: dict
    label_of: object
    background: str | None = None

    def scenario(self, **options):
        names = [name for name in self.classes if name != self.background]
        # another learning order than that of the labels
        config = {'class_order': names[1::2] + names[::2], 'increments': self.increments}
        lists = {'thing_classes': [], 'stuff_classes': list(self.classes)}
        return {**lists, **config, 'background': self.background, **options}

    def build(self, loader='LoadSemanticMap', test_mode=False, inner=None, **options):
        return IncrementalDataset(
            {**self.inner, **(inner or {})},
            self.scenario(**options),
            pipeline=pipeline(loader),
            test_mode=test_mode,
            serialize_data=False,
        )

    def raw(self, path):
        return np.asarray(Image.open(self.maps / f'{Path(path).stem}.png')).tolist()

    def labels_of_step(self, step):
        """Labels of earlier steps, of this one, and of later ones."""
        order = self.scenario()['class_order']
        labels = [self.classes.index(name) for name in order]
        first = sum(self.increments[:step])
        last = first + self.increments[step]
        return set(labels[:first]), set(labels[first:last]), set(labels[last:])

    def expected_names(self, setting, step):
        _old, current, later = self.labels_of_step(step)
        kept = []
        for path in sorted(self.maps.iterdir()):
            present = {self.label_of(value) for row in self.raw(path) for value in row}
            if present & current and (setting == 'overlap' or not present & later):
                kept.append(path.stem)
        return kept

    def expected_labels(self, setting, step):
        """What each value of a raw map has to become, one by one."""
        old, current, _later = self.labels_of_step(step)
        shown = current | old if setting == 'sequential' else current
        labels = {value: self.label_of(value) for value in range(256)}
        return {value: label if label in shown else 255 for value, label in labels.items()}

    def check(self, sample, expected):
        """Compare every pixel of a sample with what its raw value has to become."""
        raw = [value for row in self.raw(sample.img_path) for value in row]
        rows = [[expected[raw[origin]] for origin in row] for row in sample.gt_origin.tolist()]
        assert sample.gt_sem_seg.data[0].tolist() == rows
        labels = {label for row in rows for label in row}
        assert sample.gt_labels == tuple(sorted(labels - {255}))
        return labels


@pytest.fixture(scope='module')
def voc(tmp_path_factory):
    root = write_voc_miniature(tmp_path_factory.mktemp('voc') / 'VOC2012')
    convert_voc(root, workers=1)
    # the converter writes the maps of both lists; the oracle reads VOC's own
    for path in (root / 'SegmentationClass').glob('val*'):
        path.unlink()
    return Miniature(
        inner={
            'type': 'PascalVOCDataset',
            'data_root': str(root),
            'ann_file': 'ImageSets/Segmentation/train.txt',
            'data_prefix': {'img_path': 'JPEGImages', 'seg_map_path': 'SegmentationClassAug'},
        },
        classes=PascalVOCDataset.METAINFO['classes'],
        increments=[15, 2, 3],
        maps=root / 'SegmentationClass',
        label_of=lambda value: value,
        background='background',
    )


@pytest.fixture(scope='module')
def ade(tmp_path_factory):
    root = write_ade_semantic_miniature(tmp_path_factory.mktemp('ade') / 'ADEChallengeData2016')
    return Miniature(
        inner={
            'type': 'ADE20KDataset',
            'data_root': str(root),
            'data_prefix': {
                'img_path': 'images/training',
                'seg_map_path': 'annotations/training',
            },
        },
        classes=ADE20KDataset.METAINFO['classes'],
        increments=[100, 25, 25],
        maps=root / 'annotations' / 'training',
        label_of=lambda value: 255 if value == 0 else value - 1,
    )


@pytest.fixture(params=['voc', 'ade'])
def miniature(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize('step', [0, 1, 2])
@pytest.mark.parametrize('setting', SETTINGS)
def test_every_pixel(miniature, setting, step):
    dataset = miniature.build(setting=setting, step=step)
    paths = [dataset.get_data_info(index)['img_path'] for index in range(len(dataset))]
    names = [Path(path).stem for path in paths]
    assert names == miniature.expected_names(setting, step)
    expected = miniature.expected_labels(setting, step)
    flips, kinds = set(), set()
    for turn in range(max(16, len(dataset))):
        sample = dataset[turn % len(dataset)]['data_samples']
        kinds |= miniature.check(sample, expected)
        flips.add(sample.flip)
    assert flips == {True, False}
    assert 255 in kinds
    assert len(kinds) > 2


def test_settings_differ(miniature):
    """The comparison above would be empty if every setting kept the same images."""
    kept = {setting: miniature.expected_names(setting, 1) for setting in SETTINGS}
    everything = len(list(miniature.maps.iterdir()))
    assert 0 < len(kept['disjoint']) < len(kept['overlap']) < everything
    assert kept['disjoint'] == kept['sequential']


@pytest.mark.parametrize('step', [0, 2])
def test_evaluation_shows_everything(miniature, step):
    dataset = miniature.build(test_mode=True, step=step)
    assert len(dataset) == len(list(miniature.maps.iterdir()))
    expected = {value: miniature.label_of(value) for value in range(256)}
    for index in range(len(dataset)):
        sample = dataset[index]['data_samples']
        miniature.check(sample, expected)
    if miniature.background is not None:
        assert 0 in sample.gt_labels


@pytest.mark.parametrize('setting', SETTINGS)
def test_mmseg_loads_the_same(miniature, setting):
    ours = miniature.build(setting=setting, step=1)
    theirs = miniature.build('LoadAnnotations', setting=setting, step=1)
    assert len(ours) == len(theirs)
    for index in range(len(ours)):
        maps = []
        for dataset in (ours, theirs):
            np.random.seed(index)
            maps.append(dataset[index]['data_samples'].gt_sem_seg.data)
        assert maps[0].equal(maps[1])


def test_chosen_classes(voc):
    """A dataset class of whose classes some are chosen numbers them anew."""
    chosen = ('person', 'cat', 'background', 'train', 'bus', 'dog')
    new_labels = {voc.classes.index(name): label for label, name in enumerate(chosen)}
    voc = Miniature(
        {**voc.inner, 'metainfo': {'classes': chosen}},
        classes=chosen,
        increments=[3, 2],
        maps=voc.maps,
        label_of=lambda value: new_labels.get(value, 255),
        background='background',
    )
    for loader in ('LoadSemanticMap', 'LoadAnnotations'):
        dataset = voc.build(loader, setting='sequential', step=1)
        expected = voc.expected_labels('sequential', 1)
        samples = [dataset[index]['data_samples'] for index in range(len(dataset))]
        kinds = set().union(*(voc.check(sample, expected) for sample in samples))
        assert len(kinds) > 3


def test_shifted_maps(ade, tmp_path):
    """Maps that start at 0 give the same labels with mmseg's base class."""
    for path in ade.maps.iterdir():
        Image.fromarray(shifted_labels(np.asarray(Image.open(path)))).save(tmp_path / path.name)
    inner = {
        'type': 'BaseSegDataset',
        'metainfo': {'classes': ade.classes},
        'data_prefix': {'img_path': 'images/training', 'seg_map_path': str(tmp_path)},
    }
    shifted, original = ade.build(inner=inner, step=1), ade.build(step=1)
    assert len(shifted) == len(original)
    for index in range(len(shifted)):
        maps = []
        for dataset in (shifted, original):
            np.random.seed(index)
            maps.append(dataset[index]['data_samples'].gt_sem_seg.data)
        assert maps[0].equal(maps[1])
