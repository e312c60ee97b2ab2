"""Configs of semantic segmentation on miniatures: all steps, narrow and short, in this process."""

import shutil

import numpy as np
import pytest
import runs
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from PIL import Image
from runs import CONFIGS
from semantic_miniatures import write_ade_semantic_miniature, write_voc_miniature

from mmcomformer.dataset_converters.voc import convert_voc
from mmcomformer.engine import driver
from mmcomformer.engine.checkpoint import file_sha256
from mmcomformer.engine.evaluate import evaluate
from mmcomformer.engine.request import Request, load_config

pytestmark = pytest.mark.families

SIZES = {
    'RandomChoiceResize': ('scales', [24, 32]),
    'RandomCrop': ('crop_size', (32, 32)),
    'Pad': ('size', (32, 32)),
}
ITERS = 2


def small_request(name, root, work_dir, **options):
    """A request for a config as it is, but for sizes of images and model, and iterations."""
    config = str(CONFIGS / name)
    pipeline = load_config(Request(config=config), 0).train_dataloader.dataset.pipeline
    for index, transform in enumerate(pipeline):
        if transform.type in SIZES:
            key, value = SIZES[transform.type]
            options[f'train_dataloader.dataset.pipeline.{index}.{key}'] = value
    for split in ('train', 'val', 'test'):
        options[f'{split}_dataloader.dataset.dataset.data_root'] = f'{root}/'
        # saves a garbage collection, which takes long in a small program too
        options[f'{split}_dataloader.dataset.serialize_data'] = False
        options[f'{split}_dataloader.num_workers'] = 0
        options[f'{split}_dataloader.persistent_workers'] = False
    options |= {
        'train_dataloader.batch_size': 2,
        'val_dataloader.dataset.pipeline.1.scale': (128, 32),
        'test_dataloader.dataset.pipeline.1.scale': (128, 32),
        'model.data_preprocessor.size': (32, 32),
        'model.backbone.depth': 18,
        'model.backbone.base_channels': 8,
        'model.backbone.init_cfg': None,
        'model.decode_head.in_channels': [8, 16, 32, 64],
        'model.decode_head.num_queries': 10,
        'model.decode_head.pixel_decoder.encoder.num_layers': 1,
        'model.decode_head.transformer_decoder.num_layers': 1,
        'model.train_cfg.num_points': 64,
        'train_cfg.max_iters': ITERS,
        'train_cfg.val_interval': ITERS,
        'default_hooks.logger.interval': 1,
        'visualizer.vis_backends': [],
    }
    return Request(config=config, work_dir=str(work_dir), cfg_options=options)


@pytest.fixture(autouse=True)
def in_process(monkeypatch):
    """Take back the scope that a run leaves behind; do not lay out the config for the log."""
    # which takes longer than the training
    monkeypatch.setattr(Config, 'pretty_text', property(lambda cfg: repr(cfg.to_dict())))
    monkeypatch.setattr('mmcomformer.engine.launch.get_device', lambda: 'cpu')
    with DefaultScope.overwrite_default_scope('mmseg'):
        yield


def labels_of(folder):
    """Return the values in each label map of a folder."""
    return [set(np.unique(Image.open(path)).tolist()) for path in sorted(folder.glob('*.png'))]


def check_steps(work_dir, increments):
    """Check the classifier and the teacher in what each step has left."""
    digest = None
    for step, _ in enumerate(increments):
        path = work_dir / f'step{step}' / f'iter_{ITERS}.pth'
        checkpoint = torch.load(path, weights_only=False)
        state = checkpoint['state_dict']
        assert not any('teacher' in key for key in state)
        rows = [len(value) for key, value in state.items() if 'cls_embed' in key and 'bias' in key]
        assert sorted(rows) == sorted([*increments[: step + 1], 1])
        teacher = checkpoint['meta']['continual'].get('teacher')
        assert (teacher is None) == (step == 0)
        if teacher is not None:
            assert teacher['sha256'] == digest
        digest = file_sha256(path)


def test_ade_config_on_a_miniature(tmp_path):
    """comformer_ade_semantic_100-50.py, whose label maps have 0 where there is no class."""
    root = write_ade_semantic_miniature(tmp_path / 'ade')
    work_dir = tmp_path / 'run'
    driver.run(small_request('comformer_ade_semantic_100-50.py', root, work_dir))
    summary = runs.read_summary(work_dir)
    assert (summary['task'], summary['setting']) == ('semantic', 'overlap')
    assert [len(entry['classes']) for entry in summary['steps']] == [100, 50]
    of_images = labels_of(root / 'annotations' / 'training')
    images = [
        sum(not labels.isdisjoint(step) for labels in of_images)
        for step in (range(1, 101), range(101, 151))
    ]
    # some images are of one step only
    assert max(images) < len(of_images)
    assert [entry['train_images'] for entry in summary['steps']] == images
    assert [entry['train_iters'] for entry in summary['steps']] == [ITERS, ITERS]
    assert set(summary['steps'][1]['metrics']) == {'mIoU', 'mAcc'}
    assert list(summary['steps'][1]['per_class']) == summary['class_order']
    check_steps(work_dir, [100, 50])
    output = ''.join(path.read_text() for path in (work_dir / 'step1').rglob('*.log'))
    assert '4 of 4 images, 150 classes seen so far' in output
    assert 'decode.loss_distill: ' in output


@pytest.fixture
def voc_root(tmp_path):
    """A miniature of VOC with the folder and the list that our converter adds."""
    root = write_voc_miniature(tmp_path / 'VOC2012')
    convert_voc(root, workers=1)
    lists = root / 'ImageSets' / 'Segmentation'
    # written where there is SBD
    shutil.copy(lists / 'train.txt', lists / 'trainaug.txt')
    return root


def test_voc_config_on_a_miniature(voc_root, tmp_path):
    """comformer_voc_15-5.py, whose background is not learned; then evaluated in windows."""
    work_dir = tmp_path / 'run'
    request = small_request('comformer_voc_15-5.py', voc_root, work_dir)
    driver.run(request)
    summary = runs.read_summary(work_dir)
    assert [len(entry['classes']) for entry in summary['steps']] == [15, 5]
    assert 'background' not in summary['class_order']
    names = (voc_root / 'ImageSets' / 'Segmentation' / 'train.txt').read_text().split()
    folder = voc_root / 'SegmentationClassAug'
    of_images = [set(np.unique(Image.open(folder / f'{name}.png')).tolist()) for name in names]
    assert [entry['train_images'] for entry in summary['steps']] == [
        sum(not labels.isdisjoint(step) for labels in of_images)
        for step in (range(1, 16), range(16, 21))
    ]
    assert 'background' in summary['steps'][0]['per_class']
    assert set(summary['steps'][1]['metrics']) >= {'mIoU', 'mAcc', 'mIoU_foreground'}
    check_steps(work_dir, [15, 5])

    checkpoint = str(work_dir / 'step1' / f'iter_{ITERS}.pth')
    whole = evaluate(request, checkpoint)
    assert whole['continual/mIoU'] == pytest.approx(summary['steps'][1]['metrics']['mIoU']['all'])
    slide = {'mode': 'slide', 'crop_size': (32, 32), 'stride': (16, 16)}
    options = {f'model.test_cfg.{key}': value for key, value in slide.items()}
    request = small_request('comformer_voc_15-5.py', voc_root, work_dir, **options)
    windows = evaluate(request, checkpoint)
    assert set(windows) == set(whole)
    assert 0 <= windows['continual/mIoU'] <= 100
