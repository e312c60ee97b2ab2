"""A semantic config from start to end in this process: run, evaluation, inference, pictures."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope
from mmseg.apis import MMSegInferencer, inference_model, init_model
from runs import timeless
from small_runs import CONFIG as PANOPTIC
from small_runs import WatchTeacherHook, hash_of, small_options

from mmcomformer.apis import load_model, predict
from mmcomformer.engine import driver
from mmcomformer.engine import evaluate as evaluate_module
from mmcomformer.engine.checkpoint import previous_checkpoint, read_checkpoint
from mmcomformer.engine.evaluate import evaluate
from mmcomformer.engine.hooks.previous_step_hook import find_hooks
from mmcomformer.engine.request import Request, load_config
from mmcomformer.engine.scenario_config import model_at_step, scenario_of
from mmcomformer.engine.state import resume_point
from mmcomformer.models import ContinualEncoderDecoder
from mmcomformer.pictures import browsing
from mmcomformer.pictures.browsing import Browse, browse
from mmcomformer.pictures.demo import Demo, run_demo
from mmcomformer.report.collected import read_evaluation
from mmcomformer.tasks import task_of

pytestmark = pytest.mark.families

CONFIG = str(Path(PANOPTIC).with_name('comformer_shapes_semantic_6-3.py'))
ITERS, NUM_VAL = 3, 8
# mmengine's takes longer than the training
QUICK_TEXT = property(lambda cfg: repr(cfg.to_dict()))


@pytest.fixture(autouse=True)
def mmseg_scope(monkeypatch):
    """Take back the scope that a run leaves behind; do not lay out the config for the log."""
    monkeypatch.delenv('STEP', raising=False)
    monkeypatch.setattr(Config, 'pretty_text', QUICK_TEXT)
    with DefaultScope.overwrite_default_scope('mmseg'):
        yield


@pytest.fixture(scope='module')
def finished(shapes_root, tmp_path_factory):
    """A run of all three steps: its folder, what the teacher was, and its options."""
    work_dir = tmp_path_factory.mktemp('run') / 'semantic'
    WatchTeacherHook.records.clear()
    options = small_options(shapes_root, head='decode_head')
    options['custom_hooks'] = [
        {'type': 'PseudoLabelHook'},
        {'type': 'SummaryHook', 'method': 'CoMFormer', 'task': 'semantic'},
        {'type': 'WatchTeacherHook'},
    ]
    # saves a garbage collection, which takes long in a small program too
    options |= {f'{x}_dataloader.dataset.serialize_data': False for x in ('train', 'val', 'test')}
    threads = torch.get_num_threads()
    with DefaultScope.overwrite_default_scope('mmseg'), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Config, 'pretty_text', QUICK_TEXT)
        with_report = {**options, 'default_hooks.report.enabled': True}
        driver.run(Request(config=CONFIG, work_dir=str(work_dir), cfg_options=with_report))
    torch.set_num_threads(threads)
    return work_dir, list(WatchTeacherHook.records), options


def test_page(finished):
    page = (finished[0] / 'report.html').read_text()
    assert 'Not available' not in page
    assert page.count('<figcaption>ground truth') == NUM_VAL
    assert '<h2 id="pseudo-labels">' in page
    for step in range(3):
        kept = read_evaluation(finished[0] / f'step{step}')
        assert kept.confusion.sum() == NUM_VAL * 64 * 64
        # one segment for each class
        assert all((picture.maps['prediction'] < 12).all() for picture in kept.pictures)


@pytest.fixture
def request_of(finished):
    """A request for the finished run; ``changes`` are more options."""

    def make(work_dir=None, **changes):
        options = {**finished[2], **changes}
        return Request(config=CONFIG, work_dir=str(work_dir or finished[0]), cfg_options=options)

    return make


@pytest.fixture
def sharp(finished, tmp_path):
    """Checkpoints of the run whose queries are certain of a class and of their masks."""

    def make(step):
        content = read_checkpoint(previous_checkpoint(finished[0] / f'step{step}'))
        content['state_dict']['decode_head.cls_embed.no_object.bias'] -= 1000
        content['state_dict']['decode_head.mask_embed.4.weight'] *= 1000
        path = tmp_path / f'sharp{step}.pth'
        torch.save(content, path)
        return str(path)

    return make


class TestConfig:
    def test_steps_and_hooks(self):
        cfg = load_config(Request(config=CONFIG), 2)
        assert scenario_of(cfg).step == cfg.model.decode_head.scenario.step == 2
        assert model_at_step(cfg.model, 1)['decode_head']['scenario']['step'] == 1
        assert [hook['type'] for hook in find_hooks(cfg)] == ['PseudoLabelHook']

    def test_stale_copy(self, tmp_path):
        config = tmp_path / 'mine.py'
        config.write_text(
            f'_base_ = {CONFIG!r}\nmodel = dict(decode_head=dict(scenario=dict(step=1)))\n'
        )
        with pytest.raises(ValueError, match='model.decode_head.scenario: it differs from'):
            load_config(Request(config=str(config)), 0)


class TestRun:
    def test_summary(self, finished):
        summary = json.loads((finished[0] / 'summary.json').read_text())
        assert (summary['method'], summary['task']) == ('CoMFormer', 'semantic')
        assert [entry['step'] for entry in summary['steps']] == [0, 1, 2]
        for entry in summary['steps']:
            assert set(entry['metrics']) == {'mIoU', 'mAcc'}
            assert entry['train_iters'] == ITERS

    def test_teacher_is_the_checkpoint_of_the_step_before(self, finished):
        work_dir, records, _ = finished
        for step in range(3):
            of_step = [record for record in records if record['step'] == step]
            assert len(of_step) == ITERS
            losses = {name for record in of_step for name in record['losses']}
            assert ('decode.loss_distill' in losses) == (step > 0)
            assert {record['pseudo'] for record in of_step} == {step > 0}
            if step:
                path = previous_checkpoint(work_dir / f'step{step - 1}')
                expected = hash_of(read_checkpoint(path)['state_dict'])
                assert {record['hash'] for record in of_step} == {expected}
                assert {record['training'] for record in of_step} == {False}

    def test_checkpoints_hold_the_student_only(self, finished):
        for step in range(3):
            checkpoint = read_checkpoint(previous_checkpoint(finished[0] / f'step{step}'))
            names = {name.partition('.')[0] for name in checkpoint['state_dict']}
            assert names == {'backbone', 'decode_head'}
            assert len(checkpoint['meta']['dataset_meta']['palette']) == 12

    def test_resume(self, finished, request_of, tmp_path):
        """A step whose training was cut off goes on; the others are left alone."""
        work_dir = tmp_path / 'run'
        shutil.copytree(finished[0], work_dir)
        path = previous_checkpoint(work_dir / 'step2')
        shutil.rmtree(path.parent)
        summary = json.loads((work_dir / 'summary.json').read_text())
        del summary['steps'][1:]
        (work_dir / 'summary.json').write_text(json.dumps(summary))
        request = request_of(work_dir)
        points = [resume_point(load_config(request, step), resume=True) for step in range(3)]
        assert [point.state for point in points] == ['done', 'evaluate', 'new']
        driver.run(Request(**{**vars(request), 'resume': True}))
        found = json.loads((work_dir / 'summary.json').read_text())
        expected = json.loads((finished[0] / 'summary.json').read_text())
        for entry, other in zip(found['steps'], expected['steps'], strict=True):
            assert timeless(entry) == timeless(other)


class TestEvaluate:
    @pytest.fixture
    def predictions(self, monkeypatch):
        """Record the sizes of the images that the model is asked for."""
        sizes = []
        predict = ContinualEncoderDecoder.predict

        def recording(self, inputs, data_samples=None):
            sizes.extend(
                (*sample.img_shape, bool(sample.metainfo.get('flip'))) for sample in data_samples
            )
            return predict(self, inputs, data_samples)

        monkeypatch.setattr(ContinualEncoderDecoder, 'predict', recording)
        return sizes

    def test_pictures(self, finished, request_of, sharp, tmp_path):
        # the second time in a process too
        for name in ('first', 'pictures'):
            evaluate(request_of(tmp_path / 'work'), sharp(2), show_dir=str(tmp_path / name))
        pictures = sorted((tmp_path / 'pictures').glob('*.jpg'))
        assert len(pictures) == NUM_VAL
        height, width = cv2.imread(str(pictures[0])).shape[:2]
        # ground truth and prediction
        assert width == 2 * height

    def test_the_same_as_after_training(self, finished, request_of, tmp_path):
        summary = json.loads((finished[0] / 'summary.json').read_text())
        checkpoint = str(previous_checkpoint(finished[0] / 'step2'))
        found = evaluate(request_of(tmp_path), checkpoint)
        expected = summary['steps'][2]['metrics']['mIoU']
        assert found['continual/mIoU'] == pytest.approx(expected['all'])
        assert found['continual/mIoU_base'] == pytest.approx(expected['base'])

    def test_augmented(self, request_of, sharp, predictions, tmp_path):
        request = request_of(tmp_path / 'work', **{'test_dataloader.dataset.indices': 2})
        metrics = evaluate(request, sharp(1), tta=True)
        assert 'continual/mIoU' in metrics
        pipeline = load_config(request, 1).tta_pipeline[-1].transforms
        assert len(predictions) == 2 * len(pipeline[0]) * len(pipeline[1])
        assert {size[2] for size in predictions} == {False, True}
        assert len({size[:2] for size in predictions}) == len(pipeline[0])

    def test_augmentation_that_changes_nothing(self, request_of, sharp, tmp_path):
        """Averaging equal predictions gives the prediction, weights included."""
        rule = {'model.decode_head.semantic_fusion.type': 'ScoreSumFusion'}
        plain = evaluate(request_of(tmp_path / 'plain', **rule), sharp(1))
        cfg = load_config(request_of(), 1)
        pipeline = [cfg.tta_pipeline[0].to_dict(), cfg.tta_pipeline[1].to_dict()]
        pipeline[1]['transforms'][0] = [cfg.test_pipeline[1].to_dict()]
        pipeline[1]['transforms'][1] = pipeline[1]['transforms'][1][:1]
        same = evaluate(
            request_of(tmp_path / 'tta', tta_pipeline=pipeline, **rule), sharp(1), tta=True
        )
        assert plain['continual/mIoU'] > 0
        assert same == pytest.approx(plain)

    def test_augmentation_that_is_not_configured(self, finished, request_of, tmp_path):
        checkpoint = str(previous_checkpoint(finished[0] / 'step1'))
        request = request_of(tmp_path, tta_model=None)
        with pytest.raises(ValueError, match='--tta: the config has no tta_model, which say'):
            evaluate(request, checkpoint, tta=True)

    def test_panoptic_predictions_are_not_averaged(self):
        cfg = load_config(Request(config=PANOPTIC), 0)
        with pytest.raises(
            ValueError, match='--tta: panoptic predictions .* use a semantic config'
        ):
            evaluate_module._augment_tests(cfg)


class TestInference:
    @pytest.fixture
    def image(self, shapes_root):
        return str(sorted((shapes_root / 'val').iterdir())[0])

    @pytest.fixture
    def config(self, finished, tmp_path):
        """The config of the run as a user has it: the step comes from the environment."""
        path = tmp_path / 'mine.py'
        path.write_text(f'_base_ = {CONFIG!r}\nmodel = dict(decode_head=dict(num_queries=10))\n')
        return str(path)

    @pytest.mark.parametrize('mode', ['whole', 'slide'])
    @pytest.mark.parametrize('rule', ['MaskBasedFusion', 'ScoreSumFusion'])
    def test_init_model(self, config, sharp, image, mode, rule, monkeypatch):
        monkeypatch.setenv('STEP', '1')
        test_cfg = dict(mode=mode, crop_size=(32, 32), stride=(16, 16))
        options = {'model.test_cfg': test_cfg, 'model.decode_head.semantic_fusion.type': rule}
        model = init_model(config, sharp(1), device='cpu', cfg_options=options)
        assert len(model.dataset_meta['classes']) == len(model.dataset_meta['palette']) == 12
        pixels = cv2.imread(image)
        labels = inference_model(model, image).pred_sem_seg.data
        assert labels.shape == (1, *pixels.shape[:2])
        seen = model.decode_head.scenario.seen_labels
        found = set(labels.unique().tolist())
        assert found <= (seen | {255} if rule == 'MaskBasedFusion' else seen)
        assert found & seen
        assert torch.equal(inference_model(model, pixels).pred_sem_seg.data, labels)

    def test_checkpoint_of_another_step(self, config, sharp, monkeypatch):
        monkeypatch.setenv('STEP', '0')
        with pytest.raises(RuntimeError, match='the checkpoint is of step 1 .* set STEP=1'):
            init_model(config, sharp(1), device='cpu')

    def test_inferencer(self, config, sharp, image, tmp_path, monkeypatch):
        monkeypatch.setenv('STEP', '1')
        inferencer = MMSegInferencer(config, sharp(1), device='cpu')
        result = inferencer([image, cv2.imread(image)], out_dir=str(tmp_path / 'out'))
        by_path, by_array = result['predictions']
        assert np.array_equal(by_path, by_array)
        expected = inference_model(init_model(config, sharp(1), device='cpu'), image)
        assert np.array_equal(by_path, expected.pred_sem_seg.data[0].numpy())
        assert len(list((tmp_path / 'out' / 'vis').iterdir())) == 2
        written = cv2.imread(str(tmp_path / 'out' / 'pred' / '00000000_pred.png'), 0)
        assert np.array_equal(written, by_path)
        assert inferencer.visualizer.dataset_meta['classes'][:2] == ('disc', 'square')

    def test_demo(self, config, sharp, image, tmp_path):
        out = tmp_path / 'new' / 'demo.png'
        checkpoint = sharp(1)
        (drawn,) = run_demo(Demo([image], config, checkpoint, out, device='cpu'))
        segments = drawn.prediction.segments
        assert cv2.imread(str(out)).shape == cv2.imread(image).shape
        model = load_model(config, checkpoint, device='cpu')
        labels = inference_model(model, image).pred_sem_seg.data.numpy()
        classes = model.dataset_meta['classes']
        expected = {classes[x]: (labels == x).sum() for x in np.unique(labels) if x != 255}
        assert {segment.name: segment.area for segment in segments} == expected
        assert [x.area for x in segments] == sorted(expected.values(), reverse=True)
        assert {(segment.score, segment.is_thing) for segment in segments} == {(None, False)}
        by_array = predict(model, cv2.imread(image))
        assert np.array_equal(by_array.ids, predict(model, image).ids)

    def test_demo_that_finds_nothing(self, config, finished, image, tmp_path):
        content = read_checkpoint(previous_checkpoint(finished[0] / 'step1'))
        content['state_dict']['decode_head.cls_embed.no_object.bias'] += 1000
        torch.save(content, tmp_path / 'nothing.pth')
        nothing = str(tmp_path / 'nothing.pth')
        (drawn,) = run_demo(Demo([image], config, nothing, tmp_path / 'demo.png', device='cpu'))
        assert drawn.prediction.segments == ()


class TestBrowse:
    def test_two_panels_and_three_with_a_teacher(self, finished, sharp):
        plain, pseudo = (
            dict(browse(Browse(CONFIG, step=1, num=2, checkpoint=path, cfg_options=finished[2])))
            for path in (None, sharp(0))
        )
        assert list(plain) == list(pseudo)
        for name, picture in plain.items():
            width = picture.shape[1]
            assert width < pseudo[name].shape[1] < 1.6 * width
            assert np.array_equal(pseudo[name][62:, : width - 12], picture[62:, : width - 12])

    def test_labels_are_those_of_the_step(self, finished):
        cfg = load_config(Request(CONFIG, cfg_options=finished[2]), 1)
        scenario = scenario_of(cfg)
        dataset = DATASETS.build(cfg.train_dataloader.dataset)
        for index in range(4):
            sample = dataset[index]['data_samples']
            segments = task_of(cfg.model).ground_truth(sample, scenario.num_classes)
            assert {label for _, label in segments} <= scenario.current_labels
            covered = np.any([mask for mask, _ in segments], axis=0)
            assert np.array_equal(covered, sample.gt_sem_seg.data[0].numpy() != 255)

    def test_pseudo_labels_are_of_earlier_steps_and_cover_no_label(self, finished, sharp):
        cfg = load_config(Request(CONFIG, cfg_options=finished[2]), 2)
        scenario = scenario_of(cfg)
        labeller = browsing._PseudoLabels(cfg, scenario, sharp(1))
        dataset = DATASETS.build(cfg.train_dataloader.dataset)
        found = 0
        for index in range(4):
            packed = dataset[index]
            covered = packed['data_samples'].gt_sem_seg.data[0].numpy() != 255
            for mask, label in labeller(packed):
                assert label in scenario.seen_labels - scenario.current_labels
                assert mask.shape == covered.shape
                assert not (mask & covered).any()
                found += 1
        assert found
