import hashlib
import json

import cv2
import numpy as np
import pytest
from PIL import Image
from several import run_together

from mmcomformer.datasets import ShapesPanopticDataset, ShapesSemanticDataset, shapes
from mmcomformer.datasets.coco_masks import decode_mask
from mmcomformer.datasets.panoptic_annotations import read_panoptic_annotations
from mmcomformer.datasets.panoptic_png import read_panoptic_png
from mmcomformer.datasets.shapes import (
    ShapesParameters,
    draw_scene,
    generate_shapes,
    learning_order,
    palette,
    stuff_classes,
    thing_classes,
)

SMALL = ShapesParameters(num_train=3, num_val=2, size=48)


def digest(root):
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob('*'))
        if path.is_file()
    }


def test_files(tmp_path):
    assert generate_shapes(tmp_path / 'set', SMALL) is True
    assert list(digest(tmp_path)) == [
        'set/annotations/instances_train.json',
        'set/annotations/instances_val.json',
        'set/annotations/panoptic_train.json',
        'set/annotations/panoptic_val.json',
        *(f'set/panoptic_train/00000{i}.png' for i in range(3)),
        *(f'set/panoptic_val/00000{i}.png' for i in range(2)),
        *(f'set/semantic_train/00000{i}.png' for i in range(3)),
        *(f'set/semantic_val/00000{i}.png' for i in range(2)),
        'set/shapes.json',
        *(f'set/train/00000{i}.jpg' for i in range(3)),
        *(f'set/val/00000{i}.jpg' for i in range(2)),
    ]


def test_same_parameters_give_the_same_bytes(tmp_path):
    for name in ('a', 'b'):
        generate_shapes(tmp_path / name, SMALL)
    assert digest(tmp_path / 'a') == digest(tmp_path / 'b')


def test_more_images_leave_the_first_ones_alone(tmp_path):
    generate_shapes(tmp_path / 'a', SMALL)
    generate_shapes(tmp_path / 'b', ShapesParameters(num_train=4, num_val=2, size=48))
    first, more = digest(tmp_path / 'a'), digest(tmp_path / 'b')
    assert all(more[name] == first[name] for name in first if not name.endswith('.json'))


def test_seed_and_split_change_the_images(tmp_path):
    generate_shapes(tmp_path / 'a', SMALL)
    generate_shapes(tmp_path / 'b', ShapesParameters(num_train=3, num_val=2, size=48, seed=1))
    a, b = digest(tmp_path / 'a'), digest(tmp_path / 'b')
    assert a['train/000000.jpg'] != b['train/000000.jpg']
    assert a['train/000000.jpg'] != a['val/000000.jpg']


def test_existing_set_is_kept(tmp_path):
    generate_shapes(tmp_path / 'set', SMALL)
    marker = tmp_path / 'set' / 'marker'
    marker.touch()
    images = []
    assert generate_shapes(tmp_path / 'set', SMALL, on_image=lambda: images.append(1)) is False
    assert marker.exists()
    assert images == []


def test_a_set_of_before_there_were_instances_gets_them(tmp_path):
    generate_shapes(tmp_path / 'set', SMALL)
    before = digest(tmp_path)
    path = tmp_path / 'set' / 'annotations' / 'instances_val.json'
    path.unlink()
    assert generate_shapes(tmp_path / 'set', SMALL) is True
    assert digest(tmp_path) == before
    assert generate_shapes(tmp_path / 'set', SMALL) is False


@pytest.mark.parametrize('split', ['train', 'val'])
def test_instances_are_the_things_of_the_panoptic_set(shapes_root, split):
    panoptic, instances = (
        json.loads((shapes_root / 'annotations' / f'{kind}_{split}.json').read_text())
        for kind in ('panoptic', 'instances')
    )
    things = {entry['id'] for entry in panoptic['categories'] if entry['isthing']}
    assert {entry['id'] for entry in instances['categories']} == things
    found = [
        (entry['image_id'], entry['category_id'], entry['area'], entry['bbox'])
        for entry in instances['annotations']
    ]
    expected = [
        (annotation['image_id'], segment['category_id'], segment['area'], segment['bbox'])
        for annotation in panoptic['annotations']
        for segment in annotation['segments_info']
        if segment['category_id'] in things
    ]
    assert found == expected
    for entry in instances['annotations']:
        mask = decode_mask(entry['segmentation'], (64, 64))
        rows, columns = np.nonzero(mask)
        left, top, width, height = entry['bbox']
        assert (mask.sum(), rows.min(), columns.min()) == (entry['area'], top, left)
        assert (rows.max() - top + 1, columns.max() - left + 1) == (height, width)


def test_other_parameters(tmp_path):
    generate_shapes(tmp_path / 'set', SMALL)
    other = ShapesParameters(num_train=1, num_val=1, size=48)
    with pytest.raises(FileExistsError, match=r"other parameters: expected .*'num_train': 1"):
        generate_shapes(tmp_path / 'set', other)
    assert generate_shapes(tmp_path / 'set', other, overwrite=True) is True
    assert not (tmp_path / 'set/train/000001.jpg').exists()


@pytest.mark.parametrize('overwrite', [False, True])
def test_other_files_are_never_replaced(tmp_path, overwrite):
    (tmp_path / 'set').mkdir()
    (tmp_path / 'set' / 'precious').touch()
    with pytest.raises(FileExistsError, match=r'is not a Shapes set'):
        generate_shapes(tmp_path / 'set', SMALL, overwrite=overwrite)
    assert (tmp_path / 'set' / 'precious').exists()


def test_interruption_leaves_nothing(tmp_path):
    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate_shapes(tmp_path / 'set', SMALL, on_image=stop)
    assert list(tmp_path.iterdir()) == []


def test_several_processes_at_once(tmp_path):
    """Whoever is last finds the set there; nobody fails, and nothing else is left."""
    parameters = ShapesParameters(num_train=2, num_val=1, size=32)
    run_together(lambda number: generate_shapes(tmp_path / 'set', parameters), 4)
    assert [path.name for path in tmp_path.iterdir()] == ['set']
    assert not generate_shapes(tmp_path / 'set', parameters)


@pytest.mark.parametrize(
    ('name', 'value'), [('num_train', 0), ('num_val', 0), ('num_classes', 1), ('size', 8)]
)
def test_wrong_parameters(name, value):
    with pytest.raises(ValueError, match=f'{name}: expected at least'):
        ShapesParameters(**{name: value})


def test_more_classes_than_a_label_map_holds():
    ShapesParameters(num_classes=255)
    with pytest.raises(ValueError, match='num_classes: expected at most 255, got 256'):
        ShapesParameters(num_classes=256)


@pytest.mark.parametrize('num_classes', [2, 3, 6, 12, 30])
def test_class_lists(num_classes):
    things, stuff = thing_classes(num_classes), stuff_classes(num_classes)
    assert len({*things, *stuff}) == len(things) + len(stuff) == num_classes
    assert sorted(learning_order(num_classes)) == sorted((*things, *stuff))
    colours = palette(num_classes)
    assert len(set(colours)) == num_classes
    assert all(0 <= value <= 255 for colour in colours for value in colour)


def test_default_classes_and_scenario():
    meta = ShapesPanopticDataset.METAINFO
    assert meta['classes'] == thing_classes() + stuff_classes()
    order = learning_order()
    # things and stuff are mixed in the learning order, and every step teaches both
    for step in (order[:6], order[6:9], order[9:]):
        kinds = {name in meta['thing_classes'] for name in step}
        assert kinds == {True, False}


@pytest.mark.parametrize('num_classes', [2, 12, 30])
def test_scene(num_classes):
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(200):
        image, segments, labels = draw_scene(rng, size=48, num_classes=num_classes)
        assert image.shape == (48, 48, 3)
        assert image.dtype == np.uint8
        areas = np.bincount(segments.ravel(), minlength=len(labels) + 1)
        assert len(areas) == len(labels) + 1
        assert areas[1:].min() >= 0.01 * 48 * 48
        seen.update(labels)
    assert seen == set(range(num_classes))


@pytest.mark.parametrize('split', ['train', 'val'])
def test_annotations_agree_with_the_maps(shapes_root, split):
    path = shapes_root / 'annotations' / f'panoptic_{split}.json'
    images = read_panoptic_annotations(
        str(path),
        classes=(*thing_classes(), *stuff_classes()),
        thing_classes=thing_classes(),
    )
    content = json.loads(path.read_text())
    assert len(images) == {'train': 24, 'val': 8}[split]
    for image, annotation in zip(images, content['annotations'], strict=False):
        ids = read_panoptic_png(str(shapes_root / f'panoptic_{split}' / image.png_name))
        jpg = cv2.imread(str(shapes_root / split / image.file_name))
        assert jpg.shape == (*ids.shape, 3) == (image.height, image.width, 3)
        for segment in annotation['segments_info']:
            rows, columns = np.nonzero(ids == segment['id'])
            x, y, width, height = segment['bbox']
            assert segment['area'] == len(rows)
            assert (x, y) == (columns.min(), rows.min())
            assert (x + width - 1, y + height - 1) == (columns.max(), rows.max())
        assert set(np.unique(ids)) - {0} == {s['id'] for s in annotation['segments_info']}


@pytest.mark.parametrize('split', ['train', 'val'])
def test_label_maps_agree_with_the_segments(shapes_root, split):
    content = json.loads((shapes_root / 'annotations' / f'panoptic_{split}.json').read_text())
    values = set()
    for annotation in content['annotations']:
        name = annotation['file_name']
        ids = read_panoptic_png(str(shapes_root / f'panoptic_{split}' / name))
        # categories count from 1 in the order of the labels, things first
        label_of = {info['id']: info['category_id'] - 1 for info in annotation['segments_info']}
        label_of[0] = 255
        expected = [[label_of[segment_id] for segment_id in row] for row in ids.tolist()]
        found = np.asarray(Image.open(shapes_root / f'semantic_{split}' / name))
        assert found.dtype == np.uint8
        assert found.tolist() == expected
        values |= set(found.ravel().tolist())
    assert len(values) > 8
    assert len(content['annotations']) == len(list((shapes_root / f'semantic_{split}').iterdir()))


def test_void_is_ignored_in_label_maps(tmp_path, monkeypatch):
    segments = np.zeros((48, 48), dtype=np.int64)
    segments[:, 10:] = 1
    scene = np.zeros((48, 48, 3), np.uint8), segments, [7]
    monkeypatch.setattr(shapes, 'draw_scene', lambda rng, **options: scene)
    generate_shapes(tmp_path / 'set', SMALL)
    found = np.asarray(Image.open(tmp_path / 'set/semantic_train/000000.png'))
    assert np.array_equal(found, np.where(segments == 0, 255, 7))


@pytest.mark.families
def test_mmseg_reads_it_too(shapes_root):
    dataset = ShapesSemanticDataset(
        data_root=str(shapes_root),
        data_prefix={'img_path': 'val', 'seg_map_path': 'semantic_val'},
        pipeline=[{'type': 'mmseg.LoadAnnotations'}],
    )
    assert len(dataset) == 8
    assert dataset.metainfo['classes'] == ShapesPanopticDataset.METAINFO['classes']
    assert dataset.metainfo['palette'] == palette()
    path = shapes_root / 'semantic_val' / '000000.png'
    assert np.array_equal(dataset[0]['gt_seg_map'], np.asarray(Image.open(path)))


def test_mmdet_reads_it_too(shapes_root):
    dataset = ShapesPanopticDataset(
        data_root=str(shapes_root),
        ann_file='annotations/panoptic_val.json',
        data_prefix={'img': 'val', 'seg': 'panoptic_val'},
        test_mode=True,
    )
    info = dataset.get_data_info(0)
    assert info['seg_map_path'].endswith('panoptic_val/000000.png')
    assert len(info['segments_info']) >= 2


def test_files_of_the_user_are_not_deleted(tmp_path):
    out = tmp_path / 'shapes'
    small = ShapesParameters(num_train=1, num_val=1, size=32)
    generate_shapes(out, small)
    (out / '.mmcomformer').mkdir()
    (out / '.mmcomformer' / 'classes-1.npz').write_bytes(b'a cache')
    mine = out / 'train' / 'mine.txt'
    mine.write_text('mine')
    other = ShapesParameters(num_train=2, num_val=1, size=32)
    with pytest.raises(FileExistsError, match=r'train/mine\.txt is no file of a Shapes set'):
        generate_shapes(out, other, overwrite=True)
    assert mine.read_text() == 'mine'
    mine.unlink()
    assert generate_shapes(out, other, overwrite=True)
