"""What a run leaves for its page, and that the page never costs the run."""

import json
import logging
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import PixelData
from report_runs import make_run
from several import run_two
from small_runs import CONFIG, hash_of
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mmcomformer.engine import driver
from mmcomformer.engine.checkpoint import previous_checkpoint, read_checkpoint
from mmcomformer.engine.hooks import ReportHook, SummaryHook
from mmcomformer.engine.request import Request
from mmcomformer.evaluation.incremental_panoptic_metric import IncrementalPanopticMetric
from mmcomformer.report.collected import read_evaluation, read_pseudo_labels
from mmcomformer.report.picture_pool import PicturePool
from mmcomformer.scenario import Scenario

SCENARIO = Scenario([1, 1], ['cat', 'dog'], [])


class TestWhatARunLeaves:
    pytestmark = pytest.mark.families

    def test_page(self, finished_run):
        text = (finished_run[0] / 'report.html').read_text()
        assert 'Steps without results' not in text
        assert 'not kept' not in text
        for step in range(3):
            assert f'after step {step}' in text
        for section in ('classes', 'confusion', 'pictures', 'pseudo-labels'):
            assert f'<h2 id="{section}">' in text

    def test_evaluations(self, finished_run):
        summary = json.loads((finished_run[0] / 'summary.json').read_text())
        names = []
        for entry in summary['steps']:
            found = read_evaluation(finished_run[0] / f'step{entry["step"]}')
            assert found.per_class == entry['per_class']
            # 8 images of 64 x 64
            assert found.confusion.sum() == 8 * 64 * 64
            assert found.confusion.shape == (13, 13)
            assert list(found.segments) == list(entry['per_class'])
            names.append([picture.name for picture in found.pictures])
            for picture in found.pictures:
                assert picture.maps['truth'].shape == (64, 64)
        assert names[0] == names[1] == names[2]
        assert len(names[0]) == 8

    def test_segments_are_those_of_the_metric(self, finished_run):
        """RQ and PQ follow from them."""
        for step in range(3):
            found = read_evaluation(finished_run[0] / f'step{step}')
            for name, counts in found.segments.items():
                matched, missed, wrong = counts['matched'], counts['missed'], counts['wrong']
                support = matched + 0.5 * (missed + wrong)
                rq = found.per_class[name]['RQ']
                assert rq == (pytest.approx(100 * matched / support) if support else None)

    def test_pseudo_labels(self, finished_run):
        assert not (finished_run[0] / 'step0' / 'pseudo_labels.npz').exists()
        for step, count in ((1, 6), (2, 9)):
            quality = read_pseudo_labels(finished_run[0] / f'step{step}')
            assert len(quality.per_class) == count
            assert quality.images > 10
            assert len(quality.pictures) == 4

    def test_machine(self, finished_run):
        summary = json.loads((finished_run[0] / 'summary.json').read_text())
        for entry in summary['steps']:
            assert entry['trainable_parameters'] == entry['parameters'] > 100_000
            assert entry['machine']['peak_memory_mb'] > 100

    def test_the_training_is_the_same_without_it(self, finished_run, tmp_path):
        work_dir, _, options = finished_run
        teacher = str(previous_checkpoint(work_dir / 'step0'))
        request = Request(CONFIG, step=1, teacher=teacher, work_dir=str(tmp_path / 'run'))
        assert options['default_hooks.report.enabled'] is False
        driver.run(Request(**{**vars(request), 'cfg_options': options}))
        weights = [
            hash_of(read_checkpoint(previous_checkpoint(folder / 'step1'))['state_dict'])
            for folder in (work_dir, tmp_path / 'run')
        ]
        assert weights[0] == weights[1]
        assert not (tmp_path / 'run' / 'report.html').exists()


def sample(name, truth, prediction):
    found = DetDataSample(metainfo={'img_path': name})
    found.set_metainfo({'segments': [{'label': 0, 'iscrowd': 0}, {'label': 1, 'iscrowd': 0}]})
    found.gt_panoptic_seg = PixelData(sem_seg=torch.tensor([truth]))
    found.pred_panoptic_seg = PixelData(sem_seg=torch.tensor([prediction]))
    return found


SAMPLES = [
    ([[0, 1], [2, 2]], [[2, 0], [1, 1]]),
    ([[1, 1], [1, 1]], [[0, 0], [2, 2]]),
    ([[0, 2], [0, 2]], [[1, 1], [1, 1]]),
]


@pytest.fixture
def images(tmp_path):
    """Names of images that can be read."""
    from PIL import Image

    paths = [tmp_path / 'val' / f'{index}.png' for index in range(len(SAMPLES))]
    paths[0].parent.mkdir()
    for path in paths:
        Image.new('RGB', (2, 2), (9, 9, 9)).save(path)
    return [str(path) for path in paths]


class Summaries(SummaryHook):
    def finished_training(self, runner):
        return {'seconds': 1.0}


def make_runner(work_dir, *, summaries=True):
    """What the hook reads of a runner that has evaluated."""
    metric = IncrementalPanopticMetric()
    metric.dataset_meta = {'classes': SCENARIO.classes, 'scenario': SCENARIO.to_dict()}
    metainfo = {'classes': SCENARIO.classes, 'palette': [(1, 2, 3), (40, 50, 60)]}
    return SimpleNamespace(
        cfg=SimpleNamespace(model={'panoptic_head': {}}),
        hooks=[Summaries('ours')] if summaries else [],
        work_dir=str(work_dir / 'step0'),
        val_evaluator=SimpleNamespace(metrics=[metric]),
        val_dataloader=SimpleNamespace(dataset=SimpleNamespace(metainfo=metainfo)),
        logger=logging.getLogger('test'),
    )


def evaluate(runner, images, indices):
    """Let hook and metric see some of the samples."""
    hook, [metric] = ReportHook(), runner.val_evaluator.metrics
    hook.before_val_epoch(runner)
    for index in indices:
        outputs = [sample(images[index], *SAMPLES[index])]
        metric.process(None, [found.to_dict() for found in outputs])
        hook.after_val_iter(runner, index, None, outputs)
    metric.evaluate(len(SAMPLES))
    hook.after_val_epoch(runner)
    return hook


def test_one_process(tmp_path, images):
    evaluate(make_runner(tmp_path), images, [0, 1, 2])
    found = read_evaluation(tmp_path / 'step0')
    # ground truth: cat, dog, nothing
    assert found.confusion.tolist() == [[3, 0, 2], [0, 4, 0], [0, 2, 1]]
    assert [p.name for p in found.pictures] == ['val/0.png', 'val/1.png', 'val/2.png']
    picture = found.pictures[0]
    assert picture.maps['truth'].tolist() == [[-1, 1000], [2001, 2001]]
    assert picture.maps['prediction'].tolist() == [[-1, 0], [1, 1]]


def test_two_processes_leave_the_same(tmp_path, images):
    evaluate(make_runner(tmp_path / 'one'), images, [0, 1, 2])
    (tmp_path / 'meeting').mkdir()

    def work(rank):
        # as the sampler gives them; the last one is a repetition that fills up
        evaluate(make_runner(tmp_path / 'two'), images, [[0, 2], [1, 0]][rank])

    assert run_two(work, tmp_path / 'meeting') == [None, None]
    one, two = (read_evaluation(tmp_path / name / 'step0') for name in ('one', 'two'))
    np.testing.assert_array_equal(one.confusion, two.confusion)
    assert (one.per_class, one.segments) == (two.per_class, two.segments)
    assert [p.name for p in one.pictures] == [p.name for p in two.pictures]


def test_switched_off(tmp_path, images):
    hook, runner = ReportHook(enabled=False), make_runner(tmp_path)
    hook.before_val_epoch(runner)
    hook.after_val_iter(runner, 0, None, [sample(images[0], *SAMPLES[0])])
    hook.after_val_epoch(runner)
    hook.after_val(runner)
    assert not (tmp_path / 'step0').exists()


def test_an_evaluation_in_the_middle_leaves_nothing(tmp_path, images, monkeypatch):
    monkeypatch.setattr(Summaries, 'finished_training', lambda self, runner: None)
    evaluate(make_runner(tmp_path), images, [0, 1, 2])
    assert not (tmp_path / 'step0').exists()


def test_without_a_summary_nothing_is_collected(tmp_path, images):
    evaluate(make_runner(tmp_path, summaries=False), images, [0, 1, 2])
    assert not (tmp_path / 'step0').exists()


def test_pictures_that_cannot_be_read_cost_one_warning(tmp_path, images, caplog):
    evaluate(make_runner(tmp_path), [f'{path}.gone' for path in images], [0, 1, 2])
    [record] = caplog.records
    assert record.levelname == 'WARNING'
    assert record.message.startswith('pictures were not kept: FileNotFoundError: ')
    found = read_evaluation(tmp_path / 'step0')
    assert found.pictures == []
    assert found.confusion.sum() == 12


@pytest.mark.parametrize(
    ('broken', 'message'),
    [
        ('write_evaluation', 'the evaluation was not kept: OSError: disk full. The run goes on'),
        ('_write_page', 'the page of the run was not written: OSError: disk full. The run goes on'),
    ],
)
def test_what_cannot_be_written_costs_a_warning(
    tmp_path, images, caplog, monkeypatch, broken, message
):
    def fail(*args):
        raise OSError('disk full')

    for name in ('_write_page', '_show_pictures'):
        monkeypatch.setattr(f'mmcomformer.engine.hooks.report_hook.{name}', lambda runner: None)
    monkeypatch.setattr(f'mmcomformer.engine.hooks.report_hook.{broken}', fail)
    runner = make_runner(tmp_path)
    evaluate(runner, images, [0, 1, 2]).after_val(runner)
    assert [record.message for record in caplog.records] == [message]


def test_trackers_are_shown_the_classes_and_the_pictures(finished_run):
    """Once per step, at the iteration of the whole run at which the step ended."""
    work_dir = finished_run[0]
    summary = json.loads((work_dir / 'summary.json').read_text())
    ended = 0
    for entry in summary['steps']:
        ended += entry['train_iters']
        [file] = work_dir.glob(f'step{entry["step"]}/*/vis_data/events.out.tfevents.*')
        events = EventAccumulator(str(file))
        events.Reload()
        images = {name: events.Images(name) for name in events.Tags()['images']}
        assert {name: [image.step for image in shown] for name, shown in images.items()} == {
            'class_by_step': [ended],
            'predictions': [ended],
        }
        # image, ground truth, and the predictions after the last two steps
        panels = 2 + min(entry['step'] + 1, 2)
        width = images['predictions'][0].width
        assert (width - 10) // panels - 10 == 256


def test_trackers_that_fail_cost_a_warning(tmp_path, images, caplog, monkeypatch):
    make_run(tmp_path)

    def fail(name, picture, step):
        raise OSError(f'{name}: the server does not answer')

    monkeypatch.setattr('mmcomformer.engine.hooks.report_hook._write_page', lambda runner: None)
    runner = make_runner(tmp_path)
    runner.iter, runner.visualizer = 40, SimpleNamespace(add_image=fail)
    with caplog.at_level(logging.INFO):
        evaluate(runner, images, [0, 1, 2]).after_val(runner)
    warning, told = [record.message for record in caplog.records]
    assert warning == (
        'trackers were not given pictures: OSError: class_by_step: the server does not answer. '
        'The run goes on'
    )
    assert re.fullmatch(
        r'the page of the run took \d+\.\d s \(pictures .+, evaluation .+, page .+, trackers .+\)',
        told,
    )


def test_page_without_summary_costs_a_warning(tmp_path, images, caplog):
    runner = make_runner(tmp_path)
    evaluate(runner, images, [0]).after_val(runner)
    [record] = caplog.records
    assert 'the page of the run was not written: FileNotFoundError' in record.message


def test_pseudo_labels_that_cannot_be_diagnosed_cost_a_warning(tmp_path, caplog):
    runner = make_runner(tmp_path)
    runner.iter = 0
    runner.model = torch.nn.Module()
    runner.model.pseudo_labeller = object()
    runner.train_dataloader = SimpleNamespace(dataset=[1, 2])
    ReportHook().before_train(runner)
    [record] = caplog.records
    assert (
        'pseudo-labels were not diagnosed: ValueError: the training data has no' in record.message
    )
    assert runner.model.training
    caplog.clear()
    ReportHook(pseudo_label_images=0).before_train(runner)
    runner.iter = 3
    ReportHook().before_train(runner)
    assert caplog.records == []


def test_negative_number():
    with pytest.raises(
        ValueError, match=r'ReportHook.pseudo_label_images: expected 0 or more, got -1'
    ):
        ReportHook(pseudo_label_images=-1)


def test_pools_can_be_sent_between_processes(images):
    import pickle

    pool = PicturePool(2)
    assert pickle.loads(pickle.dumps(pool)).pictures() == []
