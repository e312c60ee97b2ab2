"""The quality of pseudo-labels that are known, on images whose hidden labels are known."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.registry import DATASETS, init_default_scope
from small_runs import CONFIG, small_options

from mmcomformer.engine.pseudo_label_diagnosis import diagnose
from mmcomformer.engine.request import Request, load_config
from mmcomformer.random_state import random_state
from mmcomformer.tasks import task_named

PANOPTIC = task_named('panoptic')


@pytest.fixture(scope='module')
def dataset(shapes_root):
    """The images of step 1, which teaches 3 classes and hides 6 of an earlier and 3 of a later."""
    cfg = load_config(Request(CONFIG, cfg_options=small_options(shapes_root)), 1)
    init_default_scope('mmdet')
    return DATASETS.build(cfg.train_dataloader.dataset)


class Model:
    """Its pseudo-labels are the hidden labels, as a function changes them."""

    extra_losses = {}
    mask_head = SimpleNamespace(reads_of_teacher=frozenset())

    def __init__(self, scenario, change=lambda segments: segments):
        self.scenario, self.change = scenario, change
        self.seen = []

    def data_preprocessor(self, batch, training):
        self.sample = batch['data_samples'][0]
        inputs = torch.stack([image.float() for image in batch['inputs']])
        # as a batch is padded to a whole number of strides
        return {'inputs': torch.nn.functional.pad(inputs, (0, 5, 0, 3)), 'data_samples': None}

    def teacher(self, inputs, samples, wanted):
        return SimpleNamespace(size=inputs.shape[-2:])

    def pseudo_labeller(self, targets, output):
        [target] = targets
        assert target.covered.shape == output.size
        self.seen.append(target)
        scenario = self.scenario
        truth = PANOPTIC.ground_truth(self.sample, scenario.num_classes)
        hidden = [(m, label) for m, label in truth if not scenario.shows_label(label)]
        segments = self.change(hidden)
        owner = torch.full(output.size, -1)
        for number, (mask, _) in enumerate(segments):
            owner[: mask.shape[0], : mask.shape[1]][torch.from_numpy(mask)] = number
        labels = [scenario.label_to_learning[label] for _, label in segments]
        valid = torch.ones(len(segments), dtype=torch.bool)
        return [target.with_pseudo_labels(owner, torch.tensor(labels, dtype=torch.int64), valid)]


def is_old(label, scenario):
    return label in scenario.seen_labels - scenario.current_labels


def of_old(scenario):
    return lambda segments: [pair for pair in segments if is_old(pair[1], scenario)]


def known(quality, measure):
    return {
        name: values[measure]
        for name, values in quality.per_class.items()
        if values[measure] is not None
    }


def test_perfect(dataset):
    scenario = dataset.scenario
    quality = diagnose(dataset, Model(scenario, of_old(scenario)), PANOPTIC)
    assert list(quality.per_class) == list(scenario.old_classes)
    assert quality.images == len(dataset)
    for measure in ('precision', 'recall', 'PQ'):
        assert set(known(quality, measure).values()) == {100.0}
        assert len(known(quality, measure)) >= 5


def test_none(dataset):
    quality = diagnose(dataset, Model(dataset.scenario, lambda segments: []), PANOPTIC)
    assert known(quality, 'precision') == {}
    assert set(known(quality, 'recall').values()) == {0.0}
    assert set(known(quality, 'PQ').values()) == {0.0}


def test_all_that_is_hidden_as_one_class(dataset):
    """Classes that are not taught yet are wrong to label, as those of other earlier steps are."""
    scenario = dataset.scenario
    label = scenario.classes.index(scenario.old_classes[0])
    model = Model(scenario, lambda segments: [(mask, label) for mask, _ in segments])
    quality = diagnose(dataset, model, PANOPTIC)
    # what the labeller is given is what the step shows, in learning order
    assert len(model.seen) == len(dataset)
    assert {label for target in model.seen for label in target.labels.tolist()} == {6, 7, 8}
    assert known(quality, 'recall')[scenario.old_classes[0]] == 100.0
    assert list(known(quality, 'precision')) == [scenario.old_classes[0]]
    [precision] = known(quality, 'precision').values()
    assert 0 < precision < 60


def test_later_classes_count_as_wrong(dataset):
    scenario = dataset.scenario
    label = scenario.classes.index(scenario.old_classes[0])

    def with_later(segments):
        return [(m, found if is_old(found, scenario) else label) for m, found in segments]

    quality = diagnose(dataset, Model(scenario, with_later), PANOPTIC)
    precision = known(quality, 'precision')
    assert precision[scenario.old_classes[0]] < 100
    assert {precision[name] for name in precision if name != scenario.old_classes[0]} == {100.0}
    assert set(known(quality, 'recall').values()) == {100.0}


def test_half_of_each_segment(dataset):
    scenario = dataset.scenario

    def halve(segments):
        halves = []
        for mask, label in of_old(scenario)(segments):
            rows, columns = np.nonzero(mask)
            half = np.zeros_like(mask)
            half[rows[::2], columns[::2]] = True
            halves.append((half, label))
        return halves

    quality = diagnose(dataset, Model(scenario, halve), PANOPTIC)
    assert set(known(quality, 'precision').values()) == {100.0}
    for recall in known(quality, 'recall').values():
        assert recall == pytest.approx(50, abs=2)


def test_some_images_evenly(dataset):
    model = Model(dataset.scenario)
    quality = diagnose(dataset, model, PANOPTIC, most=3)
    assert quality.images == 3
    assert len(quality.pictures) == 3
    names = [picture.name for picture in quality.pictures]
    count = len(dataset)
    expected = {dataset.get_data_info(i * count // 3)['img_path'].split('/')[-1] for i in range(3)}
    assert {name.split('/')[-1] for name in names} == expected
    for picture in quality.pictures:
        assert set(picture.maps) == {'shown', 'pseudo', 'hidden'}
        hidden = set(np.unique(picture.maps['hidden'] % 1000)[:-1].tolist())
        assert all(is_old(label, dataset.scenario) for label in hidden)


def test_random_numbers_of_the_training_stay(dataset):
    before = random_state()
    first = diagnose(dataset, Model(dataset.scenario), PANOPTIC, most=2)
    after = random_state()
    assert before['python'].keys() == after['python'].keys()
    assert torch.equal(before['torch'], after['torch'])
    assert torch.equal(before['python']['numbers'], after['python']['numbers'])
    assert (before['numpy']['key'] == after['numpy']['key']).all()
    again = diagnose(dataset, Model(dataset.scenario), PANOPTIC, most=2)
    assert [p.jpeg for p in first.pictures] == [p.jpeg for p in again.pictures]


def test_crowds_stay_hidden(dataset, monkeypatch):
    images = dataset.load_data_list()
    for info in images:
        info['segments'][0]['iscrowd'] = 1
    monkeypatch.setattr(dataset, 'load_data_list', lambda: images)
    for info in dataset.in_full([0, 2]):
        visible = [segment['visible'] for segment in info['segments']]
        assert visible == [False] + [True] * (len(visible) - 1)
