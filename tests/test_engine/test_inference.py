"""mmdet's own ways of using a model, and the demo."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.apis import DetInferencer, inference_detector, init_detector
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData, PixelData
from small_runs import CONFIG

from mmcomformer.engine.checkpoint import previous_checkpoint, read_checkpoint
from mmcomformer.engine.inference import draw_prediction, load_model
from mmcomformer.engine.request import Request, load_config
from mmcomformer.registry import VISUALIZERS

pytestmark = pytest.mark.families


@pytest.fixture
def small_config(finished_run, tmp_path):
    """The config of the run, as a file."""
    cfg = load_config(Request(config=CONFIG, cfg_options=finished_run[2]), 1)
    path = tmp_path / 'small.py'
    text = cfg.pretty_text
    # as a user's config: the step comes from the environment
    from_environment = "{{'$STEP:0'}}"
    text = text.replace('step = 1', f'step = {from_environment}')
    path.write_text(text.replace('step=1', f'step={from_environment}'))
    return str(path)


@pytest.fixture
def checkpoint(finished_run):
    return str(previous_checkpoint(finished_run[0] / 'step1'))


@pytest.fixture
def image(shapes_root):
    return str(sorted((shapes_root / 'val').iterdir())[0])


@pytest.fixture
def certain_of_nothing(checkpoint, tmp_path):
    """A checkpoint whose every query is no-object."""
    content = read_checkpoint(checkpoint)
    content['state_dict']['panoptic_head.cls_embed.no_object.bias'] += 1000
    path = tmp_path / 'nothing.pth'
    torch.save(content, path)
    return str(path)


def test_init_detector_and_inference_detector(small_config, checkpoint, image, monkeypatch):
    monkeypatch.setenv('STEP', '1')
    model = init_detector(small_config, checkpoint, device='cpu')
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


def test_det_inferencer(small_config, checkpoint, image, tmp_path, monkeypatch):
    monkeypatch.setenv('STEP', '1')
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


class TestDemo:
    def test_step_comes_from_the_checkpoint(self, small_config, checkpoint, image, tmp_path):
        out = tmp_path / 'new' / 'demo.png'
        segments = draw_prediction(image, small_config, checkpoint, str(out), device='cpu')
        assert out.is_file()
        assert all(0 < area <= 1 for _, area in segments)
        assert sum(area for _, area in segments) <= 1 + 1e-6

    def test_nothing_found(self, small_config, certain_of_nothing, image, tmp_path):
        out = str(tmp_path / 'demo.png')
        assert draw_prediction(image, small_config, certain_of_nothing, out, device='cpu') == []

    def test_nothing_of_the_user_is_replaced(self, small_config, checkpoint, image, tmp_path):
        foreign = tmp_path / 'theirs.png'
        foreign.write_bytes(b'theirs')
        with pytest.raises(FileExistsError, match='theirs.png exists, and was not written by'):
            draw_prediction(image, small_config, checkpoint, foreign, device='cpu')
        with pytest.raises(ValueError, match='would be written over the input'):
            draw_prediction(image, small_config, checkpoint, image, device='cpu', overwrite=True)
        assert foreign.read_bytes() == b'theirs'

    def test_folder_and_missing_extension(self, small_config, checkpoint, image, tmp_path):
        for out in (tmp_path, tmp_path / 'picture'):
            draw_prediction(image, small_config, checkpoint, out, device='cpu')
        names = {path.name for path in tmp_path.glob('*.png')}
        assert names == {f'{Path(image).stem}.png', 'picture.png'}

    def test_missing_image(self, small_config, checkpoint, tmp_path):
        with pytest.raises(FileNotFoundError, match='image no.png: no such file'):
            draw_prediction('no.png', small_config, checkpoint, str(tmp_path / 'x.png'))

    def test_unreadable_image(self, small_config, checkpoint, tmp_path):
        (tmp_path / 'a.png').write_text('hello')
        with pytest.raises(ValueError, match='a.png: cannot be read'):
            draw_prediction(
                str(tmp_path / 'a.png'), small_config, checkpoint, str(tmp_path / 'x.png')
            )

    def test_missing_checkpoint(self, small_config):
        with pytest.raises(FileNotFoundError, match='checkpoint no.pth: no such file'):
            load_model(small_config, 'no.pth')
