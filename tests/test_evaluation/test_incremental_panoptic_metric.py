"""The metric end to end, with things and stuff mixed in the learning order."""

import builtins

import cv2
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.dataset import DefaultSampler
from mmengine.evaluator import Evaluator
from mmengine.structures import PixelData
from PIL import Image
from several import run_two

from mmcomformer.evaluation import IncrementalPanopticMetric
from mmcomformer.registry import METRICS
from mmcomformer.scenario import Scenario

# labels: cat 0, dog 1, bus 2, sky 3, sea 4; VOID 5
SCENARIO = Scenario(
    increments=[2, 1, 2],
    thing_classes=['cat', 'dog', 'bus'],
    stuff_classes=['sky', 'sea'],
    class_order=['sky', 'dog', 'cat', 'sea', 'bus'],
    step=1,
)
VOID = 5
META = {'classes': SCENARIO.classes, 'scenario': SCENARIO.to_dict()}


def make_sample(gt, segments, pred):
    """One image of one row; ``segments`` are (label, iscrowd)."""
    sample = DetDataSample(metainfo={'img_path': 'images/a.jpg'})
    sample.gt_panoptic_seg = PixelData(sem_seg=torch.tensor([[gt]], dtype=torch.int32))
    sample.pred_panoptic_seg = PixelData(sem_seg=torch.tensor([[pred]], dtype=torch.int32))
    sample.set_metainfo(
        {
            'segments': [
                {'id': 100 + k, 'label': label, 'iscrowd': crowd}
                for k, (label, crowd) in enumerate(segments)
            ]
        }
    )
    return sample


def samples():
    """Two images: sky found, dog found at IoU 3/4, cat missed, sea predicted as sky."""
    first = make_sample(
        [1, 1, 1, 2, 2, 2, 2, 0],
        [(3, 0), (1, 0)],
        [3, 3, 3, 1001, 1001, 1001, VOID, 1001],
    )
    second = make_sample(
        [1, 1, 1, 1, 2, 2, 3, 3],
        [(0, 0), (4, 0), (4, 1)],
        [2000, 2000, VOID, VOID, 3, 3, VOID, VOID],
    )
    return [first, second]


def evaluate(metric, meta=None, data_samples=None):
    evaluator = Evaluator([metric])
    evaluator.dataset_meta = meta or META
    data_samples = data_samples or samples()
    for sample in data_samples:
        evaluator.process([sample])
    return evaluator.evaluate(len(data_samples))


def test_registered():
    metric = METRICS.build({'type': 'IncrementalPanopticMetric', 'ignore_unseen': True})
    assert metric.ignore_unseen is True


def test_figures_by_hand():
    metric = IncrementalPanopticMetric()
    results = evaluate(metric)
    # sky: IoU 1, and one FP on sea's pixels -> PQ 1 / 1.5; dog: 3 / 4; cat: FP and FN
    sky, dog, cat = 100 / 1.5, 75.0, 0.0
    expected = {
        'continual/PQ': (sky + dog + cat) / 3,
        'continual/PQ_base': (sky + dog) / 2,
        'continual/PQ_new': cat,
        'continual/SQ': (100 + 75) / 3,
        'continual/SQ_base': 87.5,
        'continual/SQ_new': 0.0,
        'continual/RQ': (100 / 1.5 + 100) / 3,
        'continual/RQ_base': (100 / 1.5 + 100) / 2,
        'continual/RQ_new': 0.0,
    }
    assert results == pytest.approx(expected)
    assert all(type(value) is float for value in results.values())
    assert list(metric.per_class) == ['sky', 'dog', 'cat']
    assert metric.per_class['dog'] == pytest.approx({'PQ': 75.0, 'SQ': 75.0, 'RQ': 100.0})
    assert metric.groups['PQ'] == pytest.approx(
        {'base': (sky + dog) / 2, 'new': cat, 'all': (sky + dog + cat) / 3}
    )


def test_ignore_unseen_makes_unseen_pixels_void():
    metric = IncrementalPanopticMetric(ignore_unseen=True)
    evaluate(metric)
    assert metric.per_class['sky'] == pytest.approx({'PQ': 100.0, 'SQ': 100.0, 'RQ': 100.0})
    assert metric.per_class['cat']['PQ'] == 0.0


def test_step_decides_which_classes_count():
    last = {**META, 'scenario': SCENARIO.at_step(2).to_dict()}
    metric = IncrementalPanopticMetric()
    evaluate(metric, last)
    # sea is missed now; bus occurs nowhere and leaves the mean
    assert metric.per_class['sea']['PQ'] == 0.0
    assert metric.per_class['bus'] == {'PQ': None, 'SQ': None, 'RQ': None}
    assert metric.groups['PQ']['new'] == 0.0
    assert metric.groups['PQ']['all'] == pytest.approx((100 / 1.5 + 75) / 4)


def test_groups_without_classes_are_left_out():
    first = {**META, 'scenario': SCENARIO.at_step(0).to_dict()}
    metric = IncrementalPanopticMetric(prefix='val')
    assert set(evaluate(metric, first)) == {
        f'val/{name}{group}' for name in ('PQ', 'SQ', 'RQ') for group in ('', '_base')
    }
    assert metric.groups['PQ']['new'] is None


def test_second_evaluation_starts_afresh():
    metric = IncrementalPanopticMetric()
    assert evaluate(metric) == evaluate(metric)


def test_one_result_per_image():
    # needed for dropping the padding of several processes
    metric = IncrementalPanopticMetric()
    metric.dataset_meta = META
    metric.process(None, [sample.to_dict() for sample in samples()])
    pixels = [sample.gt_panoptic_seg.sem_seg.numel() for sample in samples()]
    assert [overlaps.areas.sum() for overlaps in metric.results] == pixels


def test_results_of_two_processes(tmp_path):
    """The padding that gives both processes as many images counts no image twice."""
    first, second = samples()
    images = [first, second, second, first, second]
    alone = evaluate(IncrementalPanopticMetric(), data_samples=images)

    def work(rank):
        share = [images[index] for index in DefaultSampler(images, shuffle=False)]
        evaluator = Evaluator([IncrementalPanopticMetric()])
        evaluator.dataset_meta = META
        for sample in share:
            evaluator.process([sample])
        return len(share), evaluator.evaluate(len(images))

    assert run_two(work, tmp_path) == [(3, alone), (3, alone)]


def test_no_file_is_read_or_written(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError(f'a file: {args}')

    files = ((builtins, 'open'), (Image, 'open'), (Image.Image, 'save'))
    for owner, name in (*files, (cv2, 'imread'), (cv2, 'imwrite')):
        monkeypatch.setattr(owner, name, refuse)
    assert evaluate(IncrementalPanopticMetric())['continual/PQ'] > 0


def test_inputs_are_not_changed():
    data_samples = samples()
    before = data_samples[1].gt_panoptic_seg.sem_seg.clone()
    evaluate(IncrementalPanopticMetric(ignore_unseen=True), data_samples=data_samples)
    assert torch.equal(data_samples[1].gt_panoptic_seg.sem_seg, before)


@pytest.mark.parametrize('missing', ['gt_panoptic_seg', 'segments'])
def test_sample_without_ground_truth(missing):
    sample = samples()[0].to_dict()
    del sample[missing]
    metric = IncrementalPanopticMetric()
    metric.dataset_meta = META
    with pytest.raises(RuntimeError, match=r'images/a\.jpg: .*LoadPanopticIdMap'):
        metric.process(None, [sample])


def test_sample_without_prediction():
    sample = samples()[0].to_dict()
    del sample['pred_panoptic_seg']
    metric = IncrementalPanopticMetric()
    metric.dataset_meta = META
    with pytest.raises(RuntimeError, match=r'images/a\.jpg: .*panoptic_on=True'):
        metric.process(None, [sample])


@pytest.mark.parametrize(
    ('gt', 'pred', 'message'),
    [
        ([1, 1], [3, 3, 3], r'prediction has height and width \(1, 3\), .*\(1, 2\)'),
        ([1, 2], [3, 3], r'gt_ids: expected ids from 0 \(VOID\) to 1'),
        ([1, 1], [6, 6], r'pred_labels: expected labels from -1 to 4, got \[6\]'),
    ],
)
def test_maps_that_do_not_fit(gt, pred, message):
    metric = IncrementalPanopticMetric()
    metric.dataset_meta = META
    with pytest.raises(ValueError, match=rf'images/a\.jpg: .*{message}'):
        metric.process(None, [make_sample(gt, [(3, 0)], pred).to_dict()])


def test_map_of_another_rank():
    sample = samples()[0].to_dict()
    sample['pred_panoptic_seg'] = {'sem_seg': torch.zeros(1, 8, dtype=torch.int32)}
    metric = IncrementalPanopticMetric()
    metric.dataset_meta = META
    with pytest.raises(ValueError, match=r'expected an id map of shape \(1, H, W\), got \(1, 8\)'):
        metric.process(None, [sample])


def test_dataset_without_scenario():
    metric = IncrementalPanopticMetric()
    with pytest.raises(RuntimeError, match=r'no scenario .*wrap it in IncrementalDataset'):
        metric.dataset_meta = {'classes': SCENARIO.classes}


def test_dataset_with_other_classes():
    metric = IncrementalPanopticMetric()
    with pytest.raises(ValueError, match='expected the same names in the same order'):
        metric.dataset_meta = {**META, 'classes': SCENARIO.order}


def test_too_many_classes_for_the_encoding():
    scenario = Scenario([1000], [f'c{i}' for i in range(1000)], [])
    metric = IncrementalPanopticMetric()
    with pytest.raises(ValueError, match='fewer than 1000 classes, got 1000'):
        metric.dataset_meta = {'classes': scenario.classes, 'scenario': scenario.to_dict()}


def test_metainfo_is_needed_before_processing():
    with pytest.raises(RuntimeError, match='dataset_meta is not set'):
        IncrementalPanopticMetric().process(None, [samples()[0].to_dict()])
