"""A two-step run in another class order: stuff first, disjoint. Everything agrees by name."""

import json
from collections import Counter, defaultdict

import cv2
import numpy as np
import pytest
import torch
from mmdet.apis import inference_detector, init_detector
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from small_runs import CONFIG, small_options

from mmcomformer.datasets.shapes import ShapesParameters, generate_shapes
from mmcomformer.engine import driver
from mmcomformer.engine.checkpoint import previous_checkpoint
from mmcomformer.engine.request import Request, load_config

THINGS = ['disc', 'square', 'triangle', 'ring', 'cross', 'star', 'half-disc', 'bar']
STUFF = ['stripes', 'checker', 'dots', 'waves']
ORDER = ['waves', 'dots', 'stripes', 'checker', 'bar', 'cross', 'disc', 'ring', 'star']
ORDER += ['half-disc', 'triangle', 'square']
STEPS = [ORDER[:9], ORDER[9:]]


@HOOKS.register_module()
class RecordLabelsHook(Hook):
    """Record which classes, by name, the labels of each step have."""

    seen = defaultdict(Counter)

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        classes = runner.train_dataloader.dataset.metainfo['classes']
        step = runner.cfg.scenario.step
        for sample in data_batch['data_samples']:
            self.seen[step].update(classes[label] for label in sample.gt_instances.labels.tolist())


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp('order')
    root = folder / 'shapes'
    generate_shapes(root, ShapesParameters(num_train=40, num_val=8, size=64))
    config = folder / 'order.py'
    scenario = {
        'increments': [9, 3],
        'thing_classes': THINGS,
        'stuff_classes': STUFF,
        'class_order': ORDER,
        'setting': 'disjoint',
    }
    config.write_text(
        f'_base_ = {CONFIG!r}\n'
        "step = {{'$STEP:0'}}\n"
        f'scenario = dict({scenario!r}, step=step)\n'
        'model = dict(panoptic_head=dict(scenario=scenario))\n'
        'train_dataloader = dict(dataset=dict(scenario=scenario))\n'
        'val_dataloader = dict(dataset=dict(scenario=scenario))\n'
        'test_dataloader = dict(dataset=dict(scenario=scenario))\n'
    )
    options = small_options(
        root,
        **{
            'train_cfg.max_iters': 60,
            'train_cfg.val_interval': 60,
            # so few iterations teach more at nearly the full rate
            'param_scheduler.0.end': 1000,
            'default_hooks.checkpoint.interval': 60,
            'train_dataloader.batch_size': 4,
            'auto_scale_lr.base_batch_size': 4,
            'model.panoptic_head.num_queries': 20,
            'model.train_cfg.num_points': 256,
            'randomness.seed': 1,
        },
    )
    options['custom_hooks'] = [
        {'type': 'PseudoLabelHook'},
        {'type': 'SummaryHook', 'method': 'CoMFormer'},
        {'type': 'RecordLabelsHook'},
    ]
    RecordLabelsHook.seen.clear()
    request = Request(config=str(config), work_dir=str(folder / 'run'), cfg_options=options)
    driver.run(request)
    return root, folder / 'run', request


def annotations(root, split):
    data = json.loads((root / f'annotations/panoptic_{split}.json').read_text())
    names = {category['id']: category['name'] for category in data['categories']}
    images = {image['id']: image['file_name'] for image in data['images']}
    for annotation in data['annotations']:
        segments = {s['id']: names[s['category_id']] for s in annotation['segments_info']}
        yield images[annotation['image_id']], annotation['file_name'], segments


def summary_of(run):
    return json.loads((run[1] / 'summary.json').read_text())


def test_images_of_each_step(run):
    expected = [0, 0]
    for _, _, segments in annotations(run[0], 'train'):
        present = set(segments.values())
        expected[0] += bool(present & set(STEPS[0])) and not present & set(STEPS[1])
        expected[1] += bool(present & set(STEPS[1]))
    assert [step['train_images'] for step in summary_of(run)['steps']] == expected
    assert 0 < expected[0] < 40


def test_names_of_each_step(run):
    summary = summary_of(run)
    assert summary['class_order'] == ORDER
    assert summary['setting'] == 'disjoint'
    assert [step['classes'] for step in summary['steps']] == STEPS
    assert set(summary['steps'][0]['per_class']) == set(STEPS[0])
    assert set(summary['steps'][1]['per_class']) == set(ORDER)


def test_labels_of_each_step(run):
    assert set(RecordLabelsHook.seen[0]) == set(STEPS[0])
    assert set(RecordLabelsHook.seen[1]) == set(STEPS[1])


def decode(rgb):
    return rgb.astype(np.int64) @ [1, 256, 65536]


@pytest.mark.parametrize('step', [0, 1])
def test_metrics_by_hand(run, step, monkeypatch):
    """Count matches by name from files and single predictions."""
    root, work_dir, request = run
    monkeypatch.setenv('STEP', str(step))
    checkpoint = previous_checkpoint(work_dir / f'step{step}')
    model = init_detector(load_config(request, step), str(checkpoint), device='cpu')
    classes = model.dataset_meta['classes']
    matched, truth, predicted = defaultdict(list), Counter(), Counter()
    for file_name, png, segments in annotations(root, 'val'):
        pixels = cv2.imread(str(root / 'panoptic_val' / png))[..., ::-1]
        ids = decode(pixels)
        result = inference_detector(model, str(root / 'val' / file_name))
        panoptic = result.pred_panoptic_seg.sem_seg[0].numpy()
        regions = [
            (classes[code % 1000], panoptic == code)
            for code in np.unique(panoptic)
            if code % 1000 != len(classes)
        ]
        truth.update(segments.values())
        predicted.update(name for name, _ in regions)
        for segment, name in segments.items():
            for other, region in regions:
                union = (region | (ids == segment)).sum()
                iou = (region & (ids == segment)).sum() / union
                if other == name and iou > 0.5:
                    matched[name].append(iou)
    seen = ORDER[: 9 if step == 0 else 12]
    assert set(predicted) <= set(seen)
    # a model that predicts nothing right would show nothing
    assert matched.keys() & set(STUFF)
    assert step == 0 or matched.keys() & set(THINGS)
    per_class = summary_of(run)['steps'][step]['per_class']
    for name in seen:
        hits = len(matched[name])
        total = hits + (truth[name] - hits) / 2 + (predicted[name] - hits) / 2
        expected = None if total == 0 else 100 * sum(matched[name]) / total
        assert per_class[name]['PQ'] == pytest.approx(expected), name


def test_pseudo_labels_have_old_classes_only(run):
    """What the teacher of step 0 says is learned as classes of step 0, in the same order."""
    model = init_detector(
        load_config(run[2], 1), str(previous_checkpoint(run[1] / 'step1')), device='cpu'
    )
    names = [model.dataset_meta['classes'][i] for i in model.panoptic_head.learning_to_label]
    assert names == ORDER
    logits = torch.randn(1, 3, 13)
    by_label = model.panoptic_head.to_dataset_labels(logits)
    for place, name in enumerate(ORDER):
        label = model.dataset_meta['classes'].index(name)
        assert torch.equal(by_label[..., label], logits[..., place])
