"""Steps, settings and the two numberings of the classes, with things and stuff mixed."""

import dataclasses
import hashlib
import json

import numpy as np
import pytest

from mmcomformer.scenario import Scenario, parse_step, step_from_environment

THINGS, STUFF = ('cat', 'dog', 'fox', 'bus'), ('sky', 'sea', 'mud')
CAT, DOG, FOX, BUS, SKY, SEA, MUD = range(7)
# 'mud' is never learned; each step mixes things and stuff
ORDER = ('sky', 'dog', 'sea', 'cat', 'fox', 'bus')
CONFIG = dict(
    increments=[2, 2, 2],
    thing_classes=list(THINGS),
    stuff_classes=list(STUFF),
    class_order=list(ORDER),
)


def scenario(**changes):
    return Scenario.from_config({**CONFIG, **changes})


def test_classes_of_a_middle_step():
    middle = scenario(step=1)
    assert middle.base_classes == ('sky', 'dog')
    assert middle.old_classes == ('sky', 'dog')
    assert middle.current_classes == ('sea', 'cat')
    assert middle.new_classes == ('sea', 'cat')
    assert middle.seen_classes == ('sky', 'dog', 'sea', 'cat')
    assert [middle.step_classes(step) for step in range(3)] == [
        ('sky', 'dog'),
        ('sea', 'cat'),
        ('fox', 'bus'),
    ]
    assert (middle.num_old, middle.num_seen) == (2, 4)
    assert middle.seen_increments == (2, 2)
    assert middle.current_labels == {SEA, CAT}
    assert middle.seen_labels == {SKY, DOG, SEA, CAT}
    assert middle.later_labels == {FOX, BUS}


def test_classes_of_the_first_and_the_last_step():
    first, last = scenario(step=0), scenario(step=2)
    assert first.old_classes == first.new_classes == ()
    assert first.current_classes == first.seen_classes == ('sky', 'dog')
    assert (first.num_old, first.num_seen, first.seen_increments) == (0, 2, (2,))
    assert last.old_classes == ('sky', 'dog', 'sea', 'cat')
    assert last.new_classes == ('sea', 'cat', 'fox', 'bus')
    assert last.seen_classes == ORDER
    assert last.later_labels == frozenset()


def test_counts_of_the_dataset_do_not_depend_on_the_step():
    for step in range(3):
        s = scenario(step=step)
        assert (s.num_things, s.num_stuff, s.num_classes, s.num_steps) == (4, 3, 7, 3)
        assert s.classes == THINGS + STUFF
        assert s.learning_to_label == (SKY, DOG, SEA, CAT, FOX, BUS)


def test_uneven_increments():
    s = scenario(increments=[1, 3, 2], step=1)
    assert s.current_classes == ('dog', 'sea', 'cat')
    assert (s.num_old, s.num_seen) == (1, 4)


def test_maps_between_dataset_labels_and_learning_order():
    s = scenario(step=1)
    assert s.seen_learning_to_label == (SKY, DOG, SEA, CAT)
    #                              cat dog fox bus sky sea mud
    assert s.label_to_learning == (3, 1, -1, -1, 0, 2, -1)
    assert scenario(step=2).label_to_learning == (3, 1, 4, 5, 0, 2, -1)
    for index, label in enumerate(s.seen_learning_to_label):
        assert s.label_to_learning[label] == index


def test_without_a_class_order_the_dataset_order_is_learned():
    s = Scenario([4, 3], THINGS, STUFF)
    assert s.order == s.classes == THINGS + STUFF
    assert s.learning_to_label == tuple(range(7))
    assert (s.setting, s.step) == ('overlap', 0)


IMAGES = {
    'nothing': (),
    'old': (SKY,),
    'current': (SEA,),
    'later': (FOX,),
    'never learned': (MUD,),
    'old and current': (DOG, CAT),
    'current and later': (CAT, BUS),
    'old, current and later': (SKY, SEA, FOX),
    'current and never learned': (CAT, MUD),
    'old and later': (DOG, BUS),
}
HAS_CURRENT = {
    'current',
    'old and current',
    'current and later',
    'old, current and later',
    'current and never learned',
}
NOTHING_LATER = HAS_CURRENT - {'current and later', 'old, current and later'}


@pytest.mark.parametrize(
    ('setting', 'kept', 'shown'),
    [
        ('overlap', HAS_CURRENT, {SEA, CAT}),
        ('disjoint', NOTHING_LATER, {SEA, CAT}),
        ('sequential', NOTHING_LATER, {SEA, CAT, SKY, DOG}),
    ],
)
def test_settings(setting, kept, shown):
    s = scenario(setting=setting, step=1)
    assert {name for name, labels in IMAGES.items() if s.keeps_image(labels, name)} == kept
    assert {name for name, labels in IMAGES.items() if s.keeps_image(set(labels), name)} == kept
    assert {label for label in range(7) if s.shows_label(label)} == shown


class TestPartitioned:
    """Each image belongs to the step of one of its classes, drawn by its name."""

    HOLDS = [labels for labels in IMAGES.values() if set(labels) - {MUD}]
    NAMES = [f'{number:012d}.jpg' for number in range(200)]

    def steps(self, labels, name, **changes):
        at = [scenario(setting='partitioned', step=step, **changes) for step in range(3)]
        return [s.step for s in at if s.keeps_image(labels, name)]

    def drawn(self, labels, name, seed=0):
        """The class of an image, by hand."""
        names = {(THINGS + STUFF)[label] for label in labels} & set(ORDER)
        weights = {
            hashlib.sha256(f'{seed}\0{name}\0{one}'.encode()).hexdigest(): one for one in names
        }
        return weights[max(weights)]

    @pytest.mark.parametrize('seed', [0, 5])
    @pytest.mark.parametrize('labels', HOLDS)
    def test_exactly_one_step(self, labels, seed):
        for name in self.NAMES[:20]:
            step = ORDER.index(self.drawn(labels, name, seed)) // 2
            assert self.steps(labels, name, partition_seed=seed) == [step]

    @pytest.mark.parametrize('labels', [(), (MUD,)])
    def test_nothing_to_learn_is_in_no_step(self, labels):
        assert self.steps(labels, 'a.jpg') == []

    def test_labels_of_the_step_are_shown(self):
        s = scenario(setting='partitioned', step=1)
        assert {label for label in range(7) if s.shows_label(label)} == {SEA, CAT}

    def test_the_draw_of_all_platforms_and_versions(self):
        """A change here moves images between the steps of every run that there is."""
        labels = [SKY, SEA, FOX]
        found = [self.steps(labels, name)[0] for name in self.NAMES[:12]]
        assert found == [1, 0, 2, 1, 0, 1, 0, 0, 2, 1, 1, 0]
        assert found != [self.steps(labels, n, partition_seed=1)[0] for n in self.NAMES[:12]]

    def test_classes_are_drawn_alike(self):
        found = [self.steps([SKY, SEA, FOX], name)[0] for name in self.NAMES]
        assert all(50 < count < 85 for count in np.bincount(found))

    def test_only_names_count(self):
        """Neither the order of labels and classes nor those that an image lacks."""
        others = dict(thing_classes=[*THINGS[::-1], 'gnu'], stuff_classes=list(STUFF[::-1]))
        moved = {old: others['thing_classes'].index(THINGS[old]) for old in range(4)}
        moved |= {4 + old: 5 + STUFF[::-1].index(STUFF[old]) for old in range(3)}
        order = dict(increments=[2, 2, 3], class_order=[*ORDER, 'gnu'])
        for name in self.NAMES[:20]:
            for labels in self.HOLDS:
                expected = self.steps(labels, name)
                assert self.steps({moved[label] for label in labels}, name, **others, **order) == (
                    expected
                )
                assert self.steps(labels[::-1], name) == expected

    def test_a_class_that_comes_later_takes_images_from_all(self):
        """It does not move others between the steps that were there."""
        order = dict(increments=[2, 2, 2, 1], class_order=[*ORDER, 'mud'])
        before = [self.steps([SKY, SEA, MUD], name)[0] for name in self.NAMES]
        at = [
            [
                step
                for step in range(4)
                if scenario(setting='partitioned', step=step, **order).keeps_image(
                    [SKY, SEA, MUD], name
                )
            ]
            for name in self.NAMES
        ]
        moved = [found for found, old in zip(at, before, strict=True) if found != [old]]
        assert 40 < len(moved) < 95
        assert all(found == [3] for found in moved)

    def test_the_seed_is_part_of_the_scenario(self):
        s = scenario(setting='partitioned', partition_seed=np.int64(3))
        assert s.to_dict()['partition_seed'] == 3
        assert Scenario.from_config(s.to_dict()) == s
        assert hash(s) != hash(scenario(setting='partitioned'))
        assert scenario(setting='partitioned').to_dict()['partition_seed'] == 0
        assert scenario(partition_seed=3).at_step(1).partition_seed == 3
        assert json.loads(json.dumps(s.to_dict())) == s.to_dict()


def test_at_step_changes_the_step_only():
    s = scenario(setting='disjoint', step=2)
    other = s.at_step(0)
    assert other.step == 0
    assert other.at_step(2) == s
    assert dataclasses.replace(other, step=2) == s
    assert other != s


@pytest.mark.parametrize('changes', [{}, {'step': 2, 'setting': 'sequential'}])
def test_round_trip_of_the_config(changes):
    s = scenario(**changes)
    config = s.to_dict()
    assert config == {'setting': 'overlap', 'step': 0, **CONFIG, **changes}
    assert Scenario.from_config(config) == s
    assert Scenario.from_config(s) is s
    assert hash(Scenario.from_config(config)) == hash(s)


def test_config_without_a_class_order_stays_without():
    assert 'class_order' not in Scenario([4, 3], THINGS, STUFF).to_dict()


def test_config_is_not_edited_and_not_shared():
    names = list(THINGS)
    s = Scenario([4, 3], names, STUFF)
    names[0] = 'gnu'
    assert s.thing_classes == THINGS
    with pytest.raises(dataclasses.FrozenInstanceError):
        s.step = 1


@pytest.mark.parametrize(
    ('changes', 'error', 'message'),
    [
        (
            {'class_order': [*ORDER[:5], 'gnu']},
            ValueError,
            r"class_order: \['gnu'\] are not classes of the dataset",
        ),
        (
            {'class_order': [*ORDER[:5], 'sky']},
            ValueError,
            r"class_order: .*\['sky'\] are repeated",
        ),
        (
            {'stuff_classes': ['sky', 'sea', 'cat']},
            ValueError,
            r"thing_classes \+ stuff_classes: .*\['cat'\] are repeated",
        ),
        (
            {'increments': [2, 2]},
            ValueError,
            r'increments: \[2, 2\] add up to 4 classes, but there are 6',
        ),
        ({'increments': [6, 1]}, ValueError, 'add up to 7 classes, but there are 6'),
        ({'increments': [6, 0]}, ValueError, 'increments: every step adds a class, got 0'),
        ({'increments': [7, -1]}, ValueError, 'increments: every step adds a class, got -1'),
        ({'increments': [5.0, 1]}, TypeError, r'increments: expected integers, got 5\.0'),
        ({'increments': [5, True]}, TypeError, 'increments: expected integers, got True'),
        ({'increments': []}, TypeError, r'increments: expected a list of class counts'),
        ({'increments': 6}, TypeError, 'increments: expected a list of class counts.*got 6'),
        ({'increments': '6'}, TypeError, "increments: expected a list of class counts.*got '6'"),
        ({'thing_classes': 'cat'}, TypeError, "thing_classes: expected a list of .*got 'cat'"),
        ({'stuff_classes': 3}, TypeError, 'stuff_classes: expected a list of class names, got 3'),
        ({'class_order': [0, 1]}, TypeError, r'class_order: expected class names.*\[0, 1\]'),
        (
            {'setting': 'joint'},
            ValueError,
            r"setting: expected one of \['disjoint', .* 'partitioned', .*\], got 'joint'",
        ),
        ({'step': 3}, ValueError, 'step: expected 0 to 2, got 3'),
        ({'step': -1}, ValueError, 'step: expected 0 to 2, got -1'),
        ({'step': '-1'}, ValueError, 'step: expected 0 to 2, got -1'),
        ({'step': 'x'}, TypeError, "step: expected an integer that counts from 0, got 'x'"),
        ({'step': ''}, TypeError, "step: expected an integer that counts from 0, got ''"),
        ({'step': 1.0}, TypeError, r'step: expected an integer that counts from 0, got 1\.0'),
        ({'step': True}, TypeError, 'step: expected an integer that counts from 0, got True'),
        ({'partition_seed': 'a'}, TypeError, "partition_seed: expected an integer, got 'a'"),
        ({'partition_seed': True}, TypeError, 'partition_seed: expected an integer, got True'),
        ({'step': None}, TypeError, 'step: expected an integer that counts from 0, got None'),
        ({'steps': 2, 'order': []}, TypeError, r"unknown keys \['order', 'steps'\]; expected"),
    ],
)
def test_wrong_scenarios(changes, error, message):
    with pytest.raises(error, match=message):
        scenario(**changes)


@pytest.mark.parametrize('config', [None, [2, 2, 2], 'shapes_6-3'])
def test_missing_scenario(config):
    with pytest.raises(TypeError, match='scenario: expected a dict with increments'):
        Scenario.from_config(config)


def test_missing_keys():
    with pytest.raises(TypeError, match=r"keys \['increments', 'stuff_classes'\] are missing"):
        Scenario.from_config({'thing_classes': ['cat']})


@pytest.mark.parametrize(('value', 'step'), [(0, 0), (7, 7), ('7', 7), (' 1 ', 1), ('007', 7)])
def test_parse_step(value, step):
    assert parse_step(value) == step


def test_parse_step_without_a_number_of_steps():
    with pytest.raises(ValueError, match='--step: expected at least 0, got -2'):
        parse_step('-2', source='--step')


def test_a_step_may_be_a_string_of_digits():
    assert scenario(step='2') == scenario(step=2)


def test_step_from_environment(monkeypatch):
    monkeypatch.delenv('STEP', raising=False)
    assert step_from_environment() is None
    monkeypatch.setenv('STEP', '3')
    assert step_from_environment() == 3
    monkeypatch.setenv('STEP', 'x')
    with pytest.raises(TypeError, match="environment variable STEP: .* got 'x'"):
        step_from_environment()
    monkeypatch.setenv('STEP', '')
    with pytest.raises(TypeError, match="environment variable STEP: .* got ''"):
        step_from_environment()


class TestBackground:
    CLASSES = ('background', 'cat', 'dog', 'cow')

    def scenario(self, **changes):
        config = dict(increments=[2, 1], stuff_classes=self.CLASSES, background='background')
        return Scenario.from_config({**config, **changes})

    @pytest.mark.parametrize('setting', ['overlap', 'disjoint', 'sequential'])
    def test_is_never_learned_and_never_shown(self, setting):
        for step in (0, 1):
            scenario = self.scenario(setting=setting, step=step)
            assert scenario.order == ('cat', 'dog', 'cow')
            assert scenario.background_label == 0
            assert not scenario.shows_label(0)
            assert scenario.label_to_learning[0] == -1
            assert 0 not in scenario.seen_labels | scenario.later_labels
            assert scenario.num_classes == 4

    def test_does_not_decide_about_an_image(self):
        disjoint = self.scenario(setting='disjoint')
        assert disjoint.keeps_image({0, 1}, 'a')
        assert not disjoint.keeps_image({0}, 'a')
        assert not disjoint.keeps_image({0, 1, 3}, 'a')

    def test_survives_a_config(self):
        scenario = self.scenario(class_order=['cow', 'cat', 'dog'], step=1)
        assert Scenario.from_config(scenario.to_dict()) == scenario
        assert scenario.at_step(0).background == 'background'
        assert Scenario([4], [], self.CLASSES).background_label is None
        assert 'background' not in Scenario([4], [], self.CLASSES).to_dict()

    def test_wrong(self):
        with pytest.raises(ValueError, match=r"scenario.background: 'sky' is not a class"):
            self.scenario(background='sky')
        with pytest.raises(TypeError, match=r'scenario.background: expected a class name, got 0'):
            self.scenario(background=0)
        with pytest.raises(ValueError, match=r"class_order: it holds the background, 'background'"):
            self.scenario(class_order=['background', 'cat', 'dog'])


def test_things_may_be_left_out():
    scenario = Scenario.from_config(dict(increments=[1, 1], stuff_classes=['sky', 'sea']))
    assert scenario.thing_classes == ()
    assert scenario.classes == ('sky', 'sea')


@pytest.mark.parametrize('key', ['thing_classes', 'stuff_classes', 'class_order', 'increments'])
@pytest.mark.parametrize('kind', [set, frozenset])
def test_sets_have_no_order(key, kind):
    config = scenario().to_dict()
    config[key] = kind(config.get(key) or ['sea'])
    with pytest.raises(TypeError, match=rf'scenario.{key}: expected a list .* which has no order'):
        Scenario.from_config(config)


def test_other_things_without_a_given_order():
    config = scenario().to_dict()
    for names in ({'cat': 0}, (name for name in ['cat']), {'cat': 0}.keys()):
        with pytest.raises(TypeError, match='thing_classes: expected a list of class names'):
            Scenario.from_config({**config, 'thing_classes': names})


def test_same_scenario_from_python_json_and_numpy():
    config = scenario(step=1).to_dict()
    config['class_order'] = list(scenario().order)
    expected = Scenario.from_config(config)
    others = [
        {key: tuple(value) if isinstance(value, list) else value for key, value in config.items()},
        json.loads(json.dumps(config)),
        {
            key: np.array(value) if isinstance(value, list) else value
            for key, value in config.items()
        },
        {**config, 'increments': [np.int64(value) for value in config['increments']]},
        {**config, 'step': np.int32(1)},
        {**config, 'step': '1'},
    ]
    for other in others:
        found = Scenario.from_config(other)
        assert (found, hash(found)) == (expected, hash(expected))
        assert json.dumps(found.to_dict()) == json.dumps(expected.to_dict())


@pytest.mark.parametrize('increments', [[2.0, 2], np.array([2.0, 2.0]), [True, 2]])
def test_increments_that_are_no_integers(increments):
    with pytest.raises(TypeError, match='increments: expected integers, got'):
        scenario(increments=increments)
