"""A model for programs: ours, and mmdet's own ways of using it."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.apis import DetInferencer, inference_detector, init_detector
from mmdet.structures import DetDataSample
from mmengine.runner import Runner
from mmengine.structures import InstanceData, PixelData
from small_runs import CONFIG, with_bias_of_no_object, write_config

from mmcomformer.apis import Prediction, load_model, predict
from mmcomformer.engine.checkpoint import previous_checkpoint
from mmcomformer.engine.request import Request, load_config
from mmcomformer.registry import VISUALIZERS

pytestmark = pytest.mark.families


@pytest.fixture
def small_config(finished_run, tmp_path):
    """The config of the run, as a file."""
    return write_config(finished_run, tmp_path / 'small.py')


@pytest.fixture
def checkpoint(finished_run):
    return str(previous_checkpoint(finished_run[0] / 'step1'))


@pytest.fixture
def image(shapes_root):
    return str(sorted((shapes_root / 'val').iterdir())[0])


@pytest.fixture
def certain_of_nothing(checkpoint, tmp_path):
    """A checkpoint whose every query is no-object."""
    return with_bias_of_no_object(checkpoint, 1000, tmp_path / 'nothing.pth')


@pytest.fixture
def bold(checkpoint, tmp_path):
    """A checkpoint that finds something, which three iterations do not teach."""
    return with_bias_of_no_object(checkpoint, -1000, tmp_path / 'bold.pth')


@pytest.mark.parametrize('step', ['1', None])
def test_init_detector_and_inference_detector(small_config, checkpoint, image, step, monkeypatch):
    if step is not None:
        monkeypatch.setenv('STEP', step)
    model = init_detector(small_config, checkpoint, device='cpu')
    assert model.panoptic_head.scenario.step == 1
    assert not model.training
    assert len(model.dataset_meta['classes']) == 12
    pixels = cv2.imread(image)
    by_path, by_array = inference_detector(model, image), inference_detector(model, pixels)
    panoptic = by_path.pred_panoptic_seg.sem_seg
    assert panoptic.shape == (1, *pixels.shape[:2])
    assert torch.equal(panoptic, by_array.pred_panoptic_seg.sem_seg)
    seen = set(range(13)) - set(model.panoptic_head.scenario.later_labels)
    assert set((panoptic % 1000).unique().tolist()) <= seen


def test_checkpoint_of_another_step(small_config, checkpoint, monkeypatch):
    """mmengine loads weights non-strictly; a classifier of another step must not be hidden."""
    monkeypatch.setenv('STEP', '0')
    with pytest.raises(RuntimeError, match='the checkpoint is of step 1 .* set STEP=1'):
        init_detector(small_config, checkpoint, device='cpu')


def test_det_inferencer_finds_the_step(small_config, checkpoint, image, tmp_path):
    inferencer = DetInferencer(small_config, checkpoint, device='cpu', show_progress=False)
    result = inferencer(image, out_dir=str(tmp_path), no_save_pred=False)
    drawn = list((tmp_path / 'vis').iterdir())
    assert len(drawn) == 1
    assert cv2.imread(str(drawn[0])).shape == cv2.imread(image).shape
    assert len(result['predictions']) == 1
    assert list((tmp_path / 'preds').glob('*_panoptic_seg.png'))


def test_an_image_without_any_segment(
    small_config, certain_of_nothing, image, tmp_path, monkeypatch
):
    monkeypatch.setenv('STEP', '1')
    model = init_detector(small_config, certain_of_nothing, device='cpu')
    result = inference_detector(model, image)
    assert (result.pred_panoptic_seg.sem_seg == 12).all()
    visualizer = VISUALIZERS.build(model.cfg.visualizer)
    visualizer.dataset_meta = model.dataset_meta
    pixels = cv2.imread(image)[..., ::-1]
    visualizer.add_datasample('x', pixels, result, draw_gt=False, out_file=str(tmp_path / 'x.png'))
    assert np.array_equal(cv2.imread(str(tmp_path / 'x.png'))[..., ::-1], pixels)


def test_training_sample_is_drawn_in_the_colours_of_its_labels(tmp_path):
    """As mmdet's tool for browsing a dataset draws it."""
    visualizer = VISUALIZERS.build(dict(type='PanopticVisualizer', name=str(tmp_path), alpha=1.0))
    visualizer.dataset_meta = dict(classes=('a', 'b'), palette=[(255, 0, 0), (0, 0, 255)])
    number = torch.zeros(1, 40, 40, dtype=torch.uint8)
    number[:, :, 10:20], number[:, :, 30:] = 1, 2
    sample = DetDataSample(gt_instances=InstanceData(labels=torch.tensor([1, 0])))
    sample.gt_panoptic_seg = PixelData(sem_seg=number)
    out = str(tmp_path / 'x.png')
    visualizer.add_datasample('x', np.zeros((40, 40, 3), np.uint8), sample, out_file=out)
    drawn = cv2.imread(out)[..., ::-1]
    # away from the names, and from the edges, which are white
    assert drawn[36, 15].tolist() == [0, 0, 255]
    assert drawn[36, 35].tolist() == [255, 0, 0]
    assert drawn[36, 5].tolist() == [0, 0, 0]


def test_model_of_a_runner_keeps_its_step(checkpoint, finished_run):
    """An optimizer, or an evaluation of the classes of a step, would be left behind."""
    cfg = load_config(Request(config=CONFIG, cfg_options=finished_run[2]), 0)
    cfg.work_dir = str(Path(finished_run[0]).parent / 'other' / 'step0')
    cfg.load_from = checkpoint
    with pytest.raises(RuntimeError, match='the checkpoint is of step 1 .* set STEP=1'):
        Runner.from_cfg(cfg).val()


class TestLoadModel:
    def test_step_is_that_of_the_checkpoint(self, small_config, checkpoint):
        model = load_model(small_config, checkpoint, device='cpu')
        assert model.panoptic_head.scenario.step == 1

    def test_name_of_a_config(self, checkpoint, finished_run, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        model = load_model(
            'comformer_shapes_6-3', checkpoint, device='cpu', cfg_options=finished_run[2]
        )
        assert model.panoptic_head.scenario.step == 1

    def test_another_scenario(self, checkpoint, finished_run):
        options = {**finished_run[2], 'scenario.increments': [4, 4, 4]}
        with pytest.raises(RuntimeError, match='step 0 teaches 4 classes here, but 6 there'):
            load_model(CONFIG, checkpoint, device='cpu', cfg_options=options)

    def test_missing_checkpoint(self, small_config):
        with pytest.raises(FileNotFoundError, match='checkpoint no.pth: no such file'):
            load_model(small_config, 'no.pth')


class TestPredict:
    @pytest.fixture
    def model(self, small_config, bold):
        return load_model(small_config, bold, device='cpu')

    def test_same_as_mmdet(self, model, image):
        found = predict(model, image)
        codes = inference_detector(model, image).pred_panoptic_seg.sem_seg[0].numpy()
        assert found.ids.shape == cv2.imread(image).shape[:2]
        assert len(found.segments) == len(set(np.unique(codes)) - {12}) > 0
        for segment in found.segments:
            (code,) = np.unique(codes[found.mask(segment)])
            assert segment.label == code % 1000
            assert segment.name == model.dataset_meta['classes'][segment.label]
            assert segment.is_thing == (code >= 1000)
            assert segment.area == (codes == code).sum() > 0
            assert 0 < segment.score <= 1
        assert sum(segment.area for segment in found.segments) == (codes != 12).sum()
        assert (found.ids == 0).sum() == (codes == 12).sum()

    def test_threshold_of_scores_is_of_instances(self, model, image):
        message = 'score_thr: panoptic segmentation has no threshold of scores here, got 0.3'
        with pytest.raises(ValueError, match=message):
            predict(model, image, score_thr=0.3)

    def test_path_array_and_list(self, model, image):
        by_path = predict(model, Path(image))
        by_array = predict(model, cv2.imread(image))
        several = predict(model, [image, cv2.imread(image)])
        for found in (by_array, *several):
            assert isinstance(found, Prediction)
            assert np.array_equal(found.ids, by_path.ids)
            assert found.segments == by_path.segments

    @pytest.mark.parametrize(
        ('image', 'error', 'message'),
        [
            ('no.png', FileNotFoundError, 'image no.png: no such file'),
            ('.', ValueError, r'image \.: this is a folder'),
            (__file__, ValueError, 'cannot be read'),
            (3, TypeError, 'expected a path or an array, got int'),
            (np.zeros((4, 4), np.uint8), ValueError, r'got \(4, 4\) of uint8'),
            (np.zeros((4, 4, 3)), ValueError, r'got \(4, 4, 3\) of float64'),
        ],
    )
    def test_bad_image(self, image, error, message):
        for images in (image, [image]):
            with pytest.raises(error, match=message):
                predict(None, images)
