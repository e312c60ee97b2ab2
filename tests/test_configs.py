"""Every config at every step: it parses, agrees with itself, and every kind of model builds."""

import copy
import functools
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.datasets import CityscapesDataset, CocoPanopticDataset
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmseg.datasets import ADE20KDataset, PascalVOCDataset

from mmcomformer.dataset_converters.cityscapes import cityscapes_categories
from mmcomformer.engine.launch import prepare_device
from mmcomformer.engine.request import Request, load_config
from mmcomformer.engine.scenario_config import find_scenarios, scenario_of
from mmcomformer.palette import distinct_palette
from mmcomformer.registry import DATASETS, HOOKS, METRICS, MODELS, TRANSFORMS, VISUALIZERS
from mmcomformer.scenario import Scenario
from mmcomformer.tasks import task_of

pytestmark = [pytest.mark.families, pytest.mark.usefixtures('scope')]

CONFIGS = Path(__file__).parents[1] / 'configs'
LEAVES = sorted(path.name for path in CONFIGS.glob('*.py'))
NUM_STEPS = {
    'balconpas_replay_ade_100-10.py': 6,
    'balconpas_replay_ade_100-5.py': 11,
    'balconpas_replay_ade_100-50.py': 2,
    'balconpas_replay_ade_semantic_100-10.py': 6,
    'balconpas_replay_ade_semantic_100-5.py': 11,
    'balconpas_replay_ade_semantic_100-50.py': 2,
    'balconpas_replay_shapes_4-1.py': 9,
    'balconpas_replay_shapes_6-3.py': 3,
    'balconpas_replay_shapes_semantic_4-1.py': 9,
    'balconpas_replay_shapes_semantic_6-3.py': 3,
    'balconpas_shapes_4-1.py': 9,
    'balconpas_shapes_semantic_4-1.py': 9,
    'balconpas_voc_15-1.py': 6,
    'balconpas_voc_15-5.py': 2,
    'balconpas_replay_voc_15-1.py': 6,
    'balconpas_replay_voc_15-5.py': 2,
    'eclipse_shapes_4-1.py': 9,
    'eclipse_shapes_semantic_4-1.py': 9,
    'eclipse_voc_15-1.py': 6,
    'eclipse_voc_15-5.py': 2,
    'simcis_shapes_4-1.py': 9,
    'simcis_shapes_semantic_4-1.py': 9,
    'simcis_voc_15-1.py': 6,
    'simcis_voc_15-5.py': 2,
    'comformer_ade_instances_50-50.py': 2,
    'comformer_ade_instances_50-10.py': 6,
    'comformer_ade_instances_50-5.py': 11,
    'comformer_coco_instances_40-40.py': 2,
    'comformer_coco_instances_40-20.py': 3,
    'comformer_shapes_instances_6-2.py': 2,
    'finetune_shapes_instances_6-2.py': 2,
    'joint_shapes_instances_6-2.py': 1,
    'mask2former_shapes_6-3.py': 1,
    'mask2former_shapes_4-1.py': 1,
    'balconpas_ade_100-50.py': 2,
    'balconpas_ade_100-10.py': 6,
    'balconpas_ade_100-5.py': 11,
    'balconpas_ade_semantic_100-50.py': 2,
    'balconpas_ade_semantic_100-10.py': 6,
    'balconpas_ade_semantic_100-5.py': 11,
    'balconpas_shapes_6-3.py': 3,
    'balconpas_shapes_semantic_6-3.py': 3,
    'simcis_ade_100-50.py': 2,
    'simcis_ade_100-10.py': 6,
    'simcis_ade_100-5.py': 11,
    'simcis_ade_semantic_100-50.py': 2,
    'simcis_ade_semantic_100-10.py': 6,
    'simcis_ade_semantic_100-5.py': 11,
    'simcis_shapes_6-3.py': 3,
    'simcis_shapes_semantic_6-3.py': 3,
    'comformer_ade_100-50.py': 2,
    'comformer_ade_100-10.py': 6,
    'comformer_ade_100-5.py': 11,
    'comformer_ade_50-50.py': 3,
    'comformer_ade_50-10.py': 11,
    'comformer_ade_50-20.py': 6,
    'comformer_ade_100-50_order-b.py': 2,
    'comformer_ade_100-50_swin-t.py': 2,
    'comformer_coco_83-5.py': 11,
    'comformer_coco_83-10.py': 6,
    'comformer_cityscapes_14-5.py': 2,
    'comformer_custom.py': 2,
    'comformer_custom_semantic.py': 2,
    'comformer_custom_instances.py': 2,
    'comformer_shapes_6-3.py': 3,
    'finetune_shapes_6-3.py': 3,
    'joint_shapes_6-3.py': 1,
    'mib_shapes_6-3.py': 3,
    'plop_shapes_6-3.py': 3,
    'eclipse_shapes_6-3.py': 3,
    'eclipse_shapes_semantic_6-3.py': 3,
    'eclipse_ade_100-50.py': 2,
    'eclipse_ade_100-10.py': 6,
    'eclipse_ade_100-5.py': 11,
    'eclipse_ade_semantic_100-50.py': 2,
    'eclipse_ade_semantic_100-10.py': 6,
    'eclipse_ade_semantic_100-5.py': 11,
    'comformer_shapes_4-1.py': 9,
    'finetune_shapes_4-1.py': 9,
    'joint_shapes_4-1.py': 1,
    'mib_shapes_4-1.py': 9,
    'plop_shapes_4-1.py': 9,
    'comformer_ade_semantic_100-50.py': 2,
    'comformer_ade_semantic_100-10.py': 6,
    'comformer_ade_semantic_100-5.py': 11,
    'comformer_ade_semantic_50-50.py': 3,
    'comformer_ade_semantic_100-50_swin-t.py': 2,
    'comformer_voc_19-1.py': 2,
    'comformer_voc_15-5.py': 2,
    'comformer_voc_15-1.py': 6,
    'comformer_voc_10-1.py': 11,
    'comformer_voc_19-1_disjoint.py': 2,
    'comformer_voc_15-5_disjoint.py': 2,
    'comformer_voc_15-1_disjoint.py': 6,
    'comformer_voc_10-1_disjoint.py': 11,
    'comformer_voc_15-5_swin-t.py': 2,
    'comformer_shapes_semantic_6-3.py': 3,
    'finetune_shapes_semantic_6-3.py': 3,
    'joint_shapes_semantic_6-3.py': 1,
    'comformer_shapes_semantic_4-1.py': 9,
    'finetune_shapes_semantic_4-1.py': 9,
    'joint_shapes_semantic_4-1.py': 1,
}
_QUERIES, _PIXELS = ('finetune', 'mib', 'plop'), ('per_pixel', 'per_pixel_mib', 'per_pixel_plop')
_STEPS = {'100-50': 2, '100-10': 6, '100-5': 11, '15-5': 2, '15-1': 6}
BASELINES = {
    **{f'{method}_ade_{name}.py': _STEPS[name] for method in _QUERIES for name in [*_STEPS][:3]},
    **{
        f'{method}_ade_semantic_{name}.py': _STEPS[name]
        for method in (*_QUERIES, *_PIXELS)
        for name in [*_STEPS][:3]
    },
    **{
        f'{method}_voc_{name}.py': _STEPS[name]
        for method in (*_QUERIES, *_PIXELS)
        for name in [*_STEPS][3:]
    },
    **{f'{method}_shapes_semantic_6-3.py': 3 for method in ('mib', 'plop', *_PIXELS)},
    **{f'{method}_shapes_semantic_4-1.py': 9 for method in ('mib', 'plop', *_PIXELS)},
    **{
        f'joint_{data}_{name}.py': 1
        for data in ('ade', 'ade_semantic', 'voc')
        for name in _STEPS
        if (data == 'voc') == name.startswith('15')
    },
}
"""Configs of methods that differ from CoMFormer's in their method only."""
NUM_STEPS.update(BASELINES)
NUM_STEPS.update(
    {
        name.replace('balconpas', 'ours', 1): steps
        for name, steps in NUM_STEPS.items()
        if name.startswith('balconpas')
    }
)
_INSTANCES = (
    *('balconpas', 'balconpas_replay', 'eclipse', 'mib', 'ours', 'ours_replay', 'plop', 'simcis'),
)
NUM_STEPS.update({f'{method}_shapes_instances_6-2.py': 2 for method in _INSTANCES})


def is_semantic(name):
    return '_semantic' in name or '_voc_' in name


def method_of(name):
    """Return the key of the method of a config."""
    return next(
        method
        for method in (
            *_PIXELS[1:],
            _PIXELS[0],
            'balconpas_replay',
            'balconpas',
            'comformer',
            'eclipse',
            'joint',
            'mask2former',
            'ours_replay',
            'ours',
            'simcis',
            *_QUERIES,
        )
        if name.startswith(f'{method}_')
    )


def task_name(name):
    if is_semantic(name):
        return 'semantic'
    return 'instance' if '_instances' in name else 'panoptic'


def is_disjoint(name):
    return name.endswith('_disjoint.py')


COMFORMER = [name for name in NUM_STEPS if name.startswith('comformer_')]
RECIPES = [name for name in COMFORMER if '_ade_' in name and task_name(name) == 'panoptic']
SEMANTIC_RECIPES = [
    name
    for name in COMFORMER
    if is_semantic(name) and '_shapes_' not in name and '_custom_' not in name
]
SHAPES = {
    kind: [name for name in LEAVES if '_shapes_' in name and task_name(name) == kind]
    for kind in ('panoptic', 'semantic', 'instance')
}
NARROW = {'depth': 18, 'base_channels': 8}
"""ResNet arguments for a test that needs only the structure."""


@pytest.fixture
def scope(request):
    """The default scope of the config that the test is about, and mmdet where there is none."""
    case = getattr(request.node, 'callspec', None)
    name = case.params.get('name', '') if case else ''
    with DefaultScope.overwrite_default_scope('mmseg' if is_semantic(name) else 'mmdet'):
        yield


@functools.cache
def parse(name, step):
    """Return a config that nobody changes."""
    return load_config(Request(config=str(CONFIGS / name)), step)


def load(name, step, **options):
    if options:
        return load_config(Request(config=str(CONFIGS / name), cfg_options=options), step)
    return copy.deepcopy(parse(name, step))


def steps_of(name):
    """Return the config at its first two steps and the last one; nobody changes them.

    Those in between follow from the same settings. Of a baseline the second one is left out too:
    CoMFormer's config has the same steps.
    """
    last = NUM_STEPS[name] - 1
    steps = {0, last} if name in BASELINES else {0, min(1, last), last}
    return [parse(name, step) for step in sorted(steps)]


def head_key(name):
    return 'decode_head' if is_semantic(name) else 'panoptic_head'


def build_type(registry, type_name):
    """Look a type name up as ``registry.build`` does."""
    with registry.switch_scope_and_registry(None) as found:
        return found.get(type_name)


def test_no_config_is_forgotten():
    assert set(LEAVES) == set(NUM_STEPS)


def test_basenames_are_unique():
    # mim finds a config by its basename
    names = [path.name for path in CONFIGS.rglob('*.py')]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize('name', LEAVES)
def test_leaves_are_short(name):
    lines = (CONFIGS / name).read_text().splitlines()
    assert len([line for line in lines if line.strip() and not line.startswith('#')]) <= 12


@pytest.mark.parametrize('name', [name for name in LEAVES if method_of(name) != 'comformer'])
def test_leaves_of_a_scenario_differ_in_their_method_only(name):
    """So METHOD chooses the same in all of them, with the same numbers."""
    method = method_of(name)
    text, other = (
        re.sub(r'^#.*\n', '', (CONFIGS / file).read_text(), flags=re.MULTILINE)
        for file in (name, f'comformer{name.removeprefix(method)}')
    )
    assert text == other.replace('$METHOD:comformer', f'$METHOD:{method}')


@pytest.mark.parametrize('name', LEAVES)
def test_every_step(name):
    found = {scenario_of(cfg).step: cfg for cfg in steps_of(name)}
    assert {0, NUM_STEPS[name] - 1} <= set(found)
    for step, cfg in found.items():
        scenario = scenario_of(cfg)
        assert scenario.num_steps == NUM_STEPS[name]
        # top level, head and three datasets
        keys = {key for key, _ in find_scenarios(cfg)}
        loaders = [f'{split}_dataloader.dataset.scenario' for split in ('train', 'val', 'test')]
        # the loss that knows which classes are old
        knows = name.startswith(('mib', 'per_pixel'))
        loss = {f'model.{head_key(name)}.loss_cls.scenario'} if knows else set()
        assert keys == {'scenario', f'model.{head_key(name)}.scenario', *loaders, *loss}
        task = task_of(cfg.model)
        assert task.name == task_name(name)
        assert cfg.default_scope == task.default_scope
        assert cfg.val_evaluator.type == task.metric
        assert Path(cfg.work_dir) == Path('work_dirs') / Path(name).stem / f'step{step}'
        (schedule,) = cfg.param_scheduler
        # the released recipe would reach 0 one iteration after the last
        assert schedule.end == cfg.train_cfg.max_iters + ('shapes' not in name)
        drops = name.startswith('simcis')
        assert (schedule.type, schedule.by_epoch) == ('MultiStepLR' if drops else 'PolyLR', False)
        assert schedule.get('power', 0.9) == 0.9
        assert cfg.test_dataloader == cfg.val_dataloader
        assert cfg.test_evaluator == cfg.val_evaluator


@pytest.mark.parametrize('name', LEAVES)
def test_datasets(name):
    cfg = parse(name, NUM_STEPS[name] - 1)
    scenario = scenario_of(cfg)
    for split in ('train', 'val', 'test'):
        dataset = DATASETS.build({**cfg[f'{split}_dataloader'].dataset, 'lazy_init': True})
        assert dataset.scenario == scenario
        assert dataset.test_mode == (split != 'train')
        assert dataset.metainfo['classes'] == scenario.classes
        assert len(dataset.metainfo['palette']) == scenario.num_classes
        METRICS.build(cfg.val_evaluator).dataset_meta = dataset.metainfo


@pytest.mark.parametrize('name', LEAVES)
def test_hooks(name):
    cfg = load(name, 0)
    hooks = {
        build_type(HOOKS, hook.type).__name__: hook
        for hook in (*cfg.custom_hooks, *cfg.default_hooks.values())
    }
    hooks_of = dict.fromkeys(
        ('balconpas', 'balconpas_replay', 'comformer', 'ours', 'ours_replay', 'plop', 'simcis'),
        'PseudoLabelHook',
    )
    hooks_of['mib'] = 'TeacherHook'
    first = hooks_of.get(method_of(name).removeprefix('per_pixel_'), 'PreviousStepHook')
    assert {first, 'SummaryHook', 'SafeCheckpointHook', 'FiniteLossHook'} <= set(hooks)
    assert hooks['SafeCheckpointHook'].max_keep_ckpts == 2
    assert hooks['SafeCheckpointHook'].save_last
    assert hooks['SummaryHook'].get('task', 'panoptic') == (task_name(name))
    assert f'{"Seg" if is_semantic(name) else "Det"}VisualizationHook' in hooks
    assert build_type(VISUALIZERS, cfg.visualizer.type) is not None
    backends = [backend.type for backend in cfg.visualizer.vis_backends]
    assert backends == ['LocalVisBackend', 'TensorboardVisBackend']
    assert cfg.randomness.seed == 0


@pytest.mark.parametrize('recipe', ['released', 'fair'])
@pytest.mark.parametrize('scenario', ['100-50', '100-10', '100-5'])
@pytest.mark.parametrize('task', ['', 'semantic_'])
def test_balconpas_recipe(task, scenario, recipe, monkeypatch):
    """Its schedule and batch in its own recipe; its rule of inference in both."""
    monkeypatch.setenv('RECIPE', recipe)
    released = recipe == 'released'
    name = f'balconpas_ade_{task}{scenario}.py'
    for step in (0, 1):
        cfg = load_config(Request(config=str(CONFIGS / name)), step)
        assert scenario_of(cfg).increments == increments_of(name)
        new_classes = len(scenario_of(cfg).current_classes)
        later = (1000 if released else 400) * new_classes
        assert cfg.train_cfg.max_iters == (later if step else 160_000)
        assert cfg.optim_wrapper.optimizer.lr == (5e-5 if step else 1e-4)
        batch = 8 if released or not task else 16
        assert cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == batch
        assert cfg.custom_hooks[0].labeller == dict(
            type='MaskPseudoLabels', share='strong', score_thr=0.0, overlap_thr=0.8, memory=False
        )
        head = cfg.model[head_key(name)]
        assert head.loss_cls == dict(
            type='BalancedClassLoss', no_object_weight=0.1, loss_weight=2.0
        )
        assert cfg.model.extra_losses.token == dict(type='BacktraceDistillLoss', loss_weight=5.0)
        assert cfg.model.extra_losses.distill is None
        if task:
            assert head.semantic_fusion.type == 'ScoreSumFusion'
        else:
            assert (cfg.model.test_cfg.object_mask_thr, cfg.model.test_cfg.iou_thr) == (0.8, 0.8)


@pytest.mark.parametrize(
    ('name', 'virtual', 'power', 'temperature', 'score', 'drops'),
    [
        ('100-5', 5, 0.5, 1, 0.25, [4_250, 4_750]),
        ('100-10', 1, 0.5, None, 0.3, [8_500, 9_500]),
        ('100-50', 0, 0.25, None, 0.2, [40_000, 45_000]),
        ('semantic_100-5', 3, 0.5, 2, 0.4, [4_250, 4_750]),
        ('semantic_100-10', 1, 0.5, 4, 0.4, [8_500, 9_500]),
        ('semantic_100-50', 1, 0.25, None, 0.4, [42_500, 47_500]),
    ],
)
def test_simcis_recipe(name, virtual, power, temperature, score, drops, monkeypatch):
    """The released schedule, in its own recipe alone, and the numbers of each scenario."""
    name = f'simcis_ade_{name}.py'
    for step, milestones in ((0, [135_000, 150_000]), (1, drops)):
        cfg = load_config(Request(config=str(CONFIGS / name)), step)
        assert scenario_of(cfg).increments == increments_of(name)
        new_classes = len(scenario_of(cfg).current_classes)
        assert cfg.train_cfg.max_iters == (1000 * new_classes if step else 160_000)
        assert cfg.optim_wrapper.optimizer.lr == (5e-5 if step else 1e-4)
        (scheduler,) = cfg.param_scheduler
        assert (scheduler.type, scheduler.milestones) == ('MultiStepLR', milestones)
        assert cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == 8
        assert cfg.model.backbone.norm_cfg == dict(type='BN', requires_grad=False)
        head, weight = cfg.model[head_key(name)], 2 if is_semantic(name) else 4
        assert (head.num_virtual, head.sampling_power) == (virtual, power)
        assert (head.bank_size, head.classifier) == (80, 'growing')
        assert head.loss_cls == dict(type='ClassFocalLoss', loss_weight=weight)
        assert cfg.model.train_cfg.match_cost == dict(type='BoxMatchCost', cls_weight=weight)
        assert (head.loss_box.loss_weight, head.loss_giou.loss_weight) == (5, 2)
        select, decoder = cfg.model.extra_losses.select, cfg.model.extra_losses.get('decoder')
        assert (select.temperature, select.loss_weight) == (1, 2)
        assert (decoder and decoder.temperature) == temperature
        rule = head.semantic_fusion if is_semantic(name) else cfg.model.test_cfg
        assert (rule.object_mask_thr, rule.iou_thr) == (score, 0.8)
    monkeypatch.setenv('RECIPE', 'fair')
    fair = load_config(Request(config=str(CONFIGS / name)), 1)
    assert fair.train_cfg.max_iters == 400 * new_classes
    assert fair.param_scheduler[0].type == 'PolyLR'
    assert fair.model[head_key(name)].num_virtual == virtual


@pytest.mark.parametrize('name', RECIPES)
def test_recipe(name):
    """The hyper-parameters of CoMFormer's panoptic experiments on ADE20K."""
    for step, cfg in enumerate(steps_of(name)):
        scenario = scenario_of(cfg)
        assert len(scenario.order) == len(set(scenario.order)) == 150
        assert (
            scenario.increments
            == {
                '100-50': (100, 50),
                '100-10': (100, *[10] * 5),
                '100-5': (100, *[5] * 10),
                '50-50': (50, 50, 50),
                '50-10': (50, *[10] * 10),
                '50-20': (50, *[20] * 5),
            }[name.removesuffix('.py').split('_')[2]]
        )
        new_classes = len(scenario.current_classes)
        assert cfg.train_cfg.max_iters == (160_000 if step == 0 else 400 * new_classes)
        optimizer = cfg.optim_wrapper.optimizer
        assert optimizer.type == 'AdamW'
        assert optimizer.lr == (1e-4 if step == 0 else 5e-5)
        assert optimizer.weight_decay == 0.05
        assert cfg.optim_wrapper.clip_grad.max_norm == 0.01
        assert cfg.optim_wrapper.type == 'AmpOptimWrapper'
        head = cfg.model.panoptic_head
        assert cfg.model.extra_losses.distill.loss_weight == (5 if '100-50' in name else 10)
        assert (head.num_queries, head.transformer_decoder.num_layers) == (100, 9)
        assert (head.loss_cls.loss_weight, head.loss_mask.loss_weight) == (2, 5)
        assert head.loss_dice.loss_weight == 5
        assert (head.loss_cls.alpha, head.loss_cls.gamma) == (5, 1)
        assert cfg.model.train_cfg.num_points == 12544
        assert cfg.auto_scale_lr.base_batch_size == cfg.train_dataloader.batch_size == 8
        pipeline = {
            transform.type: transform for transform in cfg.train_dataloader.dataset.pipeline
        }
        size = pipeline['RandomCrop'].crop_size
        assert pipeline['Pad'].size == cfg.model.data_preprocessor.batch_augments[0].size == size
        for transform in cfg.train_dataloader.dataset.pipeline:
            TRANSFORMS.build(transform)


def increments_of(name):
    """Increments, as the name of a config tells them."""
    part = next(part for part in name.removesuffix('.py').split('_') if '-' in part)
    base, new = map(int, part.split('-'))
    total = 20 if '_voc_' in name else 150
    return (base, *[new] * ((total - base) // new))


@pytest.mark.parametrize('name', SEMANTIC_RECIPES)
def test_semantic_recipe(name):
    """The hyper-parameters of CoMFormer's semantic experiments on ADE20K, also used on VOC."""
    for step, cfg in enumerate(steps_of(name)):
        scenario = scenario_of(cfg)
        assert scenario.increments == increments_of(name)
        base_iters = 30_000 if '_voc_' in name else 160_000
        assert cfg.train_cfg.max_iters == (
            400 * len(scenario.current_classes) if step else base_iters
        )
        optimizer = cfg.optim_wrapper.optimizer
        assert (optimizer.type, optimizer.weight_decay) == ('AdamW', 0.05)
        assert optimizer.lr == (5e-5 if step else 1e-4)
        assert cfg.optim_wrapper.clip_grad.max_norm == 0.01
        assert cfg.optim_wrapper.type == 'AmpOptimWrapper'
        assert cfg.model.extra_losses.distill.loss_weight == (0.5 if '_100-50' in name else 10)
        assert cfg.auto_scale_lr == dict(enable=True, base_batch_size=16)
        assert cfg.train_dataloader.batch_size == 16
        if 'swin' not in name:
            backbone = cfg.model.backbone
            assert (backbone.type, backbone.depth) == ('mmdet.ResNet', 101)
            assert backbone.norm_cfg == dict(type='SyncBN', requires_grad=True)
            assert (backbone.norm_eval, backbone.frozen_stages) == (False, -1)
            assert '/resnet101-' in backbone.init_cfg.checkpoint


@pytest.mark.parametrize('name', ['comformer_ade_semantic_100-50.py', 'comformer_voc_15-5.py'])
def test_semantic_images(name):
    cfg = load(name, 1)
    assert [transform.type for transform in cfg.train_dataloader.dataset.pipeline] == [
        'LoadImageFromFile', 'LoadSemanticMap', 'RandomChoiceResize', 'RandomCrop',
        'SSDColorJitter', 'RandomFlip', 'Pad', 'PackSemanticInputs',
    ]  # fmt: skip
    pipeline = {transform.type: transform for transform in cfg.train_dataloader.dataset.pipeline}
    resize = pipeline['RandomChoiceResize']
    assert resize.scales == [int(0.1 * k * 512) for k in range(5, 21)]
    assert (resize.resize_type, resize.max_size) == ('ResizeShortestEdge', 2048)
    size = pipeline['RandomCrop'].crop_size
    assert size == pipeline['Pad'].size == cfg.model.data_preprocessor.size == (512, 512)
    assert pipeline['Pad'].pad_val == dict(img=128, seg=255)
    assert cfg.model.data_preprocessor.seg_pad_val == 255
    resize = cfg.test_dataloader.dataset.pipeline[1]
    assert (resize.type, resize.scale, resize.keep_ratio) == ('Resize', (2048, 512), True)
    for part in (cfg.train_dataloader.dataset.pipeline, cfg.test_dataloader.dataset.pipeline):
        for transform in part:
            TRANSFORMS.build(transform)


@pytest.mark.parametrize(
    ('name', 'side'), [('comformer_ade_semantic_100-50.py', 512), (SHAPES['semantic'][0], 96)]
)
def test_variants_of_test_time_augmentation(name, side):
    cfg = load(name, 1)
    assert build_type(MODELS, cfg.tta_model.type).__name__ == 'ContinualSegTTAModel'
    load_image, variants = (TRANSFORMS.build(transform) for transform in cfg.tta_pipeline)
    assert type(load_image).__name__ == 'LoadImageFromFile'
    results = dict(
        img=np.zeros((side, side, 3), np.uint8), img_shape=(side, side), ori_shape=(side, side)
    )
    samples = variants(results)['data_samples']
    sizes = [int(side * ratio) for ratio in (0.5, 0.75, 1, 1.25, 1.5, 1.75)]
    assert [sample.img_shape for sample in samples] == [(n, n) for n in sizes for _ in range(2)]
    assert [sample.flip for sample in samples] == [False, True] * 6


@pytest.mark.parametrize('name', [name for name in LEAVES if is_disjoint(name)])
def test_disjoint_differs_in_its_setting_only(name):
    ours, theirs = load(name, 1), load(name.replace('_disjoint', ''), 1)
    assert scenario_of(ours).setting == 'disjoint'
    for _, scenario in find_scenarios(theirs):
        scenario['setting'] = 'disjoint'
    theirs.work_dir, theirs.derived = ours.work_dir, ours.derived
    assert ours.to_dict() == theirs.to_dict()


@pytest.mark.parametrize(
    ('name', 'dataset'),
    [
        ('comformer_ade_semantic_100-50.py', ADE20KDataset),
        ('comformer_voc_15-5.py', PascalVOCDataset),
    ],
)
def test_semantic_classes_are_those_of_mmseg(name, dataset):
    cfg = load(name, 0)
    scenario = scenario_of(cfg)
    assert scenario.classes == tuple(dataset.METAINFO['classes'])
    assert scenario.thing_classes == ()
    metainfo = DATASETS.build({**cfg.train_dataloader.dataset, 'lazy_init': True}).metainfo
    given = [tuple(colour) for colour in dataset.METAINFO['palette']]
    assert metainfo['palette'] == distinct_palette(given, len(given))
    # in the dataset's order, and without VOC's background
    first = 'voc' in name
    assert scenario.order == scenario.classes[first:]
    assert scenario.background == ('background' if first else None)
    assert metainfo['reduce_zero_label'] != first


def test_things_of_shapes_alone_are_split():
    found = {
        name: parse(f'{name}.py', 0).model.test_cfg.get('split_share')
        for name in (
            'ours_shapes_6-3',
            'ours_replay_shapes_4-1',
            'ours_ade_100-50',
            'balconpas_shapes_6-3',
        )
    }
    assert list(found.values()) == [0.1, 0.1, None, None]


def test_thresholds_of_mask2former():
    rule = parse('mask2former_shapes_6-3.py', 0).model.test_cfg
    assert (rule.object_mask_thr, rule.iou_thr) == (0.8, 0.8)


_JOINT = ('joint', 'mask2former')
_SIGMOID = ('balconpas', 'eclipse', 'mask2former', 'ours', 'simcis')
# what a method may change in its head
_OF_METHOD = (
    'type', 'scenario', 'mask_activation', 'loss_cls', 'loss_mask', 'loss_dice',
    'new_from_no_object', 'semantic_fusion',
)  # fmt: skip


@pytest.mark.parametrize(
    'name', [*BASELINES, *(name for names in SHAPES.values() for name in names)]
)
def test_methods_are_comparable(name):
    """The same network and data for all, and as many iterations in all."""
    ours = f'comformer{name.removeprefix(method_of(name))}'
    reference = {cfg.step: cfg for cfg in steps_of(ours)}
    if name.startswith(_JOINT):
        every = [parse(ours, step) for step in range(NUM_STEPS[ours])]
        total = sum(cfg.train_cfg.max_iters for cfg in every)
        assert parse(name, 0).train_cfg.max_iters == total
    for cfg in steps_of(name):
        models = [config.model.to_dict() for config in (cfg, reference[0])]
        for model in models:
            head = model[head_key(name)]
            model[head_key(name)] = {k: v for k, v in head.items() if k not in _OF_METHOD}
            if 'eclipse' in name or 'simcis' in name:
                # a head of its own, on the same backbone, pixel decoder and transformer
                shared = ('pixel_decoder', 'transformer_decoder', 'num_queries', 'in_channels')
                model[head_key(name)] = {key: head[key] for key in shared}
                model.pop('freeze', None)
            del model['extra_losses'], model['train_cfg']
            if name.startswith(('balconpas', 'mask2former', 'ours', 'simcis')):
                # they have thresholds of their own
                model['test_cfg'] = model['test_cfg'].keys() & {'panoptic_on', 'mode'}
        assert models[0] == models[1]
        if not name.startswith(_JOINT):
            assert cfg.train_cfg == reference[cfg.step].train_cfg
        assert cfg.train_dataloader.batch_size == reference[0].train_dataloader.batch_size
        assert (
            cfg.train_dataloader.dataset.pipeline == reference[0].train_dataloader.dataset.pipeline
        )
        assert cfg.optim_wrapper == reference[cfg.step].optim_wrapper
        assert scenario_of(cfg).order == scenario_of(reference[0]).order
        # only with a teacher
        distils = cfg.model.extra_losses.distill is not None
        assert distils == name.startswith(('comformer', 'mib'))
        assert cfg.train_dataloader.dataset.get('mark_hidden', False) == name.startswith(
            'per_pixel'
        )
        # sigmoid masks have a matching cost of their own
        if not name.startswith((*_SIGMOID, 'per_pixel')):
            assert cfg.model.train_cfg == reference[0].model.train_cfg


@pytest.mark.parametrize('name', [name for name in LEAVES if name.startswith(_JOINT)])
def test_joint_training_is_scored_as_the_scenario(name):
    """Its groups are those of the steps, though it learns all classes in one."""
    cfg = parse(name, 0)
    increments = scenario_of(parse(f'comformer{name.removeprefix(method_of(name))}', 0)).increments
    assert scenario_of(cfg).increments == (sum(increments),)
    base = increments[0]
    assert cfg.val_evaluator.num_base == cfg.test_evaluator.num_base == base


@pytest.mark.parametrize(
    ('name', 'base', 'prompts', 'iters', 'rate', 'deltas'),
    [
        ('ade_100-50', (100, 160_000), 50, 80_000, 5e-4, [-0.4, -0.6]),
        ('ade_100-10', (100, 160_000), 10, 16_000, 5e-4, [0.4, 0.5]),
        ('ade_100-5', (100, 160_000), 10, 12_000, 5e-4, [0.4, 0.6]),
        ('ade_50-50', (50, 80_000), 50, 120_000, 5e-4, [0.5, -0.4, -0.4]),
        ('ade_50-20', (50, 80_000), 20, 32_000, 5e-4, [0.4, 0.5]),
        ('ade_50-10', (50, 80_000), 10, 24_000, 5e-4, [0.4, 0.5]),
        ('ade_semantic_100-50', (100, 160_000), 50, 120_000, 1e-3, [0.0, -0.1]),
        ('ade_semantic_100-10', (100, 160_000), 10, 24_000, 1e-3, [0.1, 0.7]),
        ('ade_semantic_100-5', (100, 160_000), 5, 12_000, 1e-3, [0.1, 0.8]),
        ('coco_83-5', (100, 240_000), 10, 8_000, 5e-4, [0.5, 0.6]),
        ('coco_83-10', (100, 240_000), 10, 32_000, 5e-4, [0.5, 0.6]),
    ],
)
def test_eclipse_recipe(name, base, prompts, iters, rate, deltas, monkeypatch):
    """Those of its table, though some scenarios have no config of ECLIPSE's own."""
    monkeypatch.setenv('METHOD', 'eclipse')
    name = f'comformer_{name}.py'
    for step in (0, 1):
        cfg = load_config(Request(config=str(CONFIGS / name)), step)
        head = cfg.model[head_key(name)]
        assert (head.num_prompts, head.deltas, head.class_weights) == (prompts, deltas, (2, 10))
        assert (head.loss_cls.type, head.loss_cls.alpha, head.loss_cls.gamma) == (
            'SigmoidFocalClassLoss',
            5,
            1,
        )
        assert (head.num_queries, cfg.train_cfg.max_iters) == (base[0], iters if step else base[1])
        assert cfg.optim_wrapper.optimizer.lr == (rate if step else 1e-4)
        assert cfg.model.extra_losses.distill is None
    monkeypatch.setenv('RECIPE', 'fair')
    fair = load_config(Request(config=str(CONFIGS / name)), 1)
    head = fair.model[head_key(name)]
    assert (head.num_queries, head.num_prompts, head.deltas) == (100, prompts, 0.5)
    new_classes = len(scenario_of(fair).current_classes)
    assert fair.train_cfg.max_iters == 400 * new_classes


@pytest.mark.parametrize(
    ('split', 'increments', 'iters'),
    [('6-3', (6, 3, 3), [1000, 500, 500]), ('4-1', (4, *[1] * 8), [1000, *[200] * 8])],
)
def test_splits_of_shapes(split, increments, iters):
    for name in (f'comformer_shapes_{split}.py', f'comformer_shapes_semantic_{split}.py'):
        steps = [parse(name, step) for step in range(NUM_STEPS[name])]
        assert {scenario_of(cfg).increments for cfg in steps} == {increments}
        assert [cfg.train_cfg.max_iters for cfg in steps] == iters
    joint = parse(f'joint_shapes_{split}.py', 0)
    assert (joint.train_cfg.max_iters, joint.val_evaluator.num_base) == (sum(iters), increments[0])


@pytest.mark.parametrize(('split', 'num_steps'), [('6-3', 3), ('4-1', 9)])
def test_shapes_are_learned_alike_in_both_tasks(split, num_steps):
    for step in range(num_steps):
        panoptic = load(f'comformer_shapes_{split}.py', step)
        semantic = load(f'comformer_shapes_semantic_{split}.py', step)
        a, b = scenario_of(panoptic), scenario_of(semantic)
        assert (a.order, a.classes, a.increments) == (b.order, b.classes, b.increments)
        assert b.thing_classes == ()
        # later steps of the semantic one learn at half the rate
        rates = [cfg.optim_wrapper.optimizer.pop('lr') for cfg in (panoptic, semantic)]
        assert rates == [1e-3, 5e-4 if step else 1e-3]
        for key in ('train_cfg', 'optim_wrapper', 'param_scheduler', 'auto_scale_lr'):
            assert panoptic[key] == semantic[key]
        heads = panoptic.model.panoptic_head, semantic.model.decode_head
        for head in heads:
            for key in ('scenario', 'type'):
                head.pop(key)
        assert heads[0] == heads[1]
        assert panoptic.model.backbone == semantic.model.backbone


def check_model(cfg):
    """Build model and optimizer wrapper, and check what depends on the step."""
    prepare_device(cfg, launcher='none')
    scenario = scenario_of(cfg)
    model = MODELS.build(cfg.model)
    classifier = model.mask_head.cls_embed
    logits = classifier(torch.zeros(1, cfg.model[model.head_name].feat_channels))
    no_object = model.mask_head.class_activation.has_no_object
    assert logits.shape[-1] == scenario.num_seen + no_object
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    optimized = {id(p) for group in wrapper.optimizer.param_groups for p in group['params']}
    assert optimized == {id(p) for p in model.parameters() if p.requires_grad}
    return model


def kind_of(name):
    """Tell what a model is made of, but for its classes and numbers of the losses."""
    cfg = parse(name, 0)
    model = cfg.model.to_dict()
    del model['data_preprocessor']
    for _, scenario in find_scenarios(model):
        scenario.clear()
    for loss in filter(None, model['extra_losses'].values()):
        loss.pop('loss_weight', None)
        loss.pop('temperature', None)
    for key in ('num_prompts', 'deltas', 'num_virtual', 'sampling_power'):
        model[head_key(name)].pop(key, None)
    (model.get('test_cfg') or {}).pop('object_mask_thr', None)
    return json.dumps(model, sort_keys=True) + str(cfg.custom_hooks[-1].method)


def narrow(name):
    """Return options that keep the structure of a model and leave little of its size."""
    head = f'model.{head_key(name)}'
    if 'shapes' in name:
        return {}
    options = {f'model.backbone.{key}': value for key, value in NARROW.items()}
    channels = [8, 16, 32, 64]
    if 'swin' in name:
        options = {'model.backbone.embed_dims': 12, 'model.backbone.depths': [1, 1, 1, 1]}
        channels = [12, 24, 48, 96]
    layers = ('pixel_decoder.encoder', 'transformer_decoder')
    more = {f'{head}.{key}.num_layers': 1 for key in layers}
    return {**options, **more, f'{head}.in_channels': channels}


KINDS = [
    'comformer_ade_100-50.py',
    'comformer_ade_100-50_swin-t.py',
    'comformer_ade_instances_50-50.py',
    'comformer_shapes_instances_6-2.py',
    'finetune_shapes_instances_6-2.py',
    'joint_shapes_instances_6-2.py',
    *(f'{method}_shapes_instances_6-2.py' for method in _INSTANCES),
    'comformer_ade_semantic_100-50.py',
    'comformer_ade_semantic_100-50_swin-t.py',
    'comformer_shapes_6-3.py',
    'comformer_shapes_semantic_6-3.py',
    'finetune_shapes_6-3.py',
    'finetune_shapes_semantic_6-3.py',
    'joint_shapes_6-3.py',
    'joint_shapes_semantic_6-3.py',
    'mib_shapes_6-3.py',
    'plop_shapes_6-3.py',
    *(name for name in BASELINES if name.endswith('shapes_semantic_6-3.py')),
    'eclipse_shapes_6-3.py',
    'eclipse_shapes_semantic_6-3.py',
    'eclipse_ade_100-50.py',
    'eclipse_ade_semantic_100-50.py',
    'simcis_voc_15-5.py',
    'balconpas_ade_100-50.py',
    'balconpas_ade_semantic_100-50.py',
    'balconpas_replay_ade_100-50.py',
    'balconpas_replay_ade_semantic_100-50.py',
    'balconpas_replay_shapes_6-3.py',
    'balconpas_replay_shapes_semantic_6-3.py',
    'balconpas_shapes_6-3.py',
    'balconpas_shapes_semantic_6-3.py',
    'mask2former_shapes_6-3.py',
    'ours_ade_100-50.py',
    'ours_ade_semantic_100-50.py',
    'ours_replay_ade_100-50.py',
    'ours_replay_ade_semantic_100-50.py',
    'ours_replay_shapes_6-3.py',
    'ours_replay_shapes_semantic_6-3.py',
    'ours_shapes_6-3.py',
    'ours_shapes_semantic_6-3.py',
    'simcis_ade_100-5.py',
    'simcis_ade_100-10.py',
    'simcis_ade_semantic_100-5.py',
    'simcis_ade_semantic_100-50.py',
    'simcis_shapes_6-3.py',
    'simcis_shapes_semantic_6-3.py',
]


def test_every_kind_of_model_is_built():
    # the network of a baseline is that of the others, see test_methods_are_comparable
    names = [name for name in LEAVES if name not in BASELINES or 'shapes' in name]
    assert {kind_of(name) for name in KINDS} == {kind_of(name) for name in names}
    assert len({kind_of(name) for name in KINDS}) == len(KINDS)


@pytest.mark.parametrize('name', KINDS)
def test_model_builds(name, monkeypatch):
    # a machine without an accelerator, wherever the test runs
    monkeypatch.setattr('mmcomformer.engine.launch.get_device', lambda: 'cpu')
    for step in range(min(2, NUM_STEPS[name])):
        check_model(load(name, step, **narrow(name)))


@pytest.mark.parametrize(
    ('name', 'millions'),
    [
        ('comformer_ade_100-50.py', 44),
        ('comformer_ade_100-50_swin-t.py', 47),
        ('comformer_ade_semantic_100-50.py', 63),
    ],
)
def test_full_model_builds(name, millions, monkeypatch):
    """In its real size; pretrained weights are fetched when a training begins, not here."""
    monkeypatch.setattr('mmcomformer.engine.launch.get_device', lambda: 'cpu')
    cfg = load(name, 1)
    model = check_model(cfg)
    assert sum(p.numel() for p in model.parameters()) // 10**6 == millions
    assert cfg.model.backbone.init_cfg.checkpoint.startswith('https://')


def test_amp_falls_back_on_the_cpu(monkeypatch, capsys):
    monkeypatch.setattr('mmcomformer.engine.launch.get_device', lambda: 'cpu')
    cfg = load('comformer_ade_100-50.py', 0)
    prepare_device(cfg, launcher='none')
    assert cfg.optim_wrapper.type == 'OptimWrapper'
    assert 'loss_scale' not in cfg.optim_wrapper


@pytest.mark.parametrize('step', [None, 0, 1])
@pytest.mark.parametrize('name', ['comformer_ade_100-50.py', 'comformer_voc_15-5.py'])
def test_stock_programs_read_the_step_from_the_environment(name, step, monkeypatch):
    monkeypatch.delenv('STEP', raising=False)
    if step is not None:
        monkeypatch.setenv('STEP', str(step))
    cfg = Config.fromfile(CONFIGS / name)
    assert scenario_of(cfg).step == (step or 0)
    assert Path(cfg.work_dir).name == f'step{step or 0}'
    assert DefaultScope.get_current_instance().scope_name == cfg.default_scope


def test_a_checkpoint_of_step_0_serves_all_scenarios_with_its_classes():
    base = {
        name: Scenario.from_config(load(name, 0).scenario).base_classes
        for name in RECIPES
        if '_100-' in name
    }
    # but for another order of the classes
    order_b = base.pop('comformer_ade_100-50_order-b.py')
    assert len(base) == 4
    assert len(set(base.values())) == 1
    assert set(order_b) != set(base['comformer_ade_100-50.py'])


@pytest.mark.parametrize('setting', ['disjoint', 'sequential', 'partitioned'])
def test_the_setting_is_chosen_by_one_variable(setting, monkeypatch):
    # one for each base
    names = COMFORMER
    names = [*{(CONFIGS / name).read_text().split("'")[1]: name for name in names}.values()]
    names = [name for name in names if not is_disjoint(name) and 'swin' not in name]
    assert len(names) == 14
    assert {scenario_of(parse(name, 0)).setting for name in names} == {'overlap'}
    monkeypatch.setenv('SETTING', setting)
    request = [Request(config=str(CONFIGS / name)) for name in names]
    # scenario_of compares all copies
    assert {scenario_of(load_config(one, 0)).setting for one in request} == {setting}


def test_an_unknown_setting_is_refused(monkeypatch):
    monkeypatch.setenv('SETTING', 'overlapping')
    request = Request(config=str(CONFIGS / 'comformer_ade_100-50.py'))
    with pytest.raises(ValueError, match=r"expected one of .*'overlap'.* got 'overlapping'"):
        load_config(request, 0)


# fmt: off
ECLIPSE_ORDER = [
    1, 3, 10, 47, 58, 9, 88, 16, 126, 120, 17, 129, 35, 119, 59, 57, 54, 90, 75, 38, 80, 48, 131,
    56, 95, 25, 43, 2, 68, 110, 32, 14, 29, 11, 7, 52, 83, 102, 84, 73, 5, 45, 117, 93, 87, 46, 118,
    34, 61, 19, 77, 111, 63, 98, 130, 66, 79, 97, 33, 86, 127, 104, 64, 49, 36, 6, 91, 50, 112, 8,
    65, 132, 92, 27, 122, 22, 51, 85, 115, 28, 89, 70, 62, 12, 101, 108, 125, 123, 39, 81, 20, 40,
    41, 114, 128, 74, 18, 99, 100, 60, 30, 124, 69, 37, 13, 23, 116, 55, 26, 121, 71, 67, 106, 133,
    42, 107, 105, 109, 82, 103, 76, 94, 24, 15, 78, 53, 21, 96, 72, 113, 44, 31, 4,
]
# fmt: on


@pytest.mark.parametrize(
    ('name', 'increments'),
    [('83-5', (83, *[5] * 10)), ('83-10', (83, *[10] * 5))],
)
def test_coco_protocol(name, increments):
    """ECLIPSE's splits, in the class order "c" of its configs, which counts classes from 1."""
    scenario = scenario_of(load(f'comformer_coco_{name}.py', 0))
    classes = CocoPanopticDataset.METAINFO['classes']
    assert scenario.increments == increments
    assert scenario.classes == classes
    assert scenario.order == tuple(classes[number - 1] for number in ECLIPSE_ORDER)


def test_cityscapes_classes():
    scenario = scenario_of(load('comformer_cityscapes_14-5.py', 1))
    assert scenario.thing_classes == CityscapesDataset.METAINFO['classes']
    assert scenario.current_classes == ('truck', 'bus', 'train', 'motorcycle', 'bicycle')
    names = {category['name'] for category in cityscapes_categories()}
    assert names == set(scenario.classes)


@pytest.mark.parametrize('name', ['coco_83-5', 'cityscapes_14-5', 'custom', 'custom_instances'])
def test_crop_and_padding_agree(name):
    cfg = load(f'comformer_{name}.py', 0)
    pipeline = {transform.type: transform for transform in cfg.train_dataloader.dataset.pipeline}
    width, height = pipeline['RandomCrop'].crop_size
    assert pipeline['Pad'].size == (width, height)
    assert cfg.model.data_preprocessor.batch_augments[0].size == (height, width)


@pytest.mark.parametrize('name', sorted(name for name in LEAVES if '_instances' in name))
def test_instances_do_not_compete_for_pixels(name):
    model = load(name, 0).model
    head = model.panoptic_head
    found = (head.mask_activation.type, head.loss_mask.type, head.loss_dice.type)
    assert found == ('QuerySigmoid', 'SigmoidMaskLoss', 'SigmoidDiceLoss')
    # which reads softmax masks
    assert model.train_cfg.match_cost.type != 'HarmonicMatchCost'
