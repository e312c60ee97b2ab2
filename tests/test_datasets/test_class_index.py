import numpy as np
import pytest
from PIL import Image

from mmcomformer.datasets import class_index
from mmcomformer.datasets.class_index import ClassIndex
from mmcomformer.scenario import Scenario


def make_segments(*images):
    return [[{'label': label} for label in image] for image in images]


def test_labels_are_distinct_and_sorted():
    index = ClassIndex.from_segments(make_segments([4, 0, 4], [], [2]), num_classes=5)
    assert len(index) == 3
    assert [index[i].tolist() for i in range(3)] == [[0, 4], [], [2]]
    assert index.offsets.tolist() == [0, 2, 2, 3]


def test_crowds_do_not_count():
    segments = [[{'label': 1, 'iscrowd': True}, {'label': 2, 'iscrowd': False}]]
    assert ClassIndex.from_segments(segments, num_classes=3)[0].tolist() == [2]


@pytest.mark.parametrize('segments', [[], [[]], [[], []]])
def test_nothing_to_index(segments):
    index = ClassIndex.from_segments(segments, num_classes=3)
    assert len(index) == len(segments)
    assert index.labels.size == 0
    assert index.images_per_class(3).tolist() == [0, 0, 0]


def test_against_brute_force():
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 7, rng.integers(0, 6)).tolist() for _ in range(50)]
    index = ClassIndex.from_segments(make_segments(*images), num_classes=7)
    assert [index[i].tolist() for i in range(50)] == [sorted(set(image)) for image in images]
    expected = [sum(label in image for image in images) for label in range(7)]
    assert index.images_per_class(7).tolist() == expected


@pytest.mark.parametrize(
    ('setting', 'step', 'expected'),
    [
        ('overlap', 0, [1, 0, 1, 0]),
        ('overlap', 1, [0, 1, 1, 0]),
        ('disjoint', 0, [1, 0, 0, 0]),
        ('disjoint', 1, [0, 1, 1, 0]),
        ('sequential', 0, [1, 0, 0, 0]),
        ('sequential', 1, [0, 1, 1, 0]),
    ],
)
def test_kept_images(setting, step, expected):
    scenario = Scenario(
        increments=[1, 1],
        thing_classes=['cat'],
        stuff_classes=['sky'],
        class_order=['sky', 'cat'],
        setting=setting,
        step=step,
    )
    index = ClassIndex.from_segments(make_segments([1], [0], [0, 1], []), num_classes=2)
    kept = index.kept_images(scenario, ['a', 'b', 'c', 'd'])
    assert kept.dtype == bool
    assert kept.tolist() == [bool(keep) for keep in expected]


class TestLabelMaps:
    @pytest.fixture
    def maps(self, tmp_path):
        """Maps of 4 classes: with a pixel that is ignored, with a palette, and with no class."""
        arrays = [np.array([[3, 1], [255, 3]]), np.array([[0, 2]]), np.array([[255]])]
        paths = [tmp_path / f'{index}.png' for index in range(3)]
        for path, array in zip(paths, arrays, strict=True):
            image = Image.fromarray(array.astype(np.uint8))
            if path.stem == '1':
                image.putpalette([10, 20, 30] * 256)
            image.save(path)
        return paths

    def rows(self, paths, **options):
        index = ClassIndex.from_label_maps(paths, num_classes=4, **options)
        assert index.labels.dtype == index.offsets.dtype == np.int64
        return [index[i].tolist() for i in range(len(index))]

    @pytest.mark.parametrize('workers', [1, 2])
    def test_labels(self, maps, workers):
        assert self.rows(maps, workers=workers) == [[1, 3], [0, 2], []]

    def test_reduced(self, maps):
        assert self.rows(maps, reduce_zero_label=True, workers=1) == [[0, 2], [1], []]

    def test_label_map(self, maps):
        """Two classes that become one, and one that is left out."""
        label_map = {0: 255, 1: 2, 2: 0, 3: 2}
        assert self.rows(maps, label_map=label_map, workers=1) == [[2], [0], []]
        reduced = self.rows(maps, label_map=label_map, reduce_zero_label=True, workers=1)
        assert reduced == [[0], [2], []]

    @pytest.mark.parametrize(('count', 'workers'), [(64, 1), (65, None)])
    def test_few_maps_are_read_by_one_process(self, monkeypatch, count, workers):
        asked = []

        def parallel(function, items, *, workers, title):
            asked.append(workers)
            return [np.zeros(0, dtype=np.int64)] * len(items)

        monkeypatch.setattr(class_index, 'parallel', parallel)
        ClassIndex.from_label_maps(['a.png'] * count, num_classes=2)
        ClassIndex.from_label_maps(['a.png'] * count, num_classes=2, workers=3)
        assert asked == [workers, 3]

    def test_no_map(self):
        assert self.rows([], workers=1) == []

    @pytest.mark.parametrize(('reduce', 'largest'), [(False, 2), (True, 3)])
    def test_unknown_label(self, maps, reduce, largest):
        Image.fromarray(np.array([[4, 255]], dtype=np.uint8)).save(maps[1])
        match = rf'1\.png: expected labels from 0 to {largest} and 255, got \[4\]'
        with pytest.raises(ValueError, match=match):
            ClassIndex.from_label_maps(maps[1:], num_classes=3, reduce_zero_label=reduce, workers=1)

    @pytest.mark.parametrize('name', ['missing', 'text'])
    def test_unreadable(self, maps, name):
        if name == 'text':
            maps[1].write_text('no picture')
        else:
            maps[1].unlink()
        error = ValueError if name == 'text' else FileNotFoundError
        with pytest.raises(error, match='1.png'):
            self.rows(maps, workers=1)

    def test_cache(self, maps, tmp_path, monkeypatch):
        cache = tmp_path / 'index.npz'
        first = self.rows(maps, cache=cache, workers=1)
        with monkeypatch.context() as patched:
            patched.setattr(class_index, 'read_coded_map', None)
            assert self.rows(maps, cache=cache, workers=1) == first == [[1, 3], [0, 2], []]

    def test_stale_cache(self, maps, tmp_path):
        cache = tmp_path / 'index.npz'
        self.rows(maps, cache=cache, workers=1)
        Image.fromarray(np.array([[2]], dtype=np.uint8)).save(maps[2])
        assert self.rows(maps, cache=cache, workers=1)[2] == [2]
        assert self.rows(maps[1:], cache=cache, workers=1) == [[0, 2], [2]]
        reduced = self.rows(maps[1:], cache=cache, reduce_zero_label=True, workers=1)
        assert reduced == [[1], [1]]
        label_map = {0: 3, 1: 255, 2: 0, 3: 1}
        assert self.rows(maps[1:], cache=cache, label_map=label_map, workers=1) == [[0, 3], [0]]
        assert self.rows(maps[1:], cache=cache, workers=1) == [[0, 2], [2]]

    def test_missing_map_with_a_cache(self, maps, tmp_path):
        maps[1].unlink()
        with pytest.raises(FileNotFoundError, match=r'label map .*1\.png does not exist; check'):
            self.rows(maps, cache=tmp_path / 'index.npz', workers=1)

    def test_cache_of_another_version(self, maps, tmp_path, monkeypatch):
        cache = tmp_path / 'index.npz'
        self.rows(maps, cache=cache, workers=1)
        before = cache.read_bytes()
        monkeypatch.setattr(class_index, '__version__', '999')
        self.rows(maps, cache=cache, workers=1)
        assert cache.read_bytes() != before

    @pytest.mark.parametrize(
        'wrong',
        [
            {'labels': [1, 4, 0, 2], 'offsets': [0, 2, 4, 4]},
            {'labels': [1, -1, 0, 2], 'offsets': [0, 2, 4, 4]},
            {'labels': [1, 3, 0, 2], 'offsets': [0, 2, 4]},
            {'labels': [1, 3, 0, 2], 'offsets': [0, 5, 4, 4]},
            {'labels': [1, 3, 0, 2], 'offsets': [1, 2, 4, 4]},
            {'labels': [1, 3, 0, 2], 'offsets': [0, 2, 4, 5]},
            {'labels': [1.0, 3.0, 0.0, 2.0], 'offsets': [0, 2, 4, 4]},
            {'labels': [1, 3, 0, 2]},
        ],
    )
    def test_cache_with_the_right_key_and_wrong_arrays(self, maps, tmp_path, wrong):
        cache = tmp_path / 'index.npz'
        first = self.rows(maps, cache=cache, workers=1)
        with np.load(cache) as content:
            key = content['key']
        np.savez(cache, key=key, **{name: np.array(values) for name, values in wrong.items()})
        assert self.rows(maps, cache=cache, workers=1) == first
