import json

import numpy as np
import pytest
from downloads import HEIGHT, WIDTH, annotation_of, as_categories, photo, read_ids, save
from mmengine.registry import DATASETS
from PIL import Image

from mmcomformer.dataset_converters.cityscapes import cityscapes_categories, convert_cityscapes

SKY, ROAD, CAR, RIDER = 23, 7, 26, 25


def convert(root, **kwargs):
    return convert_cityscapes(root, workers=1, **kwargs)


def test_every_pixel(cityscapes):
    reports = convert(cityscapes)
    assert all(report.usable for report in reports)
    assert reports[0].notes == {
        'crowds': {
            'aachen/aachen_000000_000000_leftImg8bit.png': 1,
            'ulm/ulm_000000_000001_leftImg8bit.png': 1,
        }
    }
    folder = cityscapes / 'gtFine' / 'cityscapes_panoptic_train'
    content = json.loads(folder.with_suffix('.json').read_text())
    for image in content['images']:
        assert (cityscapes / 'leftImg8bit' / 'train' / image['file_name']).is_file()
    annotation = annotation_of(content, 'ulm_000000_000001')
    assert annotation['file_name'] == 'ulm_000000_000001_gtFine_panoptic.png'
    path = folder / annotation['file_name']
    expected = np.full((HEIGHT, WIDTH), None, dtype=object)
    for (rows, columns), name in {
        ((0, 4), (0, WIDTH)): (SKY, 0, 0),
        ((4, 8), (0, WIDTH)): (ROAD, 0, 0),
        ((4, 6), (5, 8)): (CAR, 0, 1),
        ((4, 6), (0, 2)): (CAR, 1, 0),
        ((4, 6), (2, 4)): (CAR, 2, 0),
        ((4, 6), (9, 11)): None,
        ((6, 8), (9, 11)): (RIDER, 0, 0),
    }.items():
        for row in range(*rows):
            for column in range(*columns):
                expected[row, column] = name
    assert (as_categories(path, annotation['segments_info']) == expected).all()
    # ids are those of the source, where it is evaluated
    source = np.asarray(
        Image.open(
            cityscapes / 'gtFine' / 'train' / 'ulm' / 'ulm_000000_000001_gtFine_instanceIds.png'
        )
    )
    assert (read_ids(path) == np.where((source == 3) | (source == 29000), 0, source)).all()


def test_categories():
    categories = cityscapes_categories()
    assert len({category['id'] for category in categories}) == len(categories) == 19
    assert sum(category['isthing'] for category in categories) == 8
    assert all(category['isthing'] for category in categories[:8])


@pytest.mark.families
@pytest.mark.usefixtures('mmdet_scope')
def test_loads(cityscapes):
    convert(cityscapes)
    names = {
        kind: [c['name'] for c in cityscapes_categories() if c['isthing'] == kind]
        for kind in (1, 0)
    }
    scenario = {'increments': [19], 'thing_classes': names[1], 'stuff_classes': names[0]}
    built = DATASETS.build(
        {
            'type': 'IncrementalDataset',
            'scenario': scenario,
            'dataset': {
                'type': 'CocoPanopticDataset',
                'data_root': str(cityscapes),
                'ann_file': 'gtFine/cityscapes_panoptic_train.json',
                'data_prefix': {
                    'img': 'leftImg8bit/train/',
                    'seg': 'gtFine/cityscapes_panoptic_train/',
                },
                'metainfo': {
                    'classes': [*names[1], *names[0]],
                    'thing_classes': names[1],
                    'stuff_classes': names[0],
                },
            },
            'pipeline': [{'type': 'LoadImageFromFile'}, {'type': 'LoadPanopticIdMap'}],
        }
    )
    assert len(built) == 2
    assert built[0]['gt_seg_map'].shape == (HEIGHT, WIDTH)
    assert [s['label'] for s in built.get_data_info(0)['segments'] if s['iscrowd']] == [2]


def test_check(cityscapes):
    convert(cityscapes)
    assert all(report.usable for report in convert(cityscapes, check=True))
    next((cityscapes / 'gtFine' / 'cityscapes_panoptic_val').iterdir()).unlink()
    reports = convert(cityscapes, check=True)
    assert [report.usable for report in reports] == [True, False]


class TestFaults:
    def test_layout(self, cityscapes):
        (cityscapes / 'leftImg8bit').rename(cityscapes / 'left')
        with pytest.raises(FileNotFoundError, match=r'(?s)leftImg8bit/train does not.*gtFine/\{tr'):
            convert(cityscapes)

    def source(self, cityscapes, kind):
        return cityscapes / 'gtFine' / 'val' / 'lindau' / f'lindau_000000_000000_gtFine_{kind}.png'

    def fault(self, cityscapes):
        train, val = convert(cityscapes)
        assert train.usable
        assert not (cityscapes / 'gtFine' / 'cityscapes_panoptic_val.json').exists()
        (fault,) = val.faults
        return fault

    def test_missing(self, cityscapes):
        path = self.source(cityscapes, 'labelIds')
        path.unlink()
        assert self.fault(cityscapes) == f'{path} does not exist'

    def test_value(self, cityscapes):
        path = self.source(cityscapes, 'instanceIds')
        save(path, np.full((HEIGHT, WIDTH), 34000, np.uint16))
        assert f'{path}: expected labels from 0 to 33' in self.fault(cityscapes)

    def test_size(self, cityscapes):
        name = 'lindau_000000_000000_leftImg8bit.png'
        photo(cityscapes / 'leftImg8bit' / 'val' / 'lindau' / name, height=HEIGHT + 2)
        assert 'instanceIds.png has 12 x 16 pixels' in self.fault(cityscapes)

    def test_labels_that_differ_are_noted(self, cityscapes):
        labels = np.full((HEIGHT, WIDTH), 23, np.uint8)
        save(self.source(cityscapes, 'labelIds'), labels)
        notes = convert(cityscapes)[1].notes['pixels whose labelIds differ from their instanceIds']
        assert list(notes.values()) == [HEIGHT * WIDTH - 4 * WIDTH]
