"""Which images are in memory, against the released program's numbers and plain loops."""

import hashlib
import json
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from replay import Steps

from mmcomformer.datasets import memory as module
from mmcomformer.datasets.class_index import ClassIndex
from mmcomformer.datasets.memory import (
    ClassProportionalMemory,
    RandomMemory,
    cached_memory,
)
from mmcomformer.registry import TASK_UTILS
from mmcomformer.scenario import Scenario

GOLDEN = json.loads(
    (Path(__file__).parents[1] / 'data/golden/balconpas/memory_selection.json').read_text()
)
CASES = {case['case']: case for kind in GOLDEN['functions'].values() for case in kind['cases']}
SETTINGS = ('overlap', 'disjoint', 'sequential', 'partitioned')
# the last class is never learned
CLASSES = ('ant', 'bee', 'cat', 'dog', 'elk', 'fox', 'gnu')
ORDER = ('dog', 'ant', 'fox', 'bee', 'elk', 'cat')
INCREMENTS = (2, 1, 1, 2)


def index_of(images, classes=CLASSES):
    return ClassIndex.from_segments(
        [
            [{'label': classes.index(c)} for c, n in found.items() for _ in range(n)]
            for found in images.values()
        ],
        num_classes=len(classes),
    )


def scenario(step, setting='overlap', **changes):
    settings = {'increments': INCREMENTS, 'class_order': ORDER, **changes}
    return Scenario(
        thing_classes=CLASSES[:3], stuff_classes=CLASSES[3:], setting=setting, step=step, **settings
    )


def random_images(seed, count=100):
    """Images of few classes and segments, so that many of them are equally good."""
    rng = random.Random(seed)
    names = [f'{folder}/{number}.jpg' for number in range(count // 2) for folder in 'ba']
    rng.shuffle(names)
    return {name: Counter(rng.choices(CLASSES, k=rng.randint(0, 3))) for name in names}


def stored(memory, images, at):
    """Return what is in memory as the loops tell it: segments by class, by name, as chosen."""
    found = memory.before_step(index_of(images), list(images), at)
    names = list(images)
    return {
        names[image]: Counter(
            {c: n for c, n in images[names[image]].items() if shown[CLASSES.index(c)]}
        )
        for image, shown in zip(found.images, found.shown, strict=True)
    }


@pytest.mark.parametrize('name', CASES)
def test_the_released_selection(name):
    case = CASES[name]
    increments = case['classes_per_step']
    classes = [f'class {label}' for label in range(sum(increments))]
    counts = Counter()
    for step in case['steps']:
        for image, found in zip(step['images'], step['counts'], strict=True):
            counts.update({(image, label): n for label, n in enumerate(found)})
    # their order is another one than that of the names
    names = sorted({image for step in case['steps'] for image in step['images']}, reverse=True)
    index = ClassIndex.from_segments(
        [
            [{'label': c} for c in range(len(classes)) for _ in range(counts[name, c])]
            for name in names
        ],
        num_classes=len(classes),
    )
    for step, expected in enumerate(case['memory']):
        # a step that is still to come, so that the memory after each can be asked for
        at = Scenario([*increments, 1], (), [*classes, 'end'], step=step + 1)
        found = ClassProportionalMemory(case['size']).before_step(index, names, at)
        chosen = [names[image] for image in found.images]
        assert chosen == expected
        shown = [
            [counts[name, c] if sees[c] else 0 for c in range(len(classes))]
            for name, sees in zip(chosen, found.shown, strict=True)
        ]
        assert shown == case['shown'][step]


class TestAgainstLoops:
    @pytest.mark.parametrize('size', [1, 5, 0.25, 1.0])
    @pytest.mark.parametrize('setting', SETTINGS)
    def test_images_and_labels(self, setting, size):
        for seed in range(3):
            images = random_images(seed)
            steps = Steps(images, INCREMENTS, ORDER, setting)
            for step in range(len(INCREMENTS)):
                found = stored(ClassProportionalMemory(size), images, scenario(step, setting))
                expected = steps.memory(step, size)
                assert list(found) == list(expected)
                assert found == expected

    @pytest.mark.parametrize('seed', range(4))
    def test_a_step_with_few_images(self, seed):
        """Its part is larger than the number of its images, so the old memory gives the rest."""
        images = {name: found & Counter(dog=2, ant=1) for name, found in random_images(0).items()}
        few = list(images)[seed : seed + 2]
        images |= {name: Counter(fox=3, dog=1) for name in few}
        # the part of the first steps would be 6 of 9
        found = stored(ClassProportionalMemory(9), images, scenario(2))
        assert found == Steps(images, INCREMENTS, ORDER).memory(2, 9)
        assert len(found) == 9
        assert sum('fox' in shown for shown in found.values()) <= 2

    @pytest.mark.parametrize(('size', 'expected'), [(1e-6, 1), (0.02, 1), (0.05, 3), (1.0, 50)])
    def test_share_of_images(self, size, expected):
        images = {f'{number}.jpg': Counter(dog=1) for number in range(50)}
        assert len(stored(RandomMemory(size), images, scenario(1))) == expected

    def test_label_maps(self):
        """A class in a label map counts once, however many segments there would be."""
        images = random_images(1)
        index = index_of(images)
        once = ClassIndex(index.labels, index.offsets)
        found = ClassProportionalMemory(6).before_step(once, list(images), scenario(3))
        flat = {name: Counter(set(segments)) for name, segments in images.items()}
        chosen = [list(images)[image] for image in found.images]
        assert chosen == list(Steps(flat, INCREMENTS, ORDER).memory(3, 6))
        several = ClassProportionalMemory(6).before_step(index, list(images), scenario(3))
        assert several.images.tolist() != found.images.tolist()

    def test_the_order_of_the_annotations_does_not_matter(self):
        images = random_images(2)
        expected = stored(ClassProportionalMemory(7), images, scenario(3))
        for turn in range(3):
            names = list(images)
            random.Random(turn).shuffle(names)
            shuffled = {name: images[name] for name in names}
            again = stored(ClassProportionalMemory(7), shuffled, scenario(3))
            assert list(again.items()) == list(expected.items())

    def test_cases_that_the_comparison_needs(self):
        """Images in memory and in a later step, ones that leave and come back with fewer labels."""
        images = random_images(0)
        steps = Steps(images, INCREMENTS, ORDER)
        after = [steps.memory(step, 0.25) for step in range(4)]
        merged = [
            name
            for name, shown in after[2].items()
            if steps.classes[0] & set(shown) and steps.classes[1] & set(shown)
        ]
        assert merged
        partly = [
            name
            for name, shown in after[3].items()
            if any(name in steps.shown(t) and not steps.classes[t] & set(shown) for t in range(3))
        ]
        assert partly


class TestRandomMemory:
    def drawn(self, name, seed=0):
        return hashlib.sha256(f'{seed}\0{name}'.encode()).hexdigest()

    @pytest.mark.parametrize('seed', [0, 3])
    def test_a_sample_of_all_steps(self, seed):
        images = random_images(0)
        steps = Steps(images, INCREMENTS, ORDER)
        for step in range(1, 4):
            found = stored(RandomMemory(8, seed), images, scenario(step))
            seen = {name for t in range(step) for name in steps.shown(t)}
            assert list(found) == sorted(seen, key=lambda name: self.drawn(name, seed))[:8]

    def test_labels_are_those_since_it_was_stored(self):
        images = random_images(0)
        steps = Steps(images, INCREMENTS, ORDER)
        found = [stored(RandomMemory(8), images, scenario(step)) for step in range(4)]
        for name, shown in found[3].items():
            first = max(step for step in range(1, 4) if name not in found[step - 1])
            expected = [steps.shown(t).get(name, Counter()) for t in range(first - 1, 3)]
            assert shown == sum(expected, Counter())


class TestErrors:
    @pytest.mark.parametrize('kind', [ClassProportionalMemory, RandomMemory])
    @pytest.mark.parametrize(
        ('size', 'error', 'message'),
        [
            (0, ValueError, r'memory\.size: expected at least 1 image, got 0; leave memory out'),
            (-3, ValueError, r'memory\.size: expected at least 1 image, got -3'),
            (0.0, ValueError, r'memory\.size: expected a share .* in \(0, 1\], got 0\.0'),
            (-0.5, ValueError, r'memory\.size: expected a share .* in \(0, 1\], got -0\.5'),
            (1.5, ValueError, r'memory\.size: expected a share .* in \(0, 1\], got 1\.5'),
            (300.0, ValueError, r'got 300\.0; a number of images is an integer'),
            (float('nan'), ValueError, r'memory\.size: expected a share .* got nan'),
            ('300', TypeError, r"memory\.size: expected a number of images, .* got '300'"),
            (True, TypeError, r'memory\.size: expected a number of images, .* got True'),
            (None, TypeError, r'memory\.size: expected a number of images, .* got None'),
        ],
    )
    def test_size(self, kind, size, error, message):
        with pytest.raises(error, match=message):
            kind(size)

    def test_missing_size_from_a_config(self):
        with pytest.raises(TypeError, match=r'memory\.size: expected a number of images'):
            TASK_UTILS.build({'type': 'ClassProportionalMemory'})

    @pytest.mark.parametrize('seed', ['a', 1.0, True])
    def test_seed(self, seed):
        with pytest.raises(TypeError, match=r'memory\.seed: expected an integer'):
            RandomMemory(3, seed)

    @pytest.mark.parametrize('step', range(4))
    def test_larger_than_step_0(self, step):
        """At every step, so that it is found before anything is trained."""
        images = random_images(0)
        available = len(Steps(images, INCREMENTS, ORDER).shown(0))
        message = (
            rf'memory\.size: expected at most {available}, the number of images of step 0 '
            rf'\(of 100 in the dataset\), got {available + 1}'
        )
        index, names = index_of(images), list(images)
        with pytest.raises(ValueError, match=message):
            ClassProportionalMemory(available + 1).before_step(index, names, scenario(step))
        found = ClassProportionalMemory(available).before_step(index, names, scenario(step))
        assert len(found) == (available if step else 0)

    def test_a_step_before_without_images(self):
        images = {f'{number}.jpg': Counter(dog=1, ant=2, bee=1) for number in range(4)}
        message = r'memory: step 1 \(overlap\) has no training image among the 4 .* memory=None'
        with pytest.raises(ValueError, match=message):
            RandomMemory(2).before_step(index_of(images), list(images), scenario(2))
        assert len(RandomMemory(2).before_step(index_of(images), list(images), scenario(1))) == 2

    def test_step_0_that_the_dataset_lacks(self):
        """An annotation file of the later steps alone."""
        images = {f'{number}.jpg': Counter(fox=1) for number in range(4)}
        with pytest.raises(ValueError, match=r'expected at most 0, the number of images of step 0'):
            RandomMemory(2).before_step(index_of(images), list(images), scenario(1))
        with pytest.raises(ValueError, match=r'memory: step 0 \(overlap\) has no training image'):
            RandomMemory(0.5).before_step(index_of(images), list(images), scenario(1))


class TestCache:
    @pytest.fixture
    def images(self):
        return random_images(0)

    @pytest.fixture
    def counted(self, monkeypatch):
        """Count how often images are chosen."""
        calls = []
        choose = ClassProportionalMemory.choose
        monkeypatch.setattr(
            ClassProportionalMemory,
            'choose',
            lambda *args: (calls.append(1), choose(*args))[1],
        )
        return calls

    def read(self, folder, images, step=2, size=5, memory=None, **changes):
        found = cached_memory(
            memory or ClassProportionalMemory(size),
            index_of(images),
            list(images),
            scenario(step, **changes),
            folder,
        )
        return found.images.tolist(), found.shown.tolist()

    def test_is_read_instead_of_chosen_again(self, tmp_path, images, counted):
        first = self.read(tmp_path / 'new', images)
        assert len(counted) == 2
        assert self.read(tmp_path / 'new', images) == first
        assert len(counted) == 2
        assert self.read(None, images) == first
        assert len(counted) == 4
        assert len(list((tmp_path / 'new').iterdir())) == 1

    @pytest.mark.parametrize(
        'changes',
        [{'size': 6}, {'step': 3}, {'setting': 'disjoint'}, {'class_order': ORDER[::-1]}],
    )
    def test_other_memories_have_other_files(self, tmp_path, images, changes):
        first = self.read(tmp_path, images)
        other = self.read(tmp_path, images, **changes)
        assert other == self.read(None, images, **changes) != first
        assert self.read(tmp_path, images) == first
        assert len(list(tmp_path.iterdir())) == 2

    def test_seeds_have_files_of_their_own(self, tmp_path, images):
        for seed in range(3):
            self.read(tmp_path, images, memory=RandomMemory(5, seed))
            self.read(tmp_path, images, setting='partitioned', partition_seed=seed)
        assert len(list(tmp_path.iterdir())) == 6

    def test_changed_annotations(self, tmp_path, images, counted):
        self.read(tmp_path, images)
        renamed = {f'z{name}': found for name, found in images.items()}
        self.read(tmp_path, renamed)
        assert len(counted) == 4
        several = {name: Counter({c: 2 * n for c, n in s.items()}) for name, s in renamed.items()}
        self.read(tmp_path, several)
        assert len(counted) == 6
        assert len(list(tmp_path.iterdir())) == 1

    @pytest.mark.parametrize('damage', ['cut', 'range', 'twice', 'labels'])
    def test_is_not_trusted(self, tmp_path, images, damage):
        expected = self.read(tmp_path, images)
        (path,) = tmp_path.iterdir()
        with np.load(path) as content:
            arrays = dict(content)
        if damage == 'range':
            arrays['images'][0] = len(images)
        elif damage == 'twice':
            arrays['images'][0] = arrays['images'][1]
        elif damage == 'labels':
            arrays['shown'] = arrays['shown'][:, :-1]
        np.savez(path, **arrays)
        if damage == 'cut':
            path.write_bytes(path.read_bytes()[:-100])
        assert self.read(tmp_path, images) == expected

    def test_step_0_writes_nothing(self, tmp_path, images):
        assert self.read(tmp_path / 'none', images, step=0) == ([], [])
        assert not (tmp_path / 'none').exists()

    def test_version_of_the_package(self, tmp_path, images, counted, monkeypatch):
        self.read(tmp_path, images)
        monkeypatch.setattr(module, '__version__', 'another')
        self.read(tmp_path, images)
        assert len(counted) == 4
