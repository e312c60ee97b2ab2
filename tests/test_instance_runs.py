"""Instance segmentation end to end: two steps of Shapes, small, in this process."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import runs
import torch
from mmdet.apis import DetInferencer, inference_detector, init_detector
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from small_runs import hash_of, small_options, with_bias_of_no_object

from mmcomformer.apis import predict
from mmcomformer.datasets.coco_masks import decode_mask
from mmcomformer.engine import driver
from mmcomformer.engine.evaluate import evaluate
from mmcomformer.engine.request import Request, load_config
from mmcomformer.engine.run_comparison import compare_runs
from mmcomformer.evaluation.seen_class_metric import SeenClassMetric
from mmcomformer.models import ContinualMaskFormer

pytestmark = pytest.mark.families

CONFIG = str(runs.CONFIGS / 'comformer_shapes_instances_6-2.py')


PREDICT = ContinualMaskFormer.predict


def guessed(model, inputs, samples, rescale=True):
    """Predict the ground truth a few pixels beside, some of it twice, with scores that tie.

    The scores are those of the weights, so that others have another AP. Three iterations teach
    nothing that has one above 0.
    """
    weights = int(hash_of(model.state_dict())[:8], 16)
    for sample in PREDICT(model, inputs, samples, rescale):
        generator = np.random.default_rng(int(sample.img_id))
        size = sample.ori_shape[:2]
        masks = [
            np.roll(decode_mask(segment['segmentation'], size), generator.integers(-1, 4), axis)
            for segment in sample.segments
            for axis in (0, 1)
        ]
        labels = [segment['label'] for segment in sample.segments for _ in (0, 1)]
        generator = np.random.default_rng([int(sample.img_id), weights])
        sample.pred_instances = InstanceData(
            masks=torch.from_numpy(np.array(masks).reshape(-1, *size)),
            labels=torch.tensor(labels, dtype=torch.int64),
            scores=torch.from_numpy(generator.integers(1, 8, len(labels)) / 7).float(),
        )
    return samples


@pytest.fixture(autouse=True, scope='module')
def in_process():
    """Take back the scope and the threads that a run leaves behind; let models guess."""
    threads = torch.get_num_threads()
    with DefaultScope.overwrite_default_scope('mmdet'), pytest.MonkeyPatch.context() as patch:
        patch.setattr(ContinualMaskFormer, 'predict', guessed)
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope='module')
def options(shapes_root):
    return small_options(shapes_root, **{'default_hooks.checkpoint.interval': 1})


@pytest.fixture(scope='module')
def run(options, tmp_path_factory):
    """The folder of a run of both steps, with its page."""
    work_dir = tmp_path_factory.mktemp('instances') / 'run'
    settings = {**options, 'default_hooks.report.enabled': True}
    driver.run(Request(config=CONFIG, work_dir=str(work_dir), cfg_options=settings))
    return work_dir


@pytest.fixture
def evaluated(run, options, tmp_path, monkeypatch):
    """Evaluate the last checkpoint; return the metrics, and the metric itself."""
    found = []
    report = SeenClassMetric._report

    def spy(self, *args, **kwargs):
        found.append(self)
        return report(self, *args, **kwargs)

    monkeypatch.setattr(SeenClassMetric, '_report', spy)

    def call(**more):
        request = Request(config=CONFIG, work_dir=str(tmp_path / 'test'), cfg_options=options)
        return evaluate(request, str(run / 'step1' / 'iter_3.pth'), **more), found[-1]

    return call


def test_two_steps(run, evaluated):
    page = (run / 'report.html').read_text()
    assert 'the metric of this run does not count pixels' in page
    assert 'Not available' not in page
    assert page.count('<figcaption>ground truth') == 8
    assert '<h2 id="pseudo-labels">' in page
    summary = json.loads((run / 'summary.json').read_text())
    assert summary['task'] == 'instance'
    assert [len(entry['per_class']) for entry in summary['steps']] == [6, 8]
    assert set(summary['steps'][1]['metrics']) == {'AP', 'AP50', 'AP75'}
    assert set(summary['final']) == {'AP'}
    # the same checkpoint evaluates to the same values
    value = summary['steps'][1]['metrics']['AP']['all']
    assert value > 0
    assert evaluated()[0]['continual/AP'] == pytest.approx(value, abs=1e-4)


def test_a_killed_step_ends_with_the_same_bits(run, options, tmp_path):
    """What a kill after two of three iterations leaves, resumed."""
    killed = tmp_path / 'killed'
    shutil.copytree(run, killed, symlinks=True)
    (killed / 'step1' / 'iter_3.pth').unlink()
    (killed / 'step1' / 'last_checkpoint').write_text('iter_2.pth')
    summary = json.loads((killed / 'summary.json').read_text())
    summary['steps'].pop()
    (killed / 'summary.json').write_text(json.dumps(summary))
    driver.run(Request(config=CONFIG, work_dir=str(killed), resume=True, cfg_options=options))
    assert (killed / 'step1' / 'iter_3.pth').exists()
    assert compare_runs(run, killed) == []


def coco_mean(truth, results, names, measure):
    """Return a measure of pycocotools over classes of these names, in percent."""
    evaluation = COCOeval(truth, results, 'segm')
    evaluation.params.catIds = truth.getCatIds(catNms=names)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return 100 * evaluation.stats[measure]


def test_coco_finds_in_the_file_what_we_find(evaluated, shapes_root, tmp_path):
    _, metric = evaluated(out=str(tmp_path / 'out'))
    truth = COCO(str(shapes_root / 'annotations' / 'instances_val.json'))
    results = truth.loadRes(str(tmp_path / 'out' / 'instances.json'))
    scenario = metric.scenario
    groups = {
        'base': scenario.base_classes,
        'new': scenario.current_classes,
        'all': scenario.seen_classes,
    }
    for number, measure in enumerate(('AP', 'AP50', 'AP75')):
        for name, values in metric.per_class.items():
            if values[measure] is not None:
                expected = coco_mean(truth, results, [name], number)
                assert values[measure] == pytest.approx(expected, abs=1e-12), name
        for group, names in groups.items():
            found = metric.groups[measure][group]
            assert 0 < found < 100
            # a mean of means in another order of the sum
            expected = coco_mean(truth, results, list(names), number)
            assert found == pytest.approx(expected, abs=1e-12), group
    entry = json.loads((tmp_path / 'out' / 'instances.json').read_text())[0]
    assert set(entry) == {'image_id', 'category_id', 'segmentation', 'bbox', 'score'}
    rows, columns = np.nonzero(decode_mask(entry['segmentation'], (64, 64)))
    box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
    assert entry['bbox'] == box
    theirs = tmp_path / 'theirs' / 'instances.json'
    theirs.parent.mkdir()
    theirs.write_text('theirs')
    with pytest.raises(FileExistsError, match=r'instances.json exists, and was not written by'):
        evaluated(out=str(theirs.parent))
    assert theirs.read_text() == 'theirs'


@pytest.fixture
def bold(run, tmp_path):
    """A checkpoint that finds something, which three iterations do not teach."""
    checkpoint = str(run / 'step1' / 'iter_3.pth')
    return with_bias_of_no_object(checkpoint, -1000, tmp_path / 'bold.pth')


def test_programs_of_mmdet(options, bold, shapes_root, tmp_path, monkeypatch):
    """They find the step, and their masks and pictures are those of the model."""
    monkeypatch.setattr(ContinualMaskFormer, 'predict', PREDICT)
    cfg = load_config(Request(config=CONFIG, cfg_options=options), 0)
    image = str(shapes_root / 'val' / '000000.jpg')
    model = init_detector(cfg, bold, device='cpu')
    found = inference_detector(model, image).pred_instances
    assert 0 < len(found) <= 80
    inferencer = DetInferencer(cfg, bold, device='cpu', show_progress=False)
    out = inferencer(image, out_dir=str(tmp_path), no_save_pred=False, pred_score_thr=0.01)
    (told,) = out['predictions']
    assert told['labels'] == found.labels.tolist()
    assert told['scores'] == pytest.approx(found.scores.tolist())
    for box, runs_of_mask, mask in zip(found.bboxes, told['masks'], found.masks, strict=True):
        assert np.array_equal(coco_mask.decode(runs_of_mask) > 0, mask)
        rows, columns = np.nonzero(mask.numpy())
        edges = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert box.tolist() == edges
    pictures = [cv2.imread(str(path)) for path in (tmp_path / 'vis' / '000000.jpg', Path(image))]
    assert np.abs(pictures[0].astype(int) - pictures[1]).max() > 50
    assert list((tmp_path / 'preds').glob('*.json'))
    # what the package itself predicts are the same, however they overlap
    thr = float(found.scores.sort(descending=True).values[9])
    prediction = predict(model, image, score_thr=thr)
    better = found[found.scores > thr]
    assert len(prediction.segments) == len(better) > 1
    order = better.scores.sort(descending=True).indices.tolist()
    segments = sorted(prediction.segments, key=lambda segment: -segment.score)
    for segment, index in zip(segments, order, strict=True):
        assert segment.score == float(better.scores[index])
        assert segment.area == int(better.masks[index].sum())
        assert np.array_equal(prediction.mask(segment), better.masks[index])
    usual = predict(model, image).segments
    assert len(usual) == int((found.scores > 0.5).sum())
    for value, error in ((1.5, ValueError), ('0.3', TypeError), (True, TypeError)):
        with pytest.raises(error, match='score_thr: expected '):
            predict(model, image, score_thr=value)
