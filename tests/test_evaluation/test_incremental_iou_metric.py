"""The metric against mmseg's IoUMetric, against a loop over pixels, and on input that is wrong."""

import math

import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler
from mmengine.evaluator import Evaluator
from mmengine.structures import PixelData
from mmseg.evaluation import IoUMetric
from mmseg.structures import SegDataSample
from several import run_two

from mmcomformer.evaluation import IncrementalIoUMetric
from mmcomformer.evaluation.label_areas import LabelAreas, from_rows
from mmcomformer.registry import METRICS
from mmcomformer.scenario import Scenario

UNLABELLED = 255
# labels: cat 0, dog 1, bus 2, sky 3, sea 4
SCENARIO = Scenario(
    increments=[2, 1, 2],
    thing_classes=(),
    stuff_classes=['cat', 'dog', 'bus', 'sky', 'sea'],
    class_order=['sky', 'dog', 'cat', 'sea', 'bus'],
    step=1,
)
# labels: cat 0, nothing 1, dog 2, bus 3, sky 4, sea 5
WITH_BACKGROUND = Scenario(
    increments=[2, 1, 2],
    thing_classes=(),
    stuff_classes=['cat', 'nothing', 'dog', 'bus', 'sky', 'sea'],
    class_order=['sky', 'dog', 'cat', 'sea', 'bus'],
    background='nothing',
    step=1,
)


def meta(scenario):
    return {'classes': scenario.classes, 'scenario': scenario.to_dict()}


def make_sample(gt, pred, name='a'):
    sample = SegDataSample(metainfo={'img_path': f'images/{name}.jpg'})
    sample.gt_sem_seg = PixelData(data=torch.as_tensor(gt)[None])
    sample.pred_sem_seg = PixelData(data=torch.as_tensor(pred)[None])
    return sample


def random_samples(num_classes, count=5, *, absent=()):
    """Images of different sizes in which about half of the pixels are right."""
    samples = []
    for index in range(count):
        size = (12 + index, 20)
        values = [v for v in (*range(num_classes), UNLABELLED) if v not in absent]
        gt, noise = torch.tensor(values)[torch.randint(len(values), (2, *size))]
        pred = torch.where(torch.rand(size) < 0.5, gt, noise)
        samples.append(make_sample(gt, pred, f'{index}'))
    return samples


def evaluate(metric, scenario, samples):
    evaluator = Evaluator([metric])
    evaluator.dataset_meta = meta(scenario)
    for start in range(0, len(samples), 2):
        evaluator.process(samples[start : start + 2])
    return evaluator.evaluate(len(samples))


def oracle(scenario, samples, unlabelled, *, ignore_unseen=False, num_base=None):
    """The definition, pixel by pixel: percent per class and the means of the groups."""
    background = scenario.background or ('background' if unlabelled == 'background' else None)
    nothing = background if unlabelled == 'background' else None
    names = {**dict(enumerate(scenario.classes)), UNLABELLED: nothing}
    hits, misses, false_alarms = {}, {}, {}
    for sample in samples:
        maps = (sample.gt_sem_seg.data, sample.pred_sem_seg.data)
        for gt, pred in zip(*(values.flatten().tolist() for values in maps), strict=True):
            true, said = names[gt], names[pred]
            hidden = true not in (*scenario.seen_classes, background)
            if true is None or (ignore_unseen and hidden):
                continue
            if true == said:
                hits[true] = hits.get(true, 0) + 1
            else:
                misses[true] = misses.get(true, 0) + 1
                false_alarms[said] = false_alarms.get(said, 0) + 1
    shown = ([background] if background else []) + list(scenario.seen_classes)
    per_class = {}
    for name in shown:
        hit, miss, false = (c.get(name, 0) for c in (hits, misses, false_alarms))
        per_class[name] = {
            'mIoU': 100 * (hit / (hit + miss + false)) if hit + miss + false else None,
            'mAcc': 100 * (hit / (hit + miss)) if hit + miss else None,
        }
    first = num_base or len(scenario.base_classes)
    base, new = list(scenario.seen_classes[:first]), list(scenario.seen_classes[first:])
    groups = {}
    for measure in ('mIoU', 'mAcc'):
        for suffix, extra in (('', shown[: len(shown) - len(base + new)]), ('_foreground', [])):
            if suffix and not background:
                continue
            members = {'base': extra + base, 'new': new, 'all': extra + base + new}
            groups[f'{measure}{suffix}'] = {
                group: average([per_class[name][measure] for name in classes])
                for group, classes in members.items()
            }
    return per_class, groups


def average(values):
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


def test_registered():
    metric = METRICS.build({'type': 'IncrementalIoUMetric', 'unlabelled': 'background'})
    assert isinstance(metric, IncrementalIoUMetric)
    assert metric.unlabelled == 'background'


def test_figures_by_hand():
    metric = IncrementalIoUMetric()
    # sky 3/4 found, and predicted once on dog and once on sea; dog 1/2; cat never occurs
    gt = [[3, 3, 3, 3, 1, 1, 4, 255]]
    pred = [[3, 3, 3, 255, 1, 3, 3, 0]]
    results = evaluate(metric, SCENARIO, [make_sample(gt, pred)])
    assert results == pytest.approx({
        'continual/mIoU': (50.0 + 50.0) / 2,
        'continual/mIoU_base': (50.0 + 50.0) / 2,
        'continual/mAcc': (75.0 + 50.0) / 2,
        'continual/mAcc_base': (75.0 + 50.0) / 2,
    })  # fmt: skip
    assert all(type(value) is float for value in results.values())
    assert list(metric.per_class) == ['sky', 'dog', 'cat']
    assert metric.per_class['cat'] == {'mIoU': None, 'mAcc': None}
    assert metric.groups['mIoU'] == {'base': 50.0, 'new': None, 'all': 50.0}
    assert metric.scenario == SCENARIO


@pytest.mark.parametrize('step', [0, 1, 2])
@pytest.mark.parametrize('ignore_unseen', [False, True])
@pytest.mark.parametrize('unlabelled', ['ignore', 'background'])
@pytest.mark.parametrize('scenario', [SCENARIO, WITH_BACKGROUND], ids=['plain', 'background'])
def test_equals_a_loop_over_pixels(scenario, unlabelled, ignore_unseen, step):
    scenario = scenario.at_step(step)
    # sky occurs nowhere and is predicted nowhere, sea occurs nowhere
    sky, sea = scenario.classes.index('sky'), scenario.classes.index('sea')
    samples = random_samples(scenario.num_classes, absent=[sky, sea])
    samples[0].pred_sem_seg.data[0, 0] = sea
    metric = IncrementalIoUMetric(unlabelled, ignore_unseen=ignore_unseen)
    results = evaluate(metric, scenario, samples)
    per_class, groups = oracle(scenario, samples, unlabelled, ignore_unseen=ignore_unseen)
    assert per_class['sky'] == {'mIoU': None, 'mAcc': None}
    assert list(metric.per_class) == list(per_class)
    assert metric.per_class == per_class
    assert metric.groups == groups
    for name, means in groups.items():
        for group, value in means.items():
            key = f'continual/{name}' if group == 'all' else f'continual/{name}_{group}'
            assert results.get(key) == value


def test_every_option_changes_the_figures():
    values = set()
    for scenario in (SCENARIO, WITH_BACKGROUND):
        samples = random_samples(scenario.num_classes)
        for unlabelled in ('ignore', 'background'):
            for ignore_unseen in (False, True):
                metric = IncrementalIoUMetric(unlabelled, ignore_unseen=ignore_unseen)
                values.add(evaluate(metric, scenario, samples)['continual/mIoU'])
    assert len(values) == 8


def test_background_of_the_dataset_is_never_ignored():
    gt = torch.tensor([[1, 1, 2, 3]])
    pred = torch.tensor([[1, 4, 2, 1]])
    metric = IncrementalIoUMetric(ignore_unseen=True)
    evaluate(metric, WITH_BACKGROUND, [make_sample(gt, pred)])
    # bus (3) is not seen yet: the background predicted on it is no mistake
    assert metric.per_class['nothing'] == {'mIoU': 50.0, 'mAcc': 50.0}
    assert list(metric.per_class) == ['nothing', 'sky', 'dog', 'cat']


def test_joint_training_counts_base_classes_of_the_scenario_it_is_compared_with():
    joint = Scenario([5], (), SCENARIO.classes, class_order=SCENARIO.order)
    samples = random_samples(5)
    metric = IncrementalIoUMetric(num_base=2)
    evaluate(metric, joint, samples)
    last = IncrementalIoUMetric()
    evaluate(last, SCENARIO.at_step(2), samples)
    assert metric.groups == last.groups
    assert metric.groups['mIoU']['new'] is not None


def of_mmseg(samples, classes):
    """Return mmseg's areas (intersection, union, prediction, truth) and its rounded results."""
    metric = IoUMetric()
    metric.dataset_meta = {'classes': classes}
    metric.process(None, [sample.to_dict() for sample in samples])
    totals = [sum(areas) for areas in zip(*metric.results, strict=True)]
    return totals, metric.compute_metrics(metric.results)


@pytest.mark.families
@pytest.mark.parametrize('scenario', [SCENARIO, WITH_BACKGROUND], ids=['plain', 'background'])
def test_equals_mmseg(scenario):
    scenario = scenario.at_step(2)
    # cat occurs nowhere but is predicted, bus neither
    absent = [scenario.classes.index(name) for name in ('cat', 'bus')]
    samples = random_samples(scenario.num_classes, count=9, absent=absent)
    samples[3].pred_sem_seg.data[0, :2] = absent[0]
    totals, rounded = of_mmseg(samples, scenario.classes)
    metric = IncrementalIoUMetric()
    metric.dataset_meta = meta(scenario)
    metric.process(None, [sample.to_dict() for sample in samples])
    areas = LabelAreas.from_counts(from_rows(metric.results), scenario.num_classes)
    # pixel counts far below 2**24: float32 holds them, and sums of them, exactly
    union = areas.pred + areas.gt - areas.intersection
    for ours, theirs in zip((areas.intersection, union, areas.pred, areas.gt), totals, strict=True):
        np.testing.assert_array_equal(ours, theirs.numpy())
    theirs = IoUMetric.total_area_to_metrics(*totals)
    for name, ours in zip(('IoU', 'Acc'), areas.quality(), strict=True):
        np.testing.assert_array_equal(ours.astype(np.float32), theirs[name])
    results = metric.evaluate(len(samples))
    assert {name: f'{results[f"continual/{name}"]:.2f}' for name in ('mIoU', 'mAcc')} == {
        name: f'{rounded[name]:.2f}' for name in ('mIoU', 'mAcc')
    }
    for name, values in metric.per_class.items():
        label = scenario.classes.index(name)
        expected = [float(theirs[key][label]) * 100 for key in ('IoU', 'Acc')]
        ours = [math.nan if value is None else value for value in values.values()]
        assert ours == pytest.approx(expected, rel=1e-6, nan_ok=True)


@pytest.mark.families
def test_equals_mmseg_with_150_classes():
    classes = [f'class {i}' for i in range(150)]
    order = [classes[i] for i in torch.randperm(150)]
    samples = random_samples(150, count=6)
    results = evaluate(IncrementalIoUMetric(), Scenario([150], (), classes, order), samples)
    _, rounded = of_mmseg(samples, classes)
    for name in ('mIoU', 'mAcc'):
        assert f'{results[f"continual/{name}"]:.2f}' == f'{rounded[name]:.2f}'


def test_two_processes_gather_one_result_per_image(monkeypatch):
    samples = random_samples(5)
    alone = evaluate(IncrementalIoUMetric(), SCENARIO, samples)
    # five images on two processes: the second one is padded with an image of the first
    ranks = [samples[0::2], [*samples[1::2], samples[0]]]
    metrics = [IncrementalIoUMetric() for _ in ranks]
    for metric, share in zip(metrics, ranks, strict=True):
        metric.dataset_meta = meta(SCENARIO)
        metric.process(None, [sample.to_dict() for sample in share])

    def collect(results, size, device, **kwargs):
        # as mmengine orders and cuts what the processes send
        pairs = zip(*(metric.results for metric in metrics), strict=True)
        return [result for pair in pairs for result in pair][:size]

    monkeypatch.setattr('mmengine.evaluator.metric.collect_results', collect)
    assert metrics[0].evaluate(len(samples)) == alone


def test_one_result_per_image_of_the_pairs_that_occur():
    metric = IncrementalIoUMetric()
    metric.dataset_meta = meta(SCENARIO)
    samples = [make_sample([[3, 3]], [[3, 1]]), make_sample([[255]], [[0]])]
    metric.process(None, [sample.to_dict() for sample in samples])
    assert [rows.tolist() for rows in metric.results] == [
        [[3, 1, 1], [3, 3, 1]],
        [[255, 0, 1]],
    ]
    assert metric.results[0].dtype == np.int64


@pytest.mark.parametrize(('unlabelled', 'row'), [('ignore', -1), ('background', -1)])
def test_confusion_counts_every_pixel(unlabelled, row):
    metric = IncrementalIoUMetric(unlabelled)
    metric.dataset_meta = meta(SCENARIO)
    samples = [make_sample([[3, 3]], [[3, 1]]), make_sample([[255]], [[0]])]
    metric.process(None, [sample.to_dict() for sample in samples])
    metric.evaluate(2)
    expected = np.zeros((SCENARIO.num_classes + 1,) * 2, int)
    expected[3, 3] = expected[3, 1] = expected[row, 0] = 1
    np.testing.assert_array_equal(metric.confusion, expected)


def test_confusion_with_a_background_of_the_dataset():
    metric = IncrementalIoUMetric('background')
    metric.dataset_meta = meta(WITH_BACKGROUND)
    label = WITH_BACKGROUND.background_label
    metric.process(None, [make_sample([[255, 0]], [[0, 255]]).to_dict()])
    metric.evaluate(1)
    assert label != 0
    assert metric.confusion[label, 0] == metric.confusion[0, label] == 1
    assert metric.confusion.sum() == 2


def test_second_evaluation_starts_afresh():
    metric, samples = IncrementalIoUMetric(), random_samples(5)
    assert evaluate(metric, SCENARIO, samples) == evaluate(metric, SCENARIO, samples)


def process(gt, pred, scenario=SCENARIO, drop=None):
    metric = IncrementalIoUMetric()
    metric.dataset_meta = meta(scenario)
    sample = make_sample(gt, pred).to_dict()
    if drop:
        del sample[drop]
    metric.process(None, [sample])


@pytest.mark.parametrize(
    ('missing', 'advice'),
    [('gt_sem_seg', 'load annotations .* and pack them'), ('pred_sem_seg', 'semantic')],
)
def test_sample_without_map(missing, advice):
    message = rf'IncrementalIoUMetric: image images/a\.jpg: .* no {missing}; .*{advice}'
    with pytest.raises(RuntimeError, match=message):
        process([[0]], [[0]], drop=missing)


@pytest.mark.parametrize(
    ('gt', 'pred', 'message'),
    [
        ([[1, 1]], [[3, 3, 3]], r'prediction has height and width \(1, 3\), .*\(1, 2\)'),
        ([[1, 5]], [[3, 3]], r'the ground truth holds the values \[5\]; .* labels 0 to 4, or 255'),
        ([[1, 1]], [[254, 6]], r'the prediction holds the values \[6, 254\]'),
        ([[1, -1]], [[3, 3]], 'the ground truth holds values from -1 to 1'),
        ([[1, 1]], [[3.0, 3.0]], r'the prediction holds torch\.float32; expected integer'),
    ],
)
def test_maps_that_do_not_fit(gt, pred, message):
    with pytest.raises(ValueError, match=rf'image images/a\.jpg: .*{message}'):
        process(gt, pred)


def test_map_of_another_rank():
    sample = make_sample([[1, 1]], [[3, 3]]).to_dict()
    sample['gt_sem_seg'] = {'data': torch.ones(1, 2, dtype=torch.int64)}
    metric = IncrementalIoUMetric()
    metric.dataset_meta = meta(SCENARIO)
    with pytest.raises(ValueError, match=r'shape \(1, H, W\), got \(1, 2\)'):
        metric.process(None, [sample])


def test_wrong_prediction_on_ignored_pixels_is_still_an_error():
    with pytest.raises(ValueError, match=r'the prediction holds the values \[9\]'):
        process([[255]], [[9]])


def test_unknown_rule():
    with pytest.raises(ValueError, match=r"unlabelled: expected one of .*'ignore'.*got 'void'"):
        IncrementalIoUMetric('void')


def test_extra_background_needs_a_free_name():
    scenario = Scenario([2], (), ['background', 'cat'])
    IncrementalIoUMetric().dataset_meta = meta(scenario)
    metric = IncrementalIoUMetric('background')
    with pytest.raises(ValueError, match=r"set scenario\.background='background'"):
        metric.dataset_meta = meta(scenario)
    metric.dataset_meta = meta(Scenario([1], (), ['background', 'cat'], background='background'))


def test_too_many_classes_for_the_ignored_value():
    scenario = Scenario([256], (), [f'c{i}' for i in range(256)])
    with pytest.raises(ValueError, match='at most 255 classes.*got 256'):
        IncrementalIoUMetric().dataset_meta = meta(scenario)


def test_dataset_without_scenario():
    metric = IncrementalIoUMetric()
    with pytest.raises(RuntimeError, match=r'IncrementalIoUMetric: .*no scenario'):
        metric.dataset_meta = {'classes': SCENARIO.classes}
    with pytest.raises(RuntimeError, match='dataset_meta is not set'):
        metric.process(None, [])


def test_an_odd_number_of_images_in_two_processes(tmp_path):
    torch.manual_seed(0)
    images = random_samples(5, count=5)
    alone = evaluate(IncrementalIoUMetric(), SCENARIO, images)

    def work(rank):
        share = [images[index] for index in DefaultSampler(images, shuffle=False)]
        evaluator = Evaluator([IncrementalIoUMetric()])
        evaluator.dataset_meta = meta(SCENARIO)
        evaluator.process(share)
        return len(share), evaluator.evaluate(len(images))

    assert run_two(work, tmp_path) == [(3, alone), (3, alone)]
