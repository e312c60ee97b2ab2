"""The recipe of the released program, read off what a config builds (docs/fidelity.md)."""

from collections import Counter
from pathlib import Path

import pytest
import torch
from mmengine.model import BaseDataPreprocessor
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS, DefaultScope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import nn

from mmcomformer.engine.hooks.previous_step_hook import find_hooks
from mmcomformer.engine.hooks.teacher_hook import TeacherHook
from mmcomformer.engine.request import Request, load_config
from mmcomformer.engine.scenario_config import scenario_of
from mmcomformer.registry import HOOKS, MODELS

pytestmark = [pytest.mark.families, pytest.mark.usefixtures('mmdet_scope')]

CONFIGS = Path(__file__).parents[1] / 'configs'
R50, SWIN = 'comformer_ade_100-50.py', 'comformer_ade_100-50_swin-t.py'
SEMANTIC = 'comformer_ade_semantic_100-50.py'
STEPS = {'100-50': 2, '100-10': 6, '100-5': 11, '50-50': 3}
LR, DECAY = 5e-5, 0.05


def load(name, step=1, **options):
    return load_config(Request(config=str(CONFIGS / name), cfg_options=options), step)


def optimizer_of(cfg, model):
    """Build the optimizer wrapper; its scaler needs a GPU, and its groups do not."""
    wrapper = {key: value for key, value in cfg.optim_wrapper.items() if key != 'loss_scale'}
    return build_optim_wrapper(model, {**wrapper, 'type': 'OptimWrapper'})


def settings_by_name(cfg, model):
    """Return learning rate and weight decay of each parameter that is trained."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    settings = {}
    for group in optimizer_of(cfg, model).optimizer.param_groups:
        for parameter in group['params']:
            assert names[id(parameter)] not in settings
            settings[names[id(parameter)]] = (group['lr'], group['weight_decay'])
    return settings


@pytest.fixture(scope='module')
def r50():
    """Config and model of 100-50 at step 1, in full size."""
    cfg = load(R50)
    with DefaultScope.overwrite_default_scope('mmdet'):
        return cfg, MODELS.build(cfg.model)


def expected_settings(name, without_decay):
    """The table: what each parameter has, by its name alone."""
    lr = 0.1 * LR if name.startswith('backbone.') else LR
    return pytest.approx((lr, 0.0 if without_decay(name) else DECAY))


def is_norm_of_head(name):
    # group norms of the pixel decoder, layer norms of encoder and decoder
    parts = name.split('.')
    return parts[-2] in ('gn', 'post_norm') or 'norms' in parts


EMBEDDINGS = ('query_feat', 'query_embed', 'level_embed')


def no_decay_in_head(name):
    head, _, rest = name.partition('.')
    is_embedding = rest in {f'{embedding}.weight' for embedding in EMBEDDINGS}
    return head.endswith('_head') and (is_norm_of_head(name) or is_embedding)


def test_parameter_groups_of_r50(r50):
    cfg, model = r50
    settings = settings_by_name(cfg, model)
    for name, values in settings.items():
        assert values == expected_settings(name, no_decay_in_head), name
    # frozen batch norm: no weight and no bias of it is trained
    trained = {name for name in settings if name.startswith('backbone.')}
    assert trained == {
        name for name, _ in model.named_parameters() if 'conv' in name or 'downsample.0' in name
        if name.startswith('backbone.')
    }  # fmt: skip
    assert len(trained) == 53
    assert 'backbone.conv1.weight' in trained
    # a plain parameter in the released program, an embedding in mmdet
    assert settings['panoptic_head.pixel_decoder.level_encoding.weight'] == (LR, DECAY)
    counts = Counter(settings.values())
    # 4 group norms of 2 + 1 + 1, 12 layer norms of the encoder, 28 of the decoder, 3 embeddings
    assert counts[LR, 0.0] == 2 * (5 + 12 + 27 + 1) + 3
    assert sum(counts.values()) == len(settings)


def test_every_norm_and_embedding_was_named(r50):
    _, model = r50
    found = {
        f'{name}.{part}'
        for name, module in model.panoptic_head.named_modules(prefix='panoptic_head')
        if isinstance(module, (nn.LayerNorm, nn.GroupNorm, nn.Embedding))
        for part, _ in module.named_parameters(recurse=False)
    }
    found.discard('panoptic_head.pixel_decoder.level_encoding.weight')
    named = {name for name, _ in model.named_parameters() if no_decay_in_head(name)}
    assert named == found


def test_parameter_groups_with_trainable_batch_norm():
    narrow = {
        'model.backbone.depth': 18,
        'model.backbone.base_channels': 8,
        'model.panoptic_head.in_channels': [8, 16, 32, 64],
        'model.panoptic_head.pixel_decoder.encoder.num_layers': 1,
        'model.panoptic_head.transformer_decoder.num_layers': 1,
        'model.backbone.norm_cfg.requires_grad': True,
        'model.backbone.norm_eval': False,
    }
    cfg = load(R50, **narrow)
    settings = settings_by_name(cfg, MODELS.build(cfg.model))
    norms = [name for name in settings if name.startswith('backbone') and 'bn' in name]
    norms += [name for name in settings if name.startswith('backbone') and 'downsample.1' in name]
    assert len(norms) == 2 * 20
    for name in norms:
        assert settings[name] == pytest.approx((0.1 * LR, 0.0))


def test_parameter_groups_of_swin():
    smaller = {
        'model.backbone.embed_dims': 12,
        'model.backbone.depths': [1, 1, 1, 1],
        'model.panoptic_head.in_channels': [12, 24, 48, 96],
        'model.panoptic_head.pixel_decoder.encoder.num_layers': 1,
        'model.panoptic_head.transformer_decoder.num_layers': 1,
    }
    cfg = load(SWIN, **smaller)
    settings = settings_by_name(cfg, MODELS.build(cfg.model))

    def without_decay(name):
        parts = name.split('.')
        of_backbone = parts[0] == 'backbone' and (
            parts[-2].startswith('norm') or parts[-1] == 'relative_position_bias_table'
        )
        return of_backbone or no_decay_in_head(name)

    for name, values in settings.items():
        assert values == expected_settings(name, without_decay), name
    backbone = [name for name in settings if name.startswith('backbone.')]
    assert sum('norm' in name for name in backbone) == 2 * (1 + 4 * 2 + 3 + 4)
    assert sum('relative_position_bias_table' in name for name in backbone) == 4


@pytest.fixture(scope='module')
def r101():
    """Config and model of the semantic 100-50 at step 1, with fewer channels and layers."""
    narrow = {
        'model.backbone.base_channels': 8,
        'model.decode_head.in_channels': [32, 64, 128, 256],
        'model.decode_head.pixel_decoder.encoder.num_layers': 1,
        'model.decode_head.transformer_decoder.num_layers': 1,
    }
    cfg = load(SEMANTIC, **narrow)
    with DefaultScope.overwrite_default_scope('mmseg'):
        return cfg, MODELS.build(cfg.model)


def test_parameter_groups_of_the_semantic_model(r101):
    cfg, model = r101
    settings = settings_by_name(cfg, model)
    assert set(settings) == {name for name, _ in model.named_parameters()}

    def without_decay(name):
        is_norm = name.startswith('backbone.') and ('.bn' in name or 'downsample.1' in name)
        return is_norm or no_decay_in_head(name)

    for name, values in settings.items():
        assert values == expected_settings(name, without_decay), name
    without = [name for name, (lr, decay) in settings.items() if decay == 0 and lr < LR]
    # the stem's, three in each of 33 blocks, and four on shortcuts; each has weight and bias
    assert len(without) == 2 * (1 + 3 * 33 + 4)
    assert settings['decode_head.pixel_decoder.level_encoding.weight'] == (LR, DECAY)
    assert settings['decode_head.query_feat.weight'] == (LR, 0.0)


def test_batch_norm_of_the_semantic_model(r101):
    model = r101[1].train()
    norms = [m for m in model.backbone.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert len(norms) == 104
    assert all(isinstance(m, nn.SyncBatchNorm) and m.training for m in norms)
    assert all(p.requires_grad for p in model.parameters())


def test_padding_of_the_semantic_model(r101):
    """The label map gets 255 where there is no image; at test the size becomes a multiple of 32."""
    preprocessor = r101[1].data_preprocessor
    mean, std = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])
    image = torch.zeros(3, 500, 512, dtype=torch.uint8)
    image[0] = 255
    sample = SegDataSample(gt_sem_seg=PixelData(data=torch.zeros(1, 500, 512, dtype=torch.uint8)))
    batch = preprocessor(dict(inputs=[image], data_samples=[sample]), training=True)
    assert batch['inputs'].shape == (1, 3, 512, 512)
    # images are read as BGR
    torch.testing.assert_close(
        batch['inputs'][0, :, 0, 0], (torch.tensor([0.0, 0, 255]) - mean) / std
    )
    assert not batch['inputs'][:, :, 500:].any()
    label_map = batch['data_samples'][0].gt_sem_seg.data
    assert label_map.shape == (1, 512, 512)
    assert (label_map[:, 500:] == 255).all()
    assert not label_map[:, :500].any()
    batch = preprocessor(dict(inputs=[image[:, :70, :33]], data_samples=[SegDataSample()]))
    assert batch['inputs'].shape == (1, 3, 96, 64)


@pytest.mark.parametrize(('name', 'weight'), [('100-50', 0.5), ('100-10', 10), ('100-5', 10)])
def test_distillation_of_the_semantic_model(name, weight):
    cfg = load(f'comformer_ade_semantic_{name}.py')
    assert cfg.model.extra_losses.distill == dict(
        type='AdaptiveDistillLoss', unbiased=True, adaptive=True, gamma=2.0, loss_weight=weight,
    )  # fmt: skip
    (hook,) = find_hooks(cfg)
    assert (hook.score_thr, hook.overlap_thr) == (0.0, 0.5)


def test_settings_of_the_semantic_head(r101):
    head = r101[1].decode_head
    sampling = (head.num_points, head.oversample_ratio, head.importance_sample_ratio)
    assert sampling == (12544, 3.0, 0.75)
    assert type(head.match_cost).__name__ == 'HarmonicMatchCost'
    assert type(head.mask_activation).__name__ == 'QuerySoftmax'
    assert head.num_queries == 100
    rule = head.semantic_fusion
    assert (type(rule).__name__, rule.object_mask_thr, rule.iou_thr) == ('MaskBasedFusion', 0, 0)


def test_optimizer_and_clipping(r50):
    cfg, model = r50
    wrapper = optimizer_of(cfg, model)
    assert type(wrapper.optimizer) is torch.optim.AdamW
    assert wrapper.optimizer.defaults['betas'] == (0.9, 0.999)
    assert wrapper.optimizer.defaults['eps'] == 1e-8
    # of the whole model: the norm of all gradients together
    assert wrapper.clip_func is torch.nn.utils.clip_grad_norm_
    assert wrapper.clip_grad_kwargs == {'max_norm': 0.01, 'norm_type': 2}
    assert cfg.optim_wrapper.type == 'AmpOptimWrapper'


@pytest.mark.parametrize('step', [0, 1])
def test_learning_rate_of_each_iteration(step):
    cfg = load(R50, step)
    base, max_iters = (1e-4, 160_000) if step == 0 else (5e-5, 20_000)
    assert cfg.train_cfg.max_iters == max_iters
    assert cfg.optim_wrapper.optimizer.lr == base
    # shorter than the real one, which takes minutes
    scale = 1000
    (schedule,) = cfg.param_scheduler
    assert schedule.end == max_iters + 1
    optimizer = torch.optim.AdamW([nn.Parameter(torch.zeros(1))], lr=base)
    scheduler = PARAM_SCHEDULERS.build(
        {**schedule, 'end': scale + 1}, default_args=dict(optimizer=optimizer)
    )
    for iteration in range(scale):
        expected = base * (1 - iteration / scale) ** 0.9
        assert optimizer.param_groups[0]['lr'] == pytest.approx(expected, rel=1e-9)
        optimizer.step()
        scheduler.step()
    # the last value is not 0
    assert expected == pytest.approx(base * 0.001**0.9)


@pytest.mark.parametrize(('name', 'steps'), STEPS.items())
def test_iterations_and_distillation(name, steps):
    weight = {'100-50': 5, '100-10': 10, '100-5': 10, '50-50': 10}[name]
    for step in range(steps):
        cfg = load(f'comformer_ade_{name}.py', step)
        new = len(scenario_of(cfg).current_classes)
        assert cfg.train_cfg.max_iters == (400 * new if step else 160_000)
        assert cfg.optim_wrapper.optimizer.lr == (5e-5 if step else 1e-4)
        assert cfg.model.extra_losses.distill == dict(
            type='AdaptiveDistillLoss', unbiased=True, adaptive=True, gamma=2.0,
            loss_weight=weight,
        )  # fmt: skip
        (hook,) = find_hooks(cfg)
        assert (hook.score_thr, hook.overlap_thr) == (0.0, 0.5)
        # it starts the student from step t-1
        assert issubclass(HOOKS.get(hook.type), TeacherHook)


def test_model_settings(r50):
    cfg, model = r50
    head = model.panoptic_head
    sampling = (head.num_points, head.oversample_ratio, head.importance_sample_ratio)
    assert sampling == (12544, 3.0, 0.75)
    assert type(head.match_cost).__name__ == 'HarmonicMatchCost'
    weights = (head.loss_cls.loss_weight, head.loss_mask.loss_weight, head.loss_dice.loss_weight)
    assert weights == (2, 5, 5)
    assert (head.loss_cls.alpha, head.loss_cls.gamma) == (5, 1)
    assert type(head.mask_activation).__name__ == 'QuerySoftmax'
    assert (head.num_queries, head.num_transformer_decoder_layers) == (100, 9)
    assert len(head.pixel_decoder.encoder.layers) == 6
    thresholds = model.panoptic_fusion_head.test_cfg
    assert (thresholds.object_mask_thr, thresholds.iou_thr) == (0, 0)
    model.train()
    norms = [m for m in model.backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 53
    assert not any(m.training for m in norms)
    assert not any(p.requires_grad for m in norms for p in m.parameters())
    # no other part of the backbone is frozen
    assert all(p.requires_grad for n, p in model.backbone.named_parameters() if 'conv' in n)


def test_training_images(r50):
    cfg, _ = r50
    pipeline = {transform.type: transform for transform in cfg.train_dataloader.dataset.pipeline}
    assert list(pipeline) == [
        'LoadImageFromFile', 'LoadPanopticIdMap', 'RandomChoiceResize', 'RandomCrop',
        'SSDColorJitter', 'RandomFlip', 'Pad', 'PackContinualInputs',
    ]  # fmt: skip
    resize = pipeline['RandomChoiceResize']
    assert resize.scales == [int(0.1 * k * 640) for k in range(5, 21)]
    assert (resize.resize_type, resize.max_size) == ('ResizeShortestEdge', 2560)
    assert pipeline['RandomCrop'].crop_size == pipeline['Pad'].size == (640, 640)
    assert pipeline['Pad'].pad_val == dict(img=128, seg=0)
    assert pipeline['RandomFlip'].prob == 0.5
    assert cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == 8


def test_padding(r50):
    """Grey before normalisation in training, to the crop; zeros after it at test, to 32."""
    cfg, model = r50
    preprocessor = model.data_preprocessor
    assert isinstance(preprocessor, BaseDataPreprocessor)
    mean, std = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])
    # mmdet reads images as BGR
    image = torch.zeros(3, 640, 640, dtype=torch.uint8)
    image[:, 300:], image[0, 0, 0] = 128, 255
    batch = preprocessor(dict(inputs=[image], data_samples=None), training=True)['inputs'][0]
    torch.testing.assert_close(batch[:, 639, 0], (128 - mean) / std)
    torch.testing.assert_close(batch[:, 0, 0], (torch.tensor([0.0, 0, 255]) - mean) / std)
    assert batch.shape == (3, 640, 640)
    batch = preprocessor(dict(inputs=[image[:, :70, :33]], data_samples=None))['inputs'][0]
    assert batch.shape == (3, 96, 64)
    assert not batch[:, 70:].any()
    assert not batch[:, :, 33:].any()


def test_test_images(r50):
    cfg, _ = r50
    resize = cfg.test_dataloader.dataset.pipeline[1]
    # the short side is 640 unless the long one would exceed 2560
    assert (resize.type, resize.scale, resize.keep_ratio) == ('Resize', (2560, 640), True)
