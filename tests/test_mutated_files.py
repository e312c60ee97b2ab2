"""Readers on files that are damaged, or hold what nobody expects: a result, or one error of ours.

Each input is a file that is right with a few changes, of its values if it is JSON or of its bytes.
What is read may differ from the original only where the file does; what is refused is refused by
one error that names the file. ``FUZZ=10000`` tries that many inputs instead of those of the suite.
"""

import copy
import io
import json
import os
import pickle
import struct
import time
import traceback
import zlib
from collections import OrderedDict
from pathlib import Path

import downloads
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import mmcomformer
from mmcomformer.dataset_converters.coco_instances import (
    CocoInstancesSources,
    convert_coco_instances,
)
from mmcomformer.datasets import LoadInstanceMasks
from mmcomformer.datasets.class_index import ClassIndex
from mmcomformer.datasets.instance_annotations import read_instance_annotations
from mmcomformer.datasets.label_maps import read_label_map
from mmcomformer.datasets.panoptic_annotations import read_panoptic_annotations
from mmcomformer.datasets.panoptic_png import ids_to_rgb, read_panoptic_png
from mmcomformer.engine.checkpoint import continual_meta, read_checkpoint, read_verified
from mmcomformer.evaluation.summary import merge_step, new_summary, read_summary, write_summary
from mmcomformer.evaluation.summary_tables import format_per_class, format_summary
from mmcomformer.model_converters.files import read_detectron2
from mmcomformer.scenario import Scenario

READERS = 9
TOTAL = int(os.environ.get('FUZZ', '300'))
PACKAGE = os.path.dirname(mmcomformer.__file__)
ERRORS = (FileNotFoundError, ValueError, RuntimeError, TypeError)
SECONDS = 20
"""Longer than any input takes, on a machine that does other things too."""

fuzzed = settings(
    max_examples=-(-TOTAL // READERS),
    deadline=None,
    database=None,
    # the same inputs in every run of the suite
    derandomize=TOTAL <= 300,
    suppress_health_check=list(HealthCheck),
)

STRANGE = st.sampled_from(
    [
        *(None, True, False, 0, -1, 1, 255, 256, 2**24, 2**31, 2**63, 2**70, -(2**70), 0.5, 1e308),
        *(
            float('nan'),
            float('inf'),
            '',
            ' ',
            '7',
            'a.png',
            '../a.png',
            '/etc/passwd',
            'ä\u2028',
            '\0',
        ),
        *([], [[]], [0], [1.5, 2], ['x'], {}, {'id': 1}, {'counts': [1], 'size': [2, 2]}, [None]),
        *([[1, 2, 3, 4, 5, 6]], {'counts': 'x', 'size': [12, 16]}, {'counts': [-1, 193]}),
    ]
)


def places(node, path=()):
    """Return the paths to all values of a JSON document, but that to itself."""
    found = []
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in items:
        found.append((*path, key))
        if isinstance(value, (dict, list)):
            found += places(value, (*path, key))
    return found


@st.composite
def changed_values(draw, content):
    """Return a JSON document with one to three values replaced, removed, or doubled."""
    content = copy.deepcopy(content)
    for _ in range(draw(st.integers(1, 3))):
        found = places(content)
        if not found:
            break
        *parents, last = draw(st.sampled_from(found))
        node = content
        for key in parents:
            node = node[key]
        change = draw(st.sampled_from(['replace', 'replace', 'remove', 'double']))
        if change == 'replace':
            node[last] = copy.deepcopy(draw(STRANGE))
        elif change == 'remove':
            del node[last]
        elif isinstance(node, list):
            node.insert(last, copy.deepcopy(node[last]))
    return json.dumps(content).encode()


@st.composite
def changed_bytes(draw, content):
    """Return a file that is cut, or has a few other bytes."""
    content = bytearray(content)
    change = draw(st.sampled_from(['cut', 'flip', 'flip', 'insert', 'zeros', 'empty']))
    place = draw(st.integers(0, len(content) - 1))
    if change == 'cut':
        del content[place:]
    elif change == 'empty':
        content.clear()
    elif change == 'insert':
        content[place:place] = draw(st.binary(min_size=1, max_size=8))
    elif change == 'zeros':
        length = draw(st.integers(1, 64))
        content[place : place + length] = bytes(len(content[place : place + length]))
    else:
        for _ in range(draw(st.integers(1, 4))):
            content[draw(st.integers(0, len(content) - 1))] ^= 1 << draw(st.integers(0, 7))
    return bytes(content)


def changed_json(content):
    return changed_values(content) | changed_bytes(json.dumps(content).encode())


def outcome(read, path):
    """Return what a reader gives, or None if it refuses a file with an error of ours."""
    start = time.monotonic()
    result, refusal = None, None
    try:
        result = read(path)
    except ERRORS as error:
        refusal = error
    assert time.monotonic() - start < SECONDS
    if refusal is not None:
        frame = traceback.extract_tb(refusal.__traceback__)[-1]
        assert frame.filename.startswith(PACKAGE), ''.join(traceback.format_exception(refusal))
        assert path.name in str(refusal)
        assert str(refusal).count('\n') <= 1
    return result


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('mutated')


CLASSES, THINGS = ['cat', 'dog', 'sky'], ['cat', 'dog']
PANOPTIC = {
    'images': [
        {'id': 1, 'file_name': 'a.jpg', 'height': 8, 'width': 8},
        {'id': 'b', 'file_name': 'x/b.jpg', 'height': 8, 'width': 9},
    ],
    'annotations': [
        {
            'image_id': 1,
            'file_name': 'a.png',
            'segments_info': [
                {'id': 7, 'category_id': 1, 'iscrowd': 0, 'area': 9},
                {'id': 8, 'category_id': 3, 'iscrowd': 0, 'area': 9, 'bbox': [0, 0, 3, 3]},
            ],
        },
        {'image_id': 'b', 'file_name': 'x/b.png', 'segments_info': []},
    ],
    'categories': [
        {'id': 1, 'name': 'cat', 'isthing': 1},
        {'id': 2, 'name': 'dog', 'isthing': 1},
        {'id': 3, 'name': 'sky', 'isthing': 0},
    ],
}


@fuzzed
@given(changed_json(PANOPTIC))
def test_panoptic_json(folder, content):
    path = folder / 'panoptic.json'
    path.write_bytes(content)
    images = outcome(
        lambda path: read_panoptic_annotations(path, classes=CLASSES, thing_classes=THINGS), path
    )
    if images is None:
        return
    found = json.loads(content.decode('utf-8-sig'))
    names = {entry['id']: entry['name'] for entry in found['categories']}
    annotations = {entry['image_id']: entry for entry in found['annotations']}
    assert [image.img_id for image in images] == [entry['id'] for entry in found['images']]
    for image, entry in zip(images, found['images'], strict=True):
        own = annotations.get(entry['id'], {'segments_info': []})['segments_info']
        assert (image.file_name, image.height, image.width) == tuple(
            entry[key] for key in ('file_name', 'height', 'width')
        )
        assert [(s['id'], CLASSES[s['label']]) for s in image.segments] == [
            (s['id'], names[s['category_id']]) for s in own
        ]


IDS = (np.arange(96).reshape(8, 12) // 20 * 70_001).astype(np.int32)


def encoded(array, kind='PNG', **options):
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind, **options)
    return file.getvalue()


def with_size(png, width, height):
    """Return a PNG whose header says another size, with the right checksum."""
    header = b'IHDR' + struct.pack('>II', width, height) + png[24:29]
    return png[:12] + header + struct.pack('>I', zlib.crc32(header)) + png[33:]


def opened(content):
    """Return what Pillow reads; None if it cannot."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            return np.array(image)
    except Exception:  # noqa: BLE001  (of a damaged file Pillow raises anything)
        return None


@fuzzed
@given(
    changed_bytes(encoded(ids_to_rgb(IDS)))
    | st.builds(
        with_size,
        st.just(encoded(ids_to_rgb(IDS))),
        st.sampled_from([0, 1, 12, 100_000, 2**31 - 1]),
        st.sampled_from([0, 8, 100_000, 2**31 - 1]),
    )
)
def test_panoptic_png(folder, content):
    path = folder / 'panoptic.png'
    path.write_bytes(content)
    ids = outcome(lambda path: read_panoptic_png(str(path)), path)
    other = opened(content)
    # only a picture that both read can be compared; of a damaged one each keeps another part
    if ids is not None and other is not None and other.ndim == 3 and ids.shape == other.shape[:2]:
        assert other.dtype == np.uint8


LABELS = (np.arange(96).reshape(8, 12) // 24).astype(np.uint8)
MAPS = [
    encoded(LABELS),
    encoded(LABELS, 'TIFF'),
    encoded(LABELS, 'BMP'),
    with_size(encoded(LABELS), 100_000, 100_000),
    with_size(encoded(LABELS), 2**31 - 1, 1),
]


@fuzzed
@given(st.sampled_from(MAPS).flatmap(changed_bytes) | st.sampled_from(MAPS))
def test_label_map(folder, content):
    path = folder / 'labels.png'
    path.write_bytes(content)
    labels = outcome(read_label_map, path)
    other = opened(content)
    if labels is not None:
        assert labels.dtype == np.uint8
        if other is not None and other.dtype == np.uint8:
            assert labels.shape == other.shape
    index = outcome(lambda path: ClassIndex.from_label_maps([path], num_classes=4, workers=1), path)
    # a palette may be in doubt
    if labels is not None and index is not None:
        assert index[0].tolist() == np.setdiff1d(labels, 255).tolist()


@fuzzed
@given(st.data())
def test_class_index_file(folder, data):
    """A damaged index is computed again."""
    maps = [folder / 'index' / f'{i}.png' for i in range(2)]
    cache = folder / 'index' / 'index.npz'
    if not cache.exists():
        cache.parent.mkdir()
        for i, path in enumerate(maps):
            path.write_bytes(encoded(LABELS // (i + 1)))
        ClassIndex.from_label_maps(maps, num_classes=4, cache=cache)
        (folder / 'index.npz').write_bytes(cache.read_bytes())
    cache.write_bytes(data.draw(changed_bytes((folder / 'index.npz').read_bytes())))
    index = ClassIndex.from_label_maps(maps, num_classes=4, cache=cache)
    assert [labels.tolist() for labels in index] == [[0, 1, 2, 3], [0, 1]]


HEIGHT, WIDTH = downloads.HEIGHT, downloads.WIDTH
MASK = np.zeros((HEIGHT, WIDTH), bool)
MASK[2:5, 3:9] = True
INSTANCES = downloads.Instances(None)
INSTANCES.add(7, 1, downloads.box(1, 1, 4, 4))
INSTANCES.add(7, 5, [[0.5, 0.5, 9.25, 0.5, 9.25, 7.75], [10, 8, 15, 8, 15, 11]])
INSTANCES.add(3, 5, {'counts': downloads.runs(MASK), 'size': [HEIGHT, WIDTH]}, iscrowd=1)
INSTANCES.add(3, 1, {'counts': '`1:6O`02N5M', 'size': [HEIGHT, WIDTH]})


@fuzzed
@given(changed_json(INSTANCES.content))
def test_instances_json(folder, content):
    root = folder / 'instances'
    if not root.exists():
        writer = copy.deepcopy(INSTANCES)
        writer.root = root
        root.mkdir()
        writer.write()
    path = root / 'instances.json'
    path.write_bytes(content)
    sources = CocoInstancesSources(path, root / 'images')
    out = folder / 'converted' / 'out.json'
    out.unlink(missing_ok=True)
    reports = outcome(
        lambda path: convert_coco_instances(sources, out, workers=1, overwrite=True), path
    )
    if reports is None or not reports[0].usable:
        assert not out.exists()
        for fault in reports[0].faults if reports else ():
            assert 'Traceback' not in fault
            assert '\n' not in fault
        return
    found, made = json.loads(content.decode('utf-8-sig')), json.loads(out.read_text())
    assert {entry['id'] for entry in made['images']} <= {entry['id'] for entry in found['images']}
    assert len(made['annotations']) <= len(found['images'])
    for entry in made['annotations']:
        ids = downloads.read_ids(out.with_suffix('') / entry['file_name'])
        assert {s['id'] for s in entry['segments_info']} == set(np.unique(ids).tolist()) - {0}


@fuzzed
@given(changed_json(INSTANCES.content))
def test_instances_as_training_reads_them(folder, content):
    path = folder / 'instances.json'
    path.write_bytes(content)
    images = outcome(
        lambda path: read_instance_annotations(str(path), classes=['cat', 'dog']), path
    )
    if images is None:
        return
    found = json.loads(content.decode('utf-8-sig'))
    names = {entry['id']: entry['name'] for entry in found['categories']}
    assert [image.img_id for image in images] == [entry['id'] for entry in found['images']]
    for image in images:
        own = [entry for entry in found['annotations'] if entry['image_id'] == image.img_id]
        labels = [segment['label'] for segment in image.instances]
        assert [('cat', 'dog')[label] for label in labels] == [
            names[entry['category_id']] for entry in own
        ]
        results = {
            'img_path': f'{folder}/{image.file_name}',
            'height': image.height,
            'width': image.width,
            'ori_shape': (HEIGHT, WIDTH),
            'segments': [{**segment, 'visible': True} for segment in image.instances],
        }
        loaded = outcome(
            lambda _, results=results: LoadInstanceMasks().transform(results),
            Path(image.file_name),
        )
        if loaded is not None:
            assert loaded['gt_masks'].masks.shape[1:] == (HEIGHT, WIDTH)
            assert loaded['gt_masks'].masks.any((1, 2)).all()
            assert len(loaded['gt_bboxes_labels']) == len(loaded['gt_masks']) <= len(own)


SCENARIO = Scenario([1, 1], ['cat'], ['sky'])


def summary_content(folder):
    summary = new_summary(SCENARIO, config='toy', method='M')
    values = dict.fromkeys(('base', 'new', 'all'), 0.5)
    names = ('PQ', 'SQ', 'RQ')
    for step in (0, 1):
        entry = dict(
            step=step,
            classes=list(SCENARIO.order[: step + 1]),
            train_images=3,
            train_iters=2,
            seconds=1.0,
            metrics=dict.fromkeys(names, values),
            per_class={name: dict.fromkeys(names, 0.25) for name in SCENARIO.order[: step + 1]},
        )
        summary = merge_step(summary, entry)
    write_summary(folder / 'whole.json', summary)
    return json.loads((folder / 'whole.json').read_text())


@fuzzed
@given(st.data())
def test_summary(folder, data):
    content = summary_content(folder)
    path = folder / 'summary.json'
    path.write_bytes(data.draw(changed_json(content)))
    summary = outcome(read_summary, path)
    if summary is not None:
        # what is accepted can be shown
        assert format_summary(summary).count('\n') > len(summary['steps'])
        assert format_per_class(summary).startswith('|')


def saved(content, **options):
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


WEIGHTS = {'a.weight': torch.arange(12.0).reshape(3, 4), 'b': torch.zeros(2, dtype=torch.int64)}
META = {'iter': 3, 'cfg': 'model = dict()', 'continual': {'step': 0, 'scenario': {}}}
CHECKPOINT = saved({'state_dict': WEIGHTS, 'meta': META})
OLD_CHECKPOINT = saved({'state_dict': WEIGHTS, 'meta': META}, _use_new_zipfile_serialization=False)


@fuzzed
@given(changed_bytes(CHECKPOINT) | changed_bytes(OLD_CHECKPOINT))
def test_checkpoint(folder, content):
    path = folder / 'checkpoint.pth'
    path.write_bytes(content)
    found = outcome(read_checkpoint, path)
    if found is not None:
        outcome(lambda path: continual_meta(found, path), path)
    verified = outcome(read_verified, path)
    if verified is not None and content[:2] == b'PK':
        # nothing that was altered passes
        assert set(verified['state_dict']) == set(WEIGHTS)
        for name, value in WEIGHTS.items():
            assert torch.equal(verified['state_dict'][name], value)


class Evil:
    """Runs a command where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


MODEL = {'model': OrderedDict({'a.weight': np.arange(6, dtype=np.float32)}), 'iteration': 9}


@fuzzed
@given(
    changed_bytes(pickle.dumps(MODEL, protocol=2)).map(lambda content: ('pkl', content))
    | changed_bytes(saved({'model': WEIGHTS})).map(lambda content: ('pth', content))
)
def test_detectron2(folder, named):
    suffix, content = named
    path = folder / f'model.{suffix}'
    path.write_bytes(content)
    found = outcome(read_detectron2, path)
    if found is not None:
        assert all(isinstance(value, torch.Tensor) for value in found.model.values())


@pytest.mark.parametrize('suffix', ['pkl', 'pth'])
def test_no_code_runs(tmp_path, suffix):
    path, made = tmp_path / f'a.{suffix}', tmp_path / 'made'
    content = {'model': {'a': Evil(made)}, 'state_dict': {'a': Evil(made)}}
    path.write_bytes(pickle.dumps(content) if suffix == 'pkl' else saved(content))
    for read in (read_detectron2, read_checkpoint, read_verified):
        with pytest.raises(RuntimeError, match=rf'checkpoint .*a\.{suffix}'):
            read(path)
    assert not made.exists()


def test_a_pickle_that_would_take_all_memory(tmp_path):
    path = tmp_path / 'a.pkl'
    path.write_bytes(b'\x80\x02}r\xff\xff\xff\x7f.')
    assert outcome(read_detectron2, path) is None


@pytest.mark.parametrize('text', ['[' * 100_000, '{"a":' * 100_000, '[' * 1000 + ']' * 1000])
def test_deep_json(tmp_path, text):
    path = tmp_path / 'deep.json'
    path.write_text(text)
    for read in (
        lambda path: read_panoptic_annotations(path, classes=CLASSES, thing_classes=THINGS),
        read_summary,
    ):
        assert outcome(read, path) is None


def test_huge_pictures(tmp_path):
    """Neither memory nor time is spent on pixels that are not there."""
    path = tmp_path / 'huge.png'
    path.write_bytes(with_size(encoded(ids_to_rgb(IDS)), 100_000, 100_000))
    assert outcome(lambda path: read_panoptic_png(str(path)), path) is None
    path.write_bytes(with_size(encoded(LABELS), 100_000, 100_000))
    assert outcome(read_label_map, path) is None


def test_as_many_inputs_as_asked_for():
    tests = [value for name, value in globals().items() if name.startswith('test_')]
    assert sum(hasattr(test, 'hypothesis') for test in tests) == READERS
    assert READERS * fuzzed.max_examples >= TOTAL
