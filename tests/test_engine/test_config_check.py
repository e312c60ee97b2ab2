"""Mistakes in a config: one line that names the key, before anything is built."""

from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope
from small_runs import CONFIG

from mmcomformer.engine.arguments import arguments
from mmcomformer.engine.config_check import check_config
from mmcomformer.engine.request import Request, load_config

pytestmark = pytest.mark.families

SEMANTIC = CONFIG.replace('shapes', 'shapes_semantic')
INSTANCES = CONFIG.replace('shapes_6-3', 'shapes_instances_6-2')
HEAD = 'model.panoptic_head'
DATA = 'train_dataloader.dataset'
GONE = object()


@pytest.fixture(scope='module')
def configs():
    return {path: load_config(Request(config=path), 0) for path in (CONFIG, SEMANTIC, INSTANCES)}


def changed(cfg, key, value):
    """Return a copy of a config with another value of a key; of lists, an index is a part."""
    copied = Config(cfg.to_dict())
    node = copied._cfg_dict
    *parents, last = (int(part) if part.isdigit() else part for part in key.split('.'))
    for part in parents:
        node = node[part]
    if value is GONE:
        del node[last]
    else:
        node[last] = value
    return copied


MISTAKES = [
    # unknown keys
    ('model.backbone.depht', 50, 'model.backbone.depht: ResNet has no such', 'depth'),
    ('model.backbone.norm_cfg.epsilon', 1, 'model.backbone.norm_cfg.epsilon: ', None),
    (f'{HEAD}.num_querys', 9, f'{HEAD}.num_querys: ComFormerHead has no such', 'num_queries'),
    (f'{HEAD}.loss_clss', {}, f'{HEAD}.loss_clss: ComFormerHead has no such', 'loss_cls'),
    (f'{HEAD}.loss_mask.weight', 5, f'{HEAD}.loss_mask.weight: ', None),
    (f'{HEAD}.pixel_decoder.num_out', 5, f'{HEAD}.pixel_decoder.num_out: ', 'num_outs'),
    ('model.test_cfg.object_mask_threshold', 1, 'model.test_cfg.obj', 'object_mask_thr'),
    ('model.test_cfg.iou_thresh', 1, 'model.test_cfg.iou_thresh: nothing reads it', 'iou_thr'),
    ('model.train_cfg.num_point', 1, 'model.train_cfg.num_point: nothing reads', 'num_points'),
    ('model.data_preprocessor.men', 1, 'model.data_preprocessor.men: ', 'mean'),
    ('optim_wrapper.optimiser', {}, 'optim_wrapper.optimiser: OptimWrapper has', 'optimizer'),
    ('optim_wrapper.optimizer.weight_deacy', 0.1, 'optim_wrapper.opt', 'weight_decay'),
    (
        'val_evaluator.type',
        'IncrementalInstanceMetric',
        'val_evaluator.type: IncrementalInstanceMetric is for instance models, and this one is pan',
        None,
    ),
    ('train_cfg.max_iter', 3, 'train_cfg.max_iter: IterBasedTrainLoop has no', 'max_iters'),
    ('train_dataloader.batchsize', 3, 'train_dataloader.batchsize: nothing', 'batch_size'),
    ('train_dataloader.sampler.shufle', True, 'train_dataloader.sampler.shufle: ', 'shuffle'),
    (f'{DATA}.image', [], f'{DATA}.image: IncrementalDataset has no such', 'images'),
    (f'{DATA}.dataset.data_rot', '', f'{DATA}.dataset.data_rot: ', 'data_root'),
    (f'{DATA}.pipeline.0.colour', 1, f'{DATA}.pipeline[0].colour: Load', None),
    ('custom_hooks.0.intervall', 1, 'custom_hooks[0].intervall: ', None),
    ('default_hooks.logger.intervall', 1, 'default_hooks.logger.intervall: ', 'interval'),
    ('randomness.sead', 1, 'randomness.sead: nothing reads it', 'seed'),
    ('env_cfg.cudnn_benchmak', 1, 'env_cfg.cudnn_benchmak: nothing', 'cudnn_benchmark'),
    ('val_evaluator.clases', 1, 'val_evaluator.clases: ', None),
    ('optim_wrapper.paramwise_cfg.backbone_lr_mul', 1, 'optim_wrapper.p', 'backbone_lr_mult'),
    ('optim_wrapper.clip_grad.maxnorm', 1, 'optim_wrapper.clip_grad.maxnorm: ', 'max_norm'),
    (
        f'{HEAD}.transformer_decoder.num_layer',
        3,
        f'{HEAD}.transformer_decoder.num_layer: nothing reads it',
        'num_layers',
    ),
    (
        f'{HEAD}.transformer_decoder.layer_cfg.self_attn_cfg.num_head',
        3,
        f'{HEAD}.transformer_decoder.layer_cfg.self_attn_cfg.num_head: nothing reads it',
        'num_heads',
    ),
    ('auto_scale_lr.enabled', True, 'auto_scale_lr.enabled: nothing reads it', 'enable'),
    # unknown names, and none
    ('optim_wrapper.constructor', 'Contin', 'optim_wrapper.constructor: nothing is called', None),
    ('model.data_preprocessor.type', GONE, 'model.data_preprocessor: it has no type', None),
    ('default_hooks.logger.type', GONE, 'default_hooks.logger: it has no type', None),
    ('model.type', 'ComFormr', "model.type: nothing is called 'ComFormr'", None),
    ('model.backbone.type', 'ResNett', 'model.backbone.type: nothing is called', 'ResNet'),
    (f'{HEAD}.loss_dice.type', 'DiceLos', f'{HEAD}.loss_dice.type: nothing', 'DiceLoss'),
    ('optim_wrapper.optimizer.type', 'AdmW', 'optim_wrapper.optimizer.type: ', 'AdamW'),
    (f'{DATA}.type', 'IncrementDataset', f'{DATA}.type: ', 'IncrementalDataset'),
    (f'{DATA}.pipeline.2.type', 'Resise', f'{DATA}.pipeline[2].type: ', 'Resize'),
    ('custom_hooks.0.type', 'SumaryHook', 'custom_hooks[0].type: ', 'SummaryHook'),
    ('train_cfg.type', 'IterTrainLoop', 'train_cfg.type: nothing is called', None),
    ('model.backbone.type', GONE, 'model.backbone: it has no type', None),
    (f'{HEAD}.type', GONE, f'{HEAD}: it has no type', None),
    ('optim_wrapper.optimizer.type', GONE, 'optim_wrapper.optimizer: it has no type', None),
    (f'{DATA}.pipeline.0.type', GONE, f'{DATA}.pipeline[0]: it has no type', None),
    ('custom_hooks.0.type', GONE, 'custom_hooks[0]: it has no type', None),
    # values
    ('default_hooks.logger', 'LoggerHook', 'default_hooks.logger: expected a dict with', None),
    ('custom_hooks.0.score_thr', 'x', 'custom_hooks[0].score_thr: expected a number', None),
    ('auto_scale_lr.base_batch_size', 0, 'auto_scale_lr.base_batch_size: expected an', None),
    ('model.train_cfg', [], 'model.train_cfg: expected a dict, got []', None),
    ('model.backbone.depth', 17, 'model.backbone: it cannot be built as it is (invalid', None),
    ('optim_wrapper.optimizer.lr', '1e-4', 'optim_wrapper.optimizer.lr: expected a num', None),
    ('model.backbone', 'ResNet', "model.backbone: expected a dict, got 'ResNet'", None),
    ('model.backbone', None, 'model.backbone: expected a dict, got None', None),
    ('optim_wrapper.optimizer', 'AdamW', 'optim_wrapper.optimizer: expected a dict', None),
    (f'{DATA}.pipeline.1', 'Resize', f'{DATA}.pipeline[1]: expected a dict with a type', None),
    ('custom_hooks.0', None, 'custom_hooks[0]: expected a dict with a type, got None', None),
    ('optim_wrapper.clip_grad', 1, 'optim_wrapper.clip_grad: expected a dict', None),
    ('optim_wrapper.optimizer.lr', -1, 'optim_wrapper.optimizer: it cannot be built', None),
    ('randomness.seed', '0', "randomness.seed: expected a number (int) or None, got '0'", None),
    ('train_dataloader.batch_size', 0, 'train_dataloader.batch_size: expected an integer', None),
    ('train_dataloader.num_workers', -1, 'train_dataloader.num_workers: expected an int', None),
    (f'{HEAD}.num_queries', 0, f'{HEAD}.num_queries: expected an integer of at least 1', None),
    (f'{HEAD}.num_queries', '20', f'{HEAD}.num_queries: expected a', None),
    ('train_cfg.max_iters', 1.5, 'train_cfg.max_iters: expected an integer', None),
    (
        f'{HEAD}.feat_channels',
        '64',
        f"{HEAD}.feat_channels: expected a number (int), got '64'",
        None,
    ),
    (
        f'{HEAD}.in_channels',
        [64, 128, 256, 512],
        f'{HEAD}.in_channels: expected [32, 64, 128, 256], which model.backbone gives',
        None,
    ),
    # types of settings that no class takes
    ('custom_hooks', 'x', "custom_hooks: expected a list or None, got 'x'", None),
    ('optim_wrapper', None, 'optim_wrapper: expected a dict, got None', None),
    ('train_cfg', None, 'train_cfg: expected a dict, got None', None),
    ('train_dataloader', None, 'train_dataloader: expected a dict, got None', None),
    ('val_evaluator', None, 'val_evaluator: it is missing, and val_dataloader and', None),
    ('default_hooks', [], 'default_hooks: expected a dict, got []', None),
    ('randomness', 3, 'randomness: expected a dict, got 3', None),
    ('log_level', 'SHOUT', "log_level: expected 'CRITICAL' or 'ERROR' or", None),
    ('work_dir', 3, 'work_dir: expected a text or None, got 3', None),
    ('load_from', 3, 'load_from: expected a text or None, got 3', None),
    ('env_cfg.mp_cfg.threads', 1, 'env_cfg.mp_cfg.threads: nothing reads it', None),
    ('env_cfg.mp_cfg.mp_start_method', 'f', "env_cfg.mp_cfg.mp_start_method: expected 'fo", None),
    ('env_cfg.dist_cfg.timeouts', 1, 'env_cfg.dist_cfg.timeouts: nothing', 'timeout'),
    ('default_hooks.loger', {}, 'default_hooks.loger: no hook is known by', 'logger'),
    ('default_hooks.logger.priority', 'SOON', 'default_hooks.logger.priority: expected', None),
    ('model.test_cfg.iou_thr', '0.5', 'model.test_cfg.iou_thr: expected a number', None),
    ('model.train_cfg.num_points', 0, 'model.train_cfg.num_points: expected an integer', None),
    ('optim_wrapper.loss_scale', 'x', 'optim_wrapper.loss_scale: expected a number or', None),
    # those of arguments
    ('train_dataloader.persistent_workers', 'yes', 'train_dataloader.persistent_w', None),
    (DATA, None, f'{DATA}: expected a dict, got None', None),
    (f'{DATA}.pipeline', None, f'{DATA}.pipeline: expected a list, got None', None),
    (f'{DATA}.pipeline', [], f'{DATA}.pipeline: expected at least one transform', None),
    (f'{HEAD}.loss_cls', None, f'{HEAD}.loss_cls: expected a dict, got None', None),
    (f'{HEAD}.loss_cls', 'CE', f"{HEAD}.loss_cls: expected a dict, got 'CE'", None),
    (f'{HEAD}.pixel_decoder', None, f'{HEAD}.pixel_decoder: expected a dict, got None', None),
    (
        f'{HEAD}.pixel_decoder.encoder.num_layers',
        '3',
        f"{HEAD}.pixel_decoder.encoder.num_layers: expected a number (int), got '3'",
        None,
    ),
    (
        f'{HEAD}.transformer_decoder.num_layers',
        0,
        f'{HEAD}.transformer_decoder.num_layers: expected an integer of at least 1, got 0',
        None,
    ),
    ('optim_wrapper.optimizer.lr', None, 'optim_wrapper.optimizer.lr: expected a number', None),
    ('optim_wrapper.optimizer.betas', 0.9, 'optim_wrapper.optimizer.betas: expected a l', None),
    # what only building shows
    ('optim_wrapper.optimizer.betas', [0.9], 'optim_wrapper.optimizer: it cannot be', None),
    ('model.backbone.depth', '18', 'model.backbone: it cannot be built as it is (inv', None),
    (
        f'{HEAD}.feat_channels',
        63,
        f'{HEAD}.pixel_decoder: it cannot be built as it is (num_channels',
        None,
    ),
    ('test_evaluator.num_base', 0, 'test_evaluator: it cannot be built as it is (num_base: ', None),
    (f'{HEAD}.num_transformer_feat_level', 9, f'{HEAD}: it cannot be built as it is (A', None),
]


@pytest.mark.parametrize(('key', 'value', 'expected', 'meant'), MISTAKES)
def test_mistake(configs, key, value, expected, meant):
    with pytest.raises(ValueError, match=': ') as error:
        check_config(changed(configs[CONFIG], key, value))
    message = str(error.value)
    assert message.startswith(expected)
    assert '\n' not in message
    assert meant is None or message.endswith(f'; did you mean {meant}?')


@pytest.mark.parametrize('wrapped', [False, True])
@pytest.mark.parametrize(
    ('name', 'dataset', 'found', 'task'),
    [
        (INSTANCES, 'CocoPanopticDataset', 'panoptic', 'instance segmentation .*instance_on'),
        (CONFIG, 'CocoDataset', 'instance', 'panoptic segmentation .*panoptic_on'),
        (SEMANTIC, 'mmdet.CocoDataset', 'instance', 'semantic segmentation .model.decode_head'),
    ],
)
def test_data_of_another_task(configs, name, dataset, found, task, wrapped):
    cfg = changed(configs[name], f'{DATA}.dataset', {'type': dataset, 'data_root': 'x'})
    key = f'{DATA}.dataset'
    if wrapped:
        inner = cfg.train_dataloader.dataset.to_dict()
        cfg = changed(cfg, DATA, {'type': 'mmengine.RepeatDataset', 'times': 2, 'dataset': inner})
        key += '.dataset'
    message = rf'^{key}\.type: {dataset.split(".")[-1]} is read as {found} data, .* for {task}'
    with pytest.raises(ValueError, match=message):
        check_config(cfg)


@pytest.mark.parametrize(
    ('key', 'value', 'expected'),
    [
        ('model.decode_head.num_querys', 9, r'model\.decode_head\.num_querys: .*num_queries\?'),
        ('model.test_cfg.mod', 'whole', r'model\.test_cfg\.mod: nothing reads it; .*mode\?'),
        ('model.decode_head.in_channels', [1, 2, 3, 4], 'decode_head.in_channels: expected .32'),
        (f'{DATA}.dataset.img_sufix', '.png', 'img_sufix: Shapes.* has no .*img_suffix'),
    ],
)
def test_mistake_of_a_semantic_config(configs, key, value, expected):
    with pytest.raises(ValueError, match=expected):
        check_config(changed(configs[SEMANTIC], key, value))


def test_metric_of_instances_that_cannot_be(configs):
    with pytest.raises(ValueError, match=r'^val_evaluator: it cannot be built .*ignore_unseen: AP'):
        check_config(changed(configs[INSTANCES], 'val_evaluator.ignore_unseen', True))


def test_loading_checks(tmp_path):
    options = {'model.backbone.depht': 50}
    with pytest.raises(ValueError, match='^model.backbone.depht: .* did you mean depth?'):
        load_config(Request(config=CONFIG, cfg_options=options, work_dir=str(tmp_path)), 0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ('backbone', 'channels'),
    [
        (dict(type='SwinTransformer', embed_dims=96, depths=(1, 1, 1, 1)), [96, 192, 384, 768]),
        (dict(type='mmdet.ResNeXt', depth=50, groups=32, base_width=4), [256, 512, 1024, 2048]),
        (
            dict(type='PyramidVisionTransformerV2', embed_dims=32, num_layers=[2, 2, 2, 2]),
            [32, 64, 160, 256],
        ),
    ],
)
def test_channels_of_stock_backbones(configs, backbone, channels):
    cfg = changed(configs[CONFIG], 'model.backbone', backbone)
    cfg.model.panoptic_head.in_channels = channels
    check_config(cfg)
    cfg.model.panoptic_head.in_channels = [channels[0] + 1, *channels[1:]]
    with pytest.raises(ValueError, match=rf'in_channels: expected \[{channels[0]}, '):
        check_config(cfg)


def test_a_backbone_that_shapes_alone_do_not_run(configs):
    dcn = dict(type='DCNv2', deform_groups=1, fallback_on_stride=False)
    stages = (False, True, True, True)
    backbone = dict(type='ResNet', depth=50, stage_with_dcn=stages, dcn=dcn)
    cfg = changed(configs[CONFIG], 'model.backbone', backbone)
    cfg.model.panoptic_head.in_channels = [256, 512, 1024, 2048]
    check_config(cfg)


@pytest.mark.parametrize('key', [DATA, f'{DATA}.dataset'])
def test_values_of_no_class_pass(configs, key):
    check_config(changed(configs[SEMANTIC], f'{key}.ignore_values', [11]))


def test_other_schedules_pass(configs):
    schedule = [
        dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=5),
        dict(type='CosineAnnealingLR', T_max=9, by_epoch=True, convert_to_iter_based=True),
    ]
    check_config(changed(configs[CONFIG], 'param_scheduler', schedule))
    check_config(changed(configs[CONFIG], 'default_hooks.logger', None))


def test_keywords_that_a_class_reads_itself():
    class Reads:
        def __init__(self, one=1, **kwargs):
            self.two = kwargs.get('two')

    class Passes(Reads):
        def __init__(self, three, **kwargs):
            super().__init__(**kwargs)

    found = arguments(Passes)
    assert list(found.parameters) == ['three', 'one']
    assert found.is_open


def test_right_values_pass(configs):
    for key, value in {
        'custom_hooks.0.priority': 'LOW',
        'default_hooks.logger.priority': 30,
        'default_hooks.mine': dict(type='EmptyCacheHook'),
        'optim_wrapper.loss_scale': 512.0,
        'optim_wrapper.clip_grad': None,
        'env_cfg.dist_cfg.timeout': 60,
        'model.backbone.norm_eval': 1,
        'param_scheduler': None,
        'visualizer.vis_backends': [],
    }.items():
        check_config(changed(configs[CONFIG], key, value))


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ("a = dict(b=1)\nc = a['d']", r"^config .*mine\.py: it cannot be read \(KeyError: 'd'\)$"),
        ("custom_imports = dict(imports=['no.where'])", r'mine\.py: it cannot be read .*no.where'),
        ("_base_ = ['shapes.py']\ndefault_scope = 'mmdett'", 'default_scope: .*did you mean mmdet'),
        ("_base_ = ['shapes.py']\nwork_dir = 3", 'work_dir: expected a text or None, got 3'),
        ("_base_ = ['shapes.py']\ncustom_hooks = None\ntrain_cfg = None", 'train_cfg: expected a '),
    ],
)
def test_mistake_in_a_file(tmp_path, text, expected):
    (tmp_path / 'shapes.py').write_text(f'_base_ = [{str(Path(CONFIG).resolve())!r}]')
    (tmp_path / 'mine.py').write_text(text)
    with pytest.raises(ValueError, match=expected):
        load_config(Request(config=str(tmp_path / 'mine.py')), 0)


@pytest.mark.parametrize('increments', [3, ['a'], [6, 0], [6.5, 3]])
def test_increments_that_are_no_counts(increments):
    options = {'scenario.increments': increments}
    with pytest.raises(TypeError, match=r'^scenario\.increments: expected a list of class counts'):
        load_config(Request(config=CONFIG, cfg_options=options), 0)


def test_a_dumped_config_passes(configs, tmp_path):
    configs[CONFIG].dump(tmp_path / 'a.py')
    check_config(Config.fromfile(tmp_path / 'a.py'))


def test_draws_no_random_number(configs):
    import torch

    with DefaultScope.overwrite_default_scope('mmdet'):
        before = torch.get_rng_state()
        check_config(configs[CONFIG])
    assert torch.equal(before, torch.get_rng_state())
