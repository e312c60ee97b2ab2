"""What depends on the task, and how little a new one needs."""

from types import SimpleNamespace

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import METRICS
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample

from mmcomformer.datasets.incremental_dataset import SOURCES
from mmcomformer.engine.hooks import SummaryHook
from mmcomformer.engine.request import Request, load_config
from mmcomformer.engine.scenario_config import default_scope_of
from mmcomformer.evaluation.seen_class_metric import SeenClassMetric
from mmcomformer.evaluation.summary import merge_step, new_summary
from mmcomformer.evaluation.summary_tables import format_summary
from mmcomformer.scenario import Scenario
from mmcomformer.tasks import TASKS, DetectorTask, register_task, task_named, task_of

DETECTOR = {'panoptic_head': {}, 'panoptic_fusion_head': {}}


class KeypointTask(DetectorTask):
    """Another task, as somebody else would write it."""

    name, measures, metric = 'keypoint', ('OKS', 'OKS50'), 'ToyKeypointMetric'
    test_key = 'keypoint_on'

    def segment_map(self, sample):
        return sample.pred_instances.painted


class ToyKeypointMetric(SeenClassMetric):
    measures = KeypointTask.measures

    def process(self, data_batch, data_samples):
        self.results.extend(data_samples)

    def compute_metrics(self, results):
        return self._report({'cat': {'OKS': 30.0, 'OKS50': 50.0}})


@pytest.fixture
def keypoint():
    """The task of one's own, registered for one test."""
    register_task(KeypointTask())
    yield TASKS['keypoint']
    del TASKS['keypoint']


@pytest.mark.parametrize('name', ['panoptic', 'semantic', 'instance'])
def test_each_task_has_a_metric_and_a_source(name):
    task = task_named(name)
    assert METRICS.get(task.metric).measures == task.measures
    assert [source.task for source in SOURCES].count(name) == 1


def test_a_new_task_in_summary_and_table(keypoint):
    scenario = Scenario([1], ['cat'], [])
    run = new_summary(scenario, config='toy', method='ours', task='keypoint')
    values = {'base': 30.0, 'new': None, 'all': 30.0}
    entry = {
        'step': 0,
        'classes': ['cat'],
        'train_images': 8,
        'train_iters': 10,
        'seconds': 60.0,
        'metrics': {'OKS': values, 'OKS50': {**values, 'all': 50.0}},
        'per_class': {'cat': {'OKS': 30.0, 'OKS50': 50.0}},
    }
    summary = merge_step(run, entry)
    assert list(summary['final']) == ['OKS']
    lines = format_summary(summary).splitlines()
    assert [cell.strip() for cell in lines[1].split('|')[6:10]] == [
        *('OKS base', 'OKS new', 'OKS all', 'OKS50 all'),
    ]
    assert lines[-1].startswith('OKS avg over steps: 30.00')
    with pytest.raises(ValueError, match=r'metrics.OKS: expected an object'):
        merge_step(run, {**entry, 'metrics': {'PQ': values}})


class _Runner:
    """What the hook reads of a runner when it looks for the metric."""

    def __init__(self, *metrics):
        self.val_evaluator = Config({})
        self.val_evaluator.metrics = metrics


def test_a_new_task_finds_its_metric(keypoint):
    metric = ToyKeypointMetric()
    hook = SummaryHook('ours', task='keypoint')
    assert hook._find_metric(_Runner(metric)) is metric
    with pytest.raises(ValueError, match=r"task 'keypoint' needs .*'OKS50'.*ToyKeypointMetric"):
        hook._find_metric(_Runner(METRICS.build({'type': 'IncrementalIoUMetric'})))


def test_tasks_that_share_a_head_are_told_apart_by_what_the_model_is_asked_for(keypoint):
    assert task_of({**DETECTOR, 'test_cfg': {'keypoint_on': True}}) is keypoint
    both = {'panoptic_on': True, 'keypoint_on': False}
    assert task_of({**DETECTOR, 'test_cfg': both}).name == 'panoptic'
    assert task_of({**DETECTOR, 'test_cfg': {}}).name == 'panoptic'
    for test_cfg in ({'panoptic_on': False}, {'panoptic_on': True, 'keypoint_on': True}):
        with pytest.raises(ValueError, match=r'model.test_cfg: panoptic_head .*exactly one of'):
            task_of({**DETECTOR, 'test_cfg': test_cfg})


def test_head_and_library():
    assert task_of(DETECTOR).name == 'panoptic'
    assert task_of({'decode_head': {}}).name == 'semantic'
    assert default_scope_of(Config({'model': {'decode_head': {}}})) == 'mmseg'
    assert default_scope_of(Config({'model': DETECTOR})) == 'mmdet'
    assert default_scope_of(Config({'default_scope': 'mine', 'model': {}})) == 'mine'


@pytest.mark.parametrize('model', [None, {}, {'type': 'RetinaNet', 'bbox_head': {}}])
def test_model_of_no_task(model):
    with pytest.raises(ValueError, match=r"^model: it has none of the heads 'panoptic_head' \(pan"):
        task_of(model)


def test_config_of_no_task(tmp_path):
    config = tmp_path / 'retina.py'
    config.write_text(
        "scenario = dict(increments=[1], thing_classes=['cat'], stuff_classes=[], step=0)\n"
        "model = dict(type='RetinaNet', bbox_head=dict())\n"
    )
    with pytest.raises(ValueError, match=r"model: it has none .* only the keys \['bbox_head'"):
        load_config(Request(config=str(config)), 0)


def test_unknown_and_repeated_name():
    with pytest.raises(
        ValueError, match=r"task: expected one of \['instance', 'panoptic', 'semantic'\]"
    ):
        task_named('depth')
    with pytest.raises(ValueError, match=r"task 'panoptic': there is one of that name"):
        register_task(TASKS['panoptic'])


def test_ground_truth_of_an_evaluation():
    """Segments with a number each, crowds left out; labels as they are."""
    segments = [{'label': 4, 'iscrowd': 0}, {'label': 2, 'iscrowd': 1}, {'label': 4, 'iscrowd': 0}]
    sample = DetDataSample(metainfo={'segments': segments})
    sample.gt_panoptic_seg = PixelData(sem_seg=torch.tensor([[[0, 1], [2, 3]]]))
    found = task_named('panoptic').truth_map(sample, 5)
    assert found.tolist() == [[[5, 1004], [5, 3004]]]
    labels = SegDataSample()
    labels.gt_sem_seg = PixelData(data=torch.tensor([[[0, 255]]]))
    assert task_named('semantic').truth_map(labels, 5).tolist() == [[[0, 255]]]


def test_ground_truth_of_instances():
    whole = {'size': [2, 2], 'counts': [0, 4]}
    pixel = {'size': [2, 2], 'counts': [2, 1, 1]}
    polygon = [[0, 0, 1, 0, 1, 1, 0, 1]]
    segments = [
        {'label': 3, 'iscrowd': 0, 'segmentation': pixel},
        {'label': 1, 'iscrowd': 0, 'segmentation': whole},
        {'label': 2, 'iscrowd': 1, 'segmentation': whole},
    ]
    task = task_named('instance')
    sample = DetDataSample(metainfo={'segments': segments, 'ori_shape': (2, 2)})
    # the smaller one lies on top
    assert task.truth_map(sample, 5).tolist() == [[[1001, 2003], [1001, 1001]]]
    sample.set_metainfo({'segments': [{'label': 4, 'iscrowd': 0, 'segmentation': polygon}]})
    assert task.truth_map(sample, 5).tolist() == [[[1004, 999], [999, 999]]]
    # outlines without a pixel, which pycocotools does not read
    for nothing in ([[0, 0, 1, 1]], [[]], []):
        sample.set_metainfo({'segments': [{'label': 4, 'iscrowd': 0, 'segmentation': nothing}]})
        assert (task.truth_map(sample, 5) == 999).all()


def test_instances_that_are_shown():
    found = InstanceData(
        scores=torch.tensor([0.6, 0.9, 0.1]),
        labels=torch.tensor([2, 0, 1]),
        masks=torch.tensor([[[1, 1, 0, 0]], [[0, 1, 1, 0]], [[0, 0, 0, 1]]]).bool(),
    )
    sample = SimpleNamespace(pred_instances=found)
    task = TASKS['instance']
    shown = task.instances(sample, task.score_thr)
    values = task.segment_map(sample)[0, 0].tolist()
    # the better one covers; the third is not shown
    assert [values[0], values[1], values[2]] == [2002, 3000, 3000]
    assert values[3] == 999
    assert shown.scores.tolist() == pytest.approx([0.6, 0.9])
    assert shown.labels.tolist() == [2, 0]
    assert torch.equal(shown.masks, found.masks[:2])
