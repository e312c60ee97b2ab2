"""Every config at every step: it parses, agrees with itself, and every kind of model builds."""

import copy
import functools
import json
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
from mmcomformer.registry import DATASETS, HOOKS, METRICS, MODELS, TRANSFORMS, VISUALIZERS
from mmcomformer.scenario import Scenario
from mmcomformer.tasks import task_of

pytestmark = [pytest.mark.families, pytest.mark.usefixtures('scope')]

CONFIGS = Path(__file__).parents[1] / 'configs'
LEAVES = sorted(path.name for path in CONFIGS.glob('*.py'))
NUM_STEPS = {
    'comformer_ade_instances_50-50.py': 2,
    'comformer_ade_instances_50-10.py': 6,
    'comformer_ade_instances_50-5.py': 11,
    'comformer_coco_instances_40-40.py': 2,
    'comformer_coco_instances_40-20.py': 3,
    'comformer_shapes_instances_6-2.py': 2,
    'finetune_shapes_instances_6-2.py': 2,
    'joint_shapes_instances_6-2.py': 1,
    'balconpas_ade_100-50.py': 2,
    'balconpas_ade_100-10.py': 6,
    'balconpas_ade_100-5.py': 11,
    'balconpas_ade_semantic_100-50.py': 2,
    'balconpas_ade_semantic_100-10.py': 6,
    'balconpas_ade_semantic_100-5.py': 11,
    'balconpas_shapes_6-3.py': 3,
    'balconpas_shapes_semantic_6-3.py': 3,
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


def is_semantic(name):
    return '_semantic' in name or '_voc_' in name


def task_name(name):
    if is_semantic(name):
        return 'semantic'
    return 'instance' if '_instances_' in name else 'panoptic'


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
    """Return the config at each of its steps; nobody changes them."""
    return [parse(name, step) for step in range(NUM_STEPS[name])]


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


@pytest.mark.parametrize('name', LEAVES)
def test_every_step(name):
    for step, cfg in enumerate(steps_of(name)):
        scenario = scenario_of(cfg)
        assert (scenario.step, scenario.num_steps) == (step, NUM_STEPS[name])
        # top level, head and three datasets
        keys = {key for key, _ in find_scenarios(cfg)}
        loaders = [f'{split}_dataloader.dataset.scenario' for split in ('train', 'val', 'test')]
        # the loss that knows which classes are old
        loss = {'model.panoptic_head.loss_cls.scenario'} if name.startswith('mib') else set()
        assert keys == {'scenario', f'model.{head_key(name)}.scenario', *loaders, *loss}
        task = task_of(cfg.model)
        assert task.name == task_name(name)
        assert cfg.default_scope == task.default_scope
        assert cfg.val_evaluator.type == task.metric
        assert Path(cfg.work_dir) == Path('work_dirs') / Path(name).stem / f'step{step}'
        (schedule,) = cfg.param_scheduler
        # the released recipe would reach 0 one iteration after the last
        assert schedule.end == cfg.train_cfg.max_iters + ('shapes' not in name)
        assert (schedule.type, schedule.power, schedule.by_epoch) == ('PolyLR', 0.9, False)
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
    hooks_of = dict.fromkeys(('balconpas', 'comformer', 'plop'), 'PseudoLabelHook')
    hooks_of['mib'] = 'TeacherHook'
    first = hooks_of.get(name.split('_')[0], 'PreviousStepHook')
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
    assert [tuple(colour) for colour in metainfo['palette']] == [
        tuple(colour) for colour in dataset.METAINFO['palette']
    ]
    # in the dataset's order, and without VOC's background
    first = 'voc' in name
    assert scenario.order == scenario.classes[first:]
    assert scenario.background == ('background' if first else None)
    assert metainfo['reduce_zero_label'] != first


@pytest.mark.parametrize('name', [name for names in SHAPES.values() for name in names])
def test_methods_on_shapes_are_comparable(name):
    """The same model and data for all, and as many iterations in all."""
    ours = f'comformer_{name.split("_", 1)[1]}'
    reference = [load(ours, step) for step in range(NUM_STEPS[ours])]
    steps = [load(name, step) for step in range(NUM_STEPS[name])]
    iters = [sum(cfg.train_cfg.max_iters for cfg in group) for group in (reference, steps)]
    assert iters[0] == iters[1]
    # with masks that do not compete come losses, matching and inference of their own
    of_masks = ('mask_activation', 'loss_mask', 'loss_dice', 'type', 'semantic_fusion')
    for cfg in steps:
        ours, theirs = cfg.model.to_dict(), reference[0].model.to_dict()
        for model in (ours, theirs):
            for key in ('scenario', 'loss_cls', *(of_masks if 'balconpas' in name else ())):
                model[head_key(name)].pop(key, None)
            del model['extra_losses']
            if 'eclipse' in name:
                # a head of its own, on the same backbone, pixel decoder and transformer
                head = model[head_key(name)]
                shared = ('pixel_decoder', 'transformer_decoder', 'num_queries', 'in_channels')
                model[head_key(name)] = {key: head[key] for key in shared}
                model.pop('freeze', None)
                model['train_cfg'].pop('match_cost')
            if 'balconpas' in name:
                model['train_cfg'].pop('match_cost')
                model['test_cfg'] = model['test_cfg'].keys() & {'panoptic_on', 'mode'}
        assert ours == theirs
        assert cfg.train_dataloader.batch_size == reference[0].train_dataloader.batch_size
        assert cfg.optim_wrapper.optimizer == reference[cfg.step].optim_wrapper.optimizer
        assert scenario_of(cfg).order == scenario_of(reference[0]).order
        # only with a teacher
        distils = cfg.model.extra_losses.distill is not None
        assert distils == name.startswith(('comformer', 'mib'))


@pytest.mark.parametrize(
    ('name', 'prompts', 'iters', 'rate', 'deltas'),
    [
        ('100-50', 50, 80_000, 5e-4, [-0.4, -0.6]),
        ('100-10', 10, 16_000, 5e-4, [0.4, 0.5]),
        ('100-5', 10, 12_000, 5e-4, [0.4, 0.6]),
        ('semantic_100-50', 50, 120_000, 1e-3, [0.0, -0.1]),
        ('semantic_100-10', 10, 24_000, 1e-3, [0.1, 0.7]),
        ('semantic_100-5', 5, 12_000, 1e-3, [0.1, 0.8]),
    ],
)
def test_eclipse_recipe(name, prompts, iters, rate, deltas, monkeypatch):
    name = f'eclipse_ade_{name}.py'
    for step in (0, 1):
        cfg = load(name, step)
        head = cfg.model[head_key(name)]
        assert (head.num_prompts, head.deltas, head.class_weights) == (prompts, deltas, (2, 10))
        assert (head.loss_cls.type, head.loss_cls.alpha, head.loss_cls.gamma) == (
            'SigmoidFocalClassLoss',
            5,
            1,
        )
        assert cfg.train_cfg.max_iters == (iters if step else 160_000)
        assert cfg.optim_wrapper.optimizer.lr == (rate if step else 1e-4)
        assert cfg.model.extra_losses.distill is None
    monkeypatch.setenv('RECIPE', 'fair')
    fair = load_config(Request(config=str(CONFIGS / name)), 1)
    head = fair.model[head_key(name)]
    assert (head.num_prompts, head.deltas) == (prompts, 0.5)
    new_classes = len(scenario_of(fair).current_classes)
    assert fair.train_cfg.max_iters == 400 * new_classes


@pytest.mark.parametrize(
    ('split', 'increments', 'iters'),
    [('6-3', (6, 3, 3), [1000, 500, 500]), ('4-1', (4, *[1] * 8), [1000, *[200] * 8])],
)
def test_splits_of_shapes(split, increments, iters):
    for name in (f'comformer_shapes_{split}.py', f'comformer_shapes_semantic_{split}.py'):
        steps = steps_of(name)
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
    assert logits.shape[-1] == scenario.num_seen + 1
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
        loss.pop('loss_weight')
    for key in ('num_prompts', 'deltas'):
        model[head_key(name)].pop(key, None)
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
    'eclipse_shapes_6-3.py',
    'eclipse_shapes_semantic_6-3.py',
    'eclipse_ade_100-50.py',
    'eclipse_ade_semantic_100-50.py',
    'balconpas_ade_100-50.py',
    'balconpas_ade_semantic_100-50.py',
    'balconpas_shapes_6-3.py',
    'balconpas_shapes_semantic_6-3.py',
]


def test_every_kind_of_model_is_built():
    assert {kind_of(name) for name in KINDS} == {kind_of(name) for name in LEAVES}
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
    names = [*{(CONFIGS / name).read_text().split("',")[0]: name for name in names}.values()]
    names = [name for name in names if not is_disjoint(name) and 'swin' not in name]
    assert len(names) == 13
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


@pytest.mark.parametrize('name', ['coco_83-5', 'cityscapes_14-5', 'custom'])
def test_crop_and_padding_agree(name):
    cfg = load(f'comformer_{name}.py', 0)
    pipeline = {transform.type: transform for transform in cfg.train_dataloader.dataset.pipeline}
    width, height = pipeline['RandomCrop'].crop_size
    assert pipeline['Pad'].size == (width, height)
    assert cfg.model.data_preprocessor.batch_augments[0].size == (height, width)
