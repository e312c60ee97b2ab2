import json
import shutil

import numpy as np
import pytest
from downloads import HEIGHT, WIDTH, annotation_of, as_categories, box, photo, runs, save
from mmengine.registry import DATASETS
from pycocotools import mask as coco_mask
from several import run_together

from mmcomformer.dataset_converters.coco_instances import (
    CocoInstancesSources,
    convert_coco_instances,
)
from mmcomformer.datasets.coco_masks import decode_mask, text_runs
from mmcomformer.outputs import RECORD

CAT, DOG, SKY, SEA = 1, 5, 40, 41


def convert(instances, *, stuff=True, **kwargs):
    root = instances.root
    sources = CocoInstancesSources(
        annotations=instances.json,
        images=root / 'images',
        stuff=root / 'stuff' if stuff else None,
        stuff_categories=root / 'stuff.json' if stuff else None,
    )
    (report,) = convert_coco_instances(sources, root / 'out' / 'pan.json', workers=1, **kwargs)
    return report


def result(instances, image_id):
    root = instances.root / 'out'
    content = json.loads((root / 'pan.json').read_text())
    annotation = annotation_of(content, image_id)
    return as_categories(root / 'pan' / annotation['file_name'], annotation['segments_info'])


def stuff_map():
    expected = np.full((HEIGHT, WIDTH), None, dtype=object)
    fill(expected, 0, 0, WIDTH, 6, (SKY, 0, 0))
    fill(expected, 0, 6, WIDTH, 4, (SEA, 0, 0))
    return expected


def fill(array, x, y, width, height, name):
    for row in range(y, y + height):
        for column in range(x, x + width):
            array[row, column] = name


@pytest.fixture
def usual(instances):
    """Polygons, run lengths of both kinds, a crowd and empty masks; nothing overlaps."""
    instances.add(7, CAT, [*box(1, 1, 3, 4), *box(5, 1, 2, 2)])
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[7:9, 3:8] = True
    instances.add(7, DOG, {'size': [HEIGHT, WIDTH], 'counts': runs(mask)})
    encoded = coco_mask.encode(np.asfortranarray(np.roll(mask, 3, axis=0), dtype=np.uint8))
    instances.add(
        7, CAT, {'size': encoded['size'], 'counts': encoded['counts'].decode()}, iscrowd=1
    )
    instances.add(7, CAT, [[1, 1, 5, 5]])
    instances.add(7, CAT, [])
    instances.add(3, DOG, [[100, 100, 110, 100, 110, 110]])
    return instances.write()


def test_several_processes_at_once(usual):
    """All end well, and what they leave is what one leaves."""
    run_together(lambda _: convert(usual), 4)
    out = usual.root / 'out'
    left = {path.relative_to(out): path for path in out.rglob('*') if path.is_file()}
    content = {name: path.read_bytes() for name, path in left.items() if name.name != RECORD}
    assert not [name for name in left if name.suffix == '.tmp']
    shutil.rmtree(out)
    convert(usual)
    assert {name: (out / name).read_bytes() for name in content} == content


def test_every_pixel(usual):
    report = convert(usual)
    assert report.usable
    expected = stuff_map()
    fill(expected, 1, 1, 3, 4, (CAT, 0, 0))
    fill(expected, 5, 1, 2, 2, (CAT, 0, 0))
    fill(expected, 3, 7, 5, 2, (DOG, 0, 0))
    fill(expected, 3, 10, 5, 2, (CAT, 1, 1))
    assert (result(usual, 7) == expected).all()
    assert (result(usual, 3) == stuff_map()).all()
    assert report.notes == {
        'instances with a box only, left out': {'a.jpg': 1},
        'outlines of fewer than three points, left out': {'a.jpg': 1},
        'masks without a pixel, left out': {'deep/b.jpg': 1},
        'crowds': {'a.jpg': 1},
    }
    assert convert(usual, check=True).usable


def test_without_stuff(usual):
    report = convert(usual, stuff=False)
    assert report.usable
    found = result(usual, 7)
    assert found[1, 1] == found[4, 3] == found[2, 6] == (CAT, 0, 0)
    assert set(found[0].tolist()) == {None}
    # an image without any segment
    assert {name for row in result(usual, 3).tolist() for name in row} == {None}


class TestOverlap:
    @pytest.fixture
    def overlapping(self, instances):
        instances.add(7, DOG, box(2, 2, 3, 3))
        instances.add(7, CAT, box(0, 0, 8, 8), iscrowd=1)
        instances.add(7, CAT, box(1, 1, 6, 6))
        instances.add(7, CAT, box(4, 4, 6, 6))
        return instances.write()

    def test_error(self, overlapping):
        report = convert(overlapping, overlap='error')
        assert not report.usable
        (fault,) = report.faults
        assert 'a.jpg: 43 pixels belong to more than one instance' in fault
        assert '--overlap larger-first or later' in fault
        assert not (overlapping.root / 'out' / 'pan.json').exists()

    def test_later(self, overlapping):
        report = convert(overlapping, overlap='later')
        expected = stuff_map()
        fill(expected, 0, 0, 8, 8, (CAT, 0, 1))
        fill(expected, 1, 1, 6, 6, (CAT, 1, 0))
        fill(expected, 4, 4, 6, 6, (CAT, 2, 0))
        assert (result(overlapping, 7) == expected).all()
        assert report.notes == {
            'crowds': {'a.jpg': 1},
            'instances wholly under others, left out': {'a.jpg': 1},
            'pixels of more than one instance, given to the later one': {'a.jpg': 43},
        }

    def test_smaller_covers_by_default(self, overlapping):
        report = convert(overlapping)
        assert report.notes == {
            'crowds': {'a.jpg': 1},
            'pixels of more than one instance, given to the smaller one': {'a.jpg': 43},
        }
        expected = stuff_map()
        # the crowd is below whatever its area
        fill(expected, 0, 0, 8, 8, (CAT, 0, 1))
        fill(expected, 1, 1, 6, 6, (CAT, 1, 0))
        # of the same area: in the order of the file
        fill(expected, 4, 4, 6, 6, (CAT, 2, 0))
        fill(expected, 2, 2, 3, 3, (DOG, 0, 0))
        assert (result(overlapping, 7) == expected).all()

    def test_another_rule_is_another_result(self, overlapping):
        convert(overlapping, overlap='later')
        before = result(overlapping, 7)
        report = convert(overlapping, overlap='larger-first')
        assert report.num_written == 2
        assert (result(overlapping, 7) != before).any()


def test_ids_of_stuff_that_things_have(instances):
    instances.stuff_categories = [{'id': 1, 'name': 'sky'}, {'id': 0, 'name': 'sea'}]
    instances.stuff[:] = 0
    instances.stuff[:4] = 1
    instances.add(7, CAT, box(1, 1, 2, 2))
    convert(instances.write())
    content = json.loads((instances.root / 'out' / 'pan.json').read_text())
    assert content['categories'] == [
        {'id': 1, 'name': 'cat', 'isthing': 1},
        {'id': 5, 'name': 'dog', 'isthing': 1},
        {'id': 7, 'name': 'sky', 'isthing': 0},
        {'id': 6, 'name': 'sea', 'isthing': 0},
    ]
    found = result(instances, 7)
    assert found[0, 0] == (7, 0, 0)
    assert found[1, 1] == (1, 0, 0)
    assert found[9, 9] == (6, 0, 0)


@pytest.mark.families
@pytest.mark.usefixtures('mmdet_scope')
def test_loads(usual):
    convert(usual)
    things, stuff = ['cat', 'dog'], ['sky', 'sea']
    built = DATASETS.build(
        {
            'type': 'IncrementalDataset',
            'scenario': {'increments': [3, 1], 'thing_classes': things, 'stuff_classes': stuff},
            'dataset': {
                'type': 'CocoPanopticDataset',
                'data_root': str(usual.root),
                'ann_file': 'out/pan.json',
                'data_prefix': {'img': 'images', 'seg': 'out/pan'},
                'metainfo': {
                    'classes': [*things, *stuff],
                    'thing_classes': things,
                    'stuff_classes': stuff,
                },
            },
            'pipeline': [{'type': 'LoadImageFromFile'}, {'type': 'LoadPanopticIdMap'}],
        }
    )
    assert len(built) == 2
    assert built[0]['gt_seg_map'].shape == (HEIGHT, WIDTH)
    assert built[1]['gt_seg_map'].shape == (HEIGHT, WIDTH)


class TestFaults:
    def fault(self, instances, **kwargs):
        (fault,) = convert(instances, **kwargs).faults
        return fault

    @pytest.mark.parametrize(
        ('segmentation', 'message'),
        [
            (None, 'expected a list of polygons, or run lengths, got null'),
            ('1 2 3 4', r"a list of polygons, or run lengths, got '1 2 3 4' \(a string\)"),
            ([1, 2, 3, 4, 5, 6], r'a list of polygons, .*, got a list of 1 \(a number\)'),
            ([[1, 2], None], 'x, y, x, y, ... of pixels, got .1, 2.*a single point'),
            ([[1, 2, 3, 4, 5]], 'x, y, x, y, ... of pixels, got 5 numbers'),
            ([[1, 2, 3, 4, 5, 'x']], r"got a coordinate: 'x' \(a string\)"),
            ([['1', '2', '3', '4', '5', '6']], r"got a coordinate: '1' \(a string\)"),
            ([[1, 2, 3, 4, 5, None]], 'got a coordinate: null'),
            ([[1, 2, 3, 4, 5, True]], 'got a coordinate: True .true or false'),
            ([[[1, 2], [9, 2], [9, 9]]], r'got a list of points: \[1, 2\] \(a list\)'),
            ([[{'x': 1, 'y': 2}]], 'got a list of points: .* .an object'),
            ([[1, 2], [9, 2], [9, 9]], 'a single point; is it a list of points'),
            ([[1, 1, 2e8, 1, 2e8, 2e8, 1, 2e8]], 'x = 2e.08, y = 1, which is far outside'),
            ([[1, 1, -5000, 1, 5, 5]], 'x = -5000, y = 1, which is far outside .* 12 x 16 .height'),
            ([[1, 1, 10**400, 1, 5, 5]], 'a coordinate that is not finite'),
            ([[0, 0, 900, 900] * 4000], 'an outline of 7200000 pixels with 8000 points'),
            ([[1, 2, 3, 4, 5, float('nan')]], 'a coordinate that is not finite'),
            ({'size': [16, 12], 'counts': [192]}, 'run lengths of size .* do not fit the image'),
            ({'size': [12, 16], 'counts': [100, 80]}, 'do not add up to 12 x 16 pixels'),
            ({'size': [12, 16], 'counts': [200, -8]}, 'do not add up to 12 x 16 pixels'),
            ({'size': [12, 16], 'counts': 'P`'}, 'ends within a number'),
            ({'size': [12, 16]}, 'a list of run lengths, or their text, got null'),
            ({'size': [12, 16], 'counts': [96.0, 96]}, r'got 96.0 \(a number with a fraction\)'),
            ({'size': ['12', '16'], 'counts': [192]}, r"size \['12', '16'\] \(a list\) do not fit"),
            ({'size': [12, 16], 'counts': 'ü'}, 'the text of run lengths, got other characters'),
            ({'size': [12, 16], 'counts': 'o' * 10**6}, 'do not add up|ends within'),
        ],
    )
    def test_segmentation(self, segmentation, message):
        with pytest.raises(ValueError, match=message):
            decode_mask(segmentation, (12, 16))

    def test_annotation_is_named(self, instances):
        instances.add(7, CAT, {'size': [1, 1], 'counts': [1]})
        assert self.fault(instances.write()).startswith('a.jpg: annotation 100: run lengths of')

    def test_shares_of_the_image(self, instances):
        instances.add(7, CAT, [[0.1, 0.1, 0.9, 0.1, 0.9, 0.9]])
        fault = self.fault(instances.write())
        assert fault.startswith('a.jpg: annotation 100: segmentation: the coordinates look like')
        assert fault.endswith('expected pixels: multiply x by 16 and y by 12')

    def test_stuff_value(self, instances):
        instances.stuff[3, 3] = 7
        faults = convert(instances.write()).faults
        path = instances.root / 'stuff' / 'a.png'
        assert faults[0] == f'{path}: expected ids of stuff categories, 0 or 255, got [7]'

    def test_sizes_and_missing(self, instances):
        instances.write()
        save(instances.root / 'stuff' / 'a.png', instances.stuff[1:])
        (instances.root / 'images' / 'deep' / 'b.jpg').unlink()
        first, second = convert(instances).faults
        assert 'stuff/a.png has 11 x 16 pixels and its image has 12 x 16' in first
        assert second == f'{instances.root}/images/deep/b.jpg does not exist'
        photo(instances.root / 'images' / 'a.jpg', width=3)
        assert (
            'a.jpg has 12 x 3 pixels and the annotations say 12 x 16'
            in convert(instances).faults[0]
        )

    @pytest.mark.parametrize(
        ('change', 'message'),
        [
            (lambda c: c.pop('images'), "has no list 'images'"),
            (lambda c: c['images'][0].pop('width'), r"images\[0\] .id 7.: 'width' is missing"),
            (lambda c: c['images'][0].update(id=3), 'image id 3 is listed twice'),
            (
                lambda c: c['annotations'][0].update(image_id=8),
                r'.id 100.: the image id 8 .a number. is not listed in images$',
            ),
            (
                lambda c: c['annotations'][0].update(category_id=2),
                r'.id 100. has the unknown category 2',
            ),
            (lambda c: c['categories'][0].update(name='sky'), "the name 'sky' is there twice"),
            (lambda c: c['categories'][0].update(id=5), 'the id 5 is there twice'),
            (lambda c: c['images'][0].update(file_name='deep/b.png'), 'the same PNG'),
        ],
    )
    def test_annotation_file(self, instances, change, message):
        instances.add(7, CAT, box(1, 1, 2, 2))
        instances.write()
        change(instances.content)
        instances.json.write_text(json.dumps(instances.content))
        with pytest.raises(ValueError, match=message):
            convert(instances)

    def test_not_json(self, instances):
        instances.write().json.write_text('{')
        with pytest.raises(ValueError, match='instances.json is not JSON'):
            convert(instances)

    def test_arguments(self, instances):
        instances.write()
        with pytest.raises(ValueError, match="overlap: expected one of .*, got 'first'"):
            convert(instances, overlap='first')
        sources = CocoInstancesSources(instances.json, instances.root / 'images')
        with pytest.raises(ValueError, match='the name of another .json file'):
            convert_coco_instances(sources, instances.json)
        with pytest.raises(ValueError, match='both or neither'):
            convert_coco_instances(
                CocoInstancesSources(
                    instances.json, instances.root / 'images', instances.root / 'stuff'
                ),
                instances.root / 'pan.json',
            )
        with pytest.raises(FileNotFoundError, match='(?s)nowhere does not exist; expected.*lists'):
            convert_coco_instances(
                CocoInstancesSources(instances.json, instances.root / 'nowhere'),
                instances.root / 'pan.json',
            )


def test_text_runs_agree_with_pycocotools():
    rng = np.random.default_rng(0)
    for size in ((1, 1), (5, 40), (97, 131)):
        mask = rng.random(size) < rng.random()
        encoded = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
        assert text_runs(encoded['counts'].decode()) == runs(mask)
        assert (decode_mask(encoded, size) == mask).all()
