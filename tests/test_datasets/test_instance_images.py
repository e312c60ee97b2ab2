"""Instance datasets: what a step sees, masks that overlap, and what is refused."""

import json

import cv2
import numpy as np
import pytest
from mmdet.structures.mask import BitmapMasks

from mmcomformer.datasets import IncrementalDataset, LoadInstanceMasks, incremental_dataset
from mmcomformer.datasets.checking import check_scenario
from mmcomformer.registry import DATASETS

pytestmark = [pytest.mark.families, pytest.mark.usefixtures('mmdet_scope')]

CLASSES = ('cat', 'dog', 'fox')
CAT, DOG, FOX = range(3)
SCENARIO = {
    'increments': [1, 2],
    'thing_classes': list(CLASSES),
    'stuff_classes': [],
    'class_order': ['dog', 'cat', 'fox'],
}
HEIGHT, WIDTH = 8, 10
IDS = {'fox': 3, 'cat': 70, 'dog': 2}


def square(left, top, side=4):
    return [[left, top, left + side, top, left + side, top + side, left, top + side]]


def runs(left, top, side=4):
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8, order='F')
    mask[top : top + side, left : left + side] = 1
    starts = np.flatnonzero(np.diff(mask.ravel('F').astype(int), prepend=0)).tolist()
    edges = [*starts, mask.size]
    counts = np.diff([0, *edges]).tolist()
    return {'size': [HEIGHT, WIDTH], 'counts': counts}


ANNOTATIONS = {
    'a': [('cat', square(0, 0), 0), ('dog', square(2, 2), 0)],
    'b': [('fox', runs(1, 1), 0), ('cat', runs(5, 2), 1)],
    'c': [('dog', square(3, 0), 0), ('dog', square(0, 4), 0)],
    'd': [],
}


@pytest.fixture
def content():
    found = {
        'images': [],
        'annotations': [],
        'categories': [{'id': id_, 'name': name} for name, id_ in IDS.items()],
    }
    for name, entries in ANNOTATIONS.items():
        found['images'].append(
            {'id': name, 'file_name': f'{name}.jpg', 'height': HEIGHT, 'width': WIDTH}
        )
        for class_name, segmentation, crowd in entries:
            found['annotations'].append(
                {
                    'id': len(found['annotations']),
                    'image_id': name,
                    'category_id': IDS[class_name],
                    'iscrowd': crowd,
                    'segmentation': segmentation,
                }
            )
    return found


@pytest.fixture
def build(tmp_path, content):
    """Write the set as ``content`` is then, and return the dataset of a step."""

    def make(step=0, *, lazy_init=False, **options):
        (tmp_path / 'images').mkdir(exist_ok=True)
        for image in content['images']:
            path = tmp_path / 'images' / str(image['file_name'])
            cv2.imwrite(str(path), np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
        (tmp_path / 'instances.json').write_text(json.dumps(content))
        return DATASETS.build(config(tmp_path, step, lazy_init=lazy_init, **options))

    return make


def config(root, step, **options):
    return {
        'type': 'IncrementalDataset',
        'dataset': {
            'type': 'CocoDataset',
            'metainfo': {'classes': CLASSES, 'thing_classes': CLASSES, 'stuff_classes': ()},
            'data_root': f'{root}/',
            'ann_file': 'instances.json',
            'data_prefix': {'img': 'images/'},
        },
        'scenario': {**SCENARIO, 'step': step},
        **options,
    }


def shown(dataset):
    """The visible labels of each image, by its name."""
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    return {
        info['img_id']: [item['label'] for item in info['segments'] if item['visible']]
        for info in infos
    }


def test_what_the_steps_see(build):
    assert isinstance(build(), IncrementalDataset)
    assert shown(build(0)) == {'a': [DOG], 'c': [DOG, DOG]}
    # the crowd of cats is not learned from
    assert shown(build(1)) == {'a': [CAT], 'b': [FOX]}
    every = {'a': [CAT, DOG], 'b': [FOX, CAT], 'c': [DOG, DOG], 'd': []}
    assert shown(build(0, test_mode=True)) == every


@pytest.mark.parametrize(
    ('setting', 'first', 'second'),
    [
        ({'setting': 'disjoint'}, {'c': [DOG, DOG]}, {'a': [CAT], 'b': [FOX]}),
        ({'setting': 'sequential'}, {'c': [DOG, DOG]}, {'a': [CAT, DOG], 'b': [FOX]}),
        # the seed gives the image of a cat and a dog to one of them
        (
            {'setting': 'partitioned', 'partition_seed': 0},
            {'a': [DOG], 'c': [DOG, DOG]},
            {'b': [FOX]},
        ),
        (
            {'setting': 'partitioned', 'partition_seed': 4},
            {'c': [DOG, DOG]},
            {'a': [CAT], 'b': [FOX]},
        ),
    ],
)
def test_settings(build, setting, first, second):
    scenario = {**SCENARIO, **setting}
    assert shown(build(0, scenario={**scenario, 'step': 0})) == first
    assert shown(build(1, scenario={**scenario, 'step': 1})) == second


def test_images_from_memory_show_what_they_were_stored_with(build):
    dataset = build(1, memory={'type': 'ClassProportionalMemory', 'size': 1})
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    labels = [[item['label'] for item in info['segments'] if item['visible']] for info in infos]
    assert [info.get('from_memory', False) for info in infos] == [False, False, True]
    assert labels[:2] == [[CAT], [FOX]]
    assert set(labels[2]) == {DOG}


def test_masks_overlap_and_follow_the_pipeline(build):
    pipeline = [
        {'type': 'LoadImageFromFile'},
        {'type': 'LoadInstanceMasks'},
        {'type': 'RandomFlip', 'prob': 1.0},
        {'type': 'PackDetInputs', 'meta_keys': ('img_id',)},
    ]
    scenario = {**SCENARIO, 'increments': [3], 'step': 0}
    sample = build(0, scenario=scenario, pipeline=pipeline)[0]['data_samples']
    assert sample.gt_instances.labels.tolist() == [CAT, DOG]
    masks = sample.gt_instances.masks.masks
    cat, dog = np.zeros((2, HEIGHT, WIDTH), dtype=bool)
    cat[0:4, 0:4] = dog[2:6, 2:6] = True
    assert (masks == np.stack([cat, dog])[:, :, ::-1]).all()
    assert sample.gt_instances.bboxes.tensor.tolist() == [[6, 0, 10, 4], [4, 2, 8, 6]]


def test_run_lengths(build):
    results = build(1).get_data_info(1)
    loaded = LoadInstanceMasks().transform({**results, 'ori_shape': (HEIGHT, WIDTH)})
    assert isinstance(loaded['gt_masks'], BitmapMasks)
    rows, columns = np.nonzero(loaded['gt_masks'].masks[0])
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (1, 4, 1, 4)
    assert loaded['gt_masks'].masks.sum() == 16


def test_masks_without_a_pixel_are_left_out(build, content):
    content['annotations'][0]['segmentation'] = [[1, 1, 1, 1, 1, 1]]
    dataset = build(1)
    results = {**dataset.get_data_info(0), 'ori_shape': (HEIGHT, WIDTH)}
    loaded = LoadInstanceMasks().transform(results)
    assert loaded['gt_masks'].masks.shape == (0, HEIGHT, WIDTH)
    assert len(loaded['gt_bboxes']) == len(loaded['gt_bboxes_labels']) == 0


@pytest.mark.parametrize(
    ('position', 'change', 'message'),
    [
        (0, {'segmentation': []}, r'annotation 0 of image .a.: .* got \[\] .* have a box only'),
        (0, {'segmentation': None}, 'annotation 0 of image .a.: .* got null'),
        (2, {'segmentation': 'abc'}, r"got 'abc' \(a string\); expected \[\[x, y, x, y"),
        (2, {'segmentation': [1, 2, 3, 4, 5, 6]}, r'got \[1, 2.* \(a list\); expected \[\[x, y'),
        (2, {'segmentation': {'counts': [80]}}, r"\(an object\); expected .* or \{'size': "),
        (1, {'category_id': 9}, r'annotations\[1\] \(id 1\) has the unknown category 9'),
        (1, {'image_id': 'z'}, r"annotations\[1\] .* the image id 'z' .* is not listed"),
        (1, {'iscrowd': 'no'}, r'annotations\[1\] .*: iscrowd: expected 0 or 1'),
    ],
)
def test_bad_annotations(build, content, position, change, message):
    content['annotations'][position].update(change)
    with pytest.raises(ValueError, match=rf'annotation file .*instances.json.*{message}'):
        build()


@pytest.mark.parametrize(
    ('segmentation', 'advice'),
    [([], 'remove the annotations that have a box only'), (5, 'expected .* or .*counts.: ...}')],
)
def test_how_many_annotations_are_bad(build, content, segmentation, advice):
    for position in (1, 3):
        content['annotations'][position]['segmentation'] = segmentation
    with pytest.raises(ValueError, match=rf'annotation 1 .*; .*{advice} \(2 of 6 annotations are'):
        build()


@pytest.mark.parametrize('crowd', [0, 1])
def test_shares_of_the_image(build, content, tmp_path, crowd):
    for annotation in content['annotations'][:2]:
        values = annotation['segmentation'][0]
        annotation['segmentation'] = [[value / 10 for value in values]]
    if crowd:
        # run lengths are pixels in any case
        content['annotations'].append({**content['annotations'][3], 'image_id': 'a', 'id': 9})
    message = (
        r"annotation file .*instances.json, image 'a', annotation 0: segmentation: the coordinates "
        r'look like shares .* multiply x by 10 and y by 8, .* \(1 of 4 images are like this\)$'
    )
    with pytest.raises(ValueError, match=message):
        build()
    report = check_scenario([config(tmp_path, 0)], {}, workers=1)
    (fault,) = report.faults
    assert 'multiply x by 10 and y by 8' in fault.message


def test_bad_categories_and_names(build, content):
    content['categories'][0]['name'] = 'wolf'
    with pytest.raises(ValueError, match=r"categories: 'wolf' \(id 3\) is not a class"):
        build()
    content['categories'][0]['name'] = 'fox'
    content['images'][0]['file_name'] = '../a.jpg'
    with pytest.raises(ValueError, match=r'images\[0\] .*file_name: expected the name of a file'):
        build()


def test_crowds_alone_teach_nothing(build, content):
    for annotation in content['annotations']:
        annotation['iscrowd'] = 1
    message = r"step 0 .* has no training image: .* \['dog'\] \(there are 3 crowds of them, which"
    with pytest.raises(ValueError, match=message):
        build()


def test_nothing_to_score(build, content, monkeypatch, tmp_path):
    lines = []
    monkeypatch.setattr(
        incremental_dataset,
        'print_log',
        lambda message, logger, level=0: lines.append(message) if level > 20 else None,
    )
    build(0, test_mode=True)
    assert lines == []
    for annotation in content['annotations']:
        annotation['iscrowd'] = int(annotation['category_id'] != IDS['dog'])
    # dogs were learned at step 0
    build(1, test_mode=True)
    assert lines == []
    for annotation in content['annotations']:
        annotation['iscrowd'] = int(annotation['category_id'] == IDS['dog'])
    build(0, test_mode=True)
    (line,) = lines
    assert line.startswith(f'{tmp_path}/instances.json: none of 4 images to evaluate on shows one')
    assert '1 classes seen up to step 0 (there are 3 crowds of them, which are not scored)' in line


def test_arguments_of_other_datasets(build):
    message = 'index_cache: expected None, because CocoDataset is a dataset for instance segm'
    with pytest.raises(ValueError, match=message):
        build(index_cache='x.npz')


def test_stuff_is_refused(build):
    scenario = {**SCENARIO, 'thing_classes': ['cat', 'dog'], 'stuff_classes': ['fox'], 'step': 0}
    inner = config('x', 0)['dataset']
    inner['metainfo'] = {
        'classes': CLASSES,
        'thing_classes': CLASSES[:2],
        'stuff_classes': CLASSES[2:],
    }
    with pytest.raises(ValueError, match=r"scenario.stuff_classes: expected none, .* got \['fox'"):
        build(scenario=scenario, dataset=inner)


@pytest.mark.parametrize(
    ('segmentation', 'message'),
    [
        ([[0, 0, 4, 0, 4]], 'annotation 0: segmentation: expected a polygon .* got 5 numbers'),
        ({'size': [9, 9], 'counts': [81]}, r'annotation 0: run lengths of size \[9, 9\]'),
    ],
)
def test_bad_masks_name_image_and_annotation(build, content, segmentation, message):
    content['annotations'][0]['segmentation'] = segmentation
    dataset = build(1, pipeline=[{'type': 'LoadInstanceMasks'}])
    with pytest.raises(ValueError, match=rf'image .*images/a.jpg, {message}'):
        dataset[0]


def test_image_of_another_size(build, content, tmp_path):
    build()
    cv2.imwrite(str(tmp_path / 'images' / 'a.jpg'), np.zeros((5, WIDTH, 3), np.uint8))
    pipeline = [{'type': 'LoadImageFromFile'}, {'type': 'LoadInstanceMasks'}]
    dataset = DATASETS.build(config(tmp_path, 1, pipeline=pipeline))
    with pytest.raises(ValueError, match=r'a.jpg: it has 5 x 10 pixels, .* say 8 x 10 \(height'):
        dataset[0]


def test_check(build, content, tmp_path):
    content['annotations'][0]['segmentation'] = [[0, 0, 4, 0, 4]]
    content['annotations'][1]['segmentation'] = [[1, 1, 1, 1, 1, 1]]
    build(lazy_init=True)
    cv2.imwrite(str(tmp_path / 'images' / 'c.jpg'), np.zeros((5, WIDTH, 3), np.uint8))
    steps = [config(tmp_path, step) for step in range(2)]
    report = check_scenario(steps, {'val': config(tmp_path, 0, test_mode=True)}, workers=1)
    found = {(item.kind, item.is_fault, item.segment) for item in report.findings}
    assert ('mask of an instance', True, 0) in found
    assert ('empty mask', False, 1) in found
    assert ('sizes differ', True, None) in found
    assert report.steps[0]['classes']['dog']['pixels'] == 2 * 16
    assert report.datasets['val']['crowds'] == 1
    assert 'class without pixels' not in {item.kind for item in report.findings}


def test_check_of_what_no_mask_shows_and_of_ids(build, content, tmp_path):
    content['annotations'][2].update(segmentation=[[1, 1, 1, 1, 1, 1]], id=1)
    del content['annotations'][4]['id']
    crowd = {'id': 9, 'image_id': 'd', 'category_id': IDS['fox'], 'iscrowd': 1}
    content['annotations'].append({**crowd, 'segmentation': runs(1, 1)})
    build(lazy_init=True)
    steps = [config(tmp_path, step) for step in range(2)]
    report = check_scenario(steps, {'val': config(tmp_path, 0, test_mode=True)}, workers=1)
    (fault,) = report.faults
    assert fault.kind == 'class without pixels'
    assert fault.message.startswith('step 1 teaches fox, but none of their segments has a pixel')
    (warning,) = (item for item in report.warnings if item.kind == 'class without images')
    assert (
        warning.message
        == 'no image of val shows fox (crowds, which are not scored: 1); they cannot be scored'
    )
    ids = [item.message for item in report.warnings if item.kind == 'annotation ids']
    assert [message.split(', ')[0] for message in ids] == [
        '1 of 7 annotations have the id 0',
        '1 of 7 annotations have the id of another one',
        '1 of 7 annotations have no id',
    ]
