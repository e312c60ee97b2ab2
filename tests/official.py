"""The narrow model whose weights and outputs the released program wrote, as a config of ours."""

import json
from pathlib import Path

import numpy as np
import torch
from mmengine.registry import DefaultScope

from mmcomformer.engine.request import Request, load_config
from mmcomformer.registry import MODELS

ROOT = Path(__file__).parent / 'data' / 'golden' / 'model_tiny'
INDEX = json.loads((ROOT / 'index.json').read_text())
BASES = Path(__file__).parents[1] / 'configs' / '_base_'

SOFTMASK = ('', 'HarmonicMatchCost')
SIGMOID_HEAD = """
        mask_activation=dict(type='QuerySigmoid'),
        loss_mask=dict(type='SigmoidMaskLoss'),
        loss_dice=dict(type='SigmoidDiceLoss'),"""
SIGMOID = (SIGMOID_HEAD, 'WeightedMatchCost')

# classes 1, 3, 4, 7, 9 of the learning order are things: kinds are mixed in it
CONFIG = """
_base_ = ['{bases}/models/comformer_r50.py', '{bases}/default_runtime.py']
step = {{{{'$STEP:0'}}}}
scenario = dict(
    increments={increments},
    thing_classes=['c1', 'c3', 'c4', 'c7', 'c9'],
    stuff_classes=['c2', 'c5', 'c6', 'c8'],
    class_order=['c1', 'c2', 'c3', 'c4', 'c5', 'c6', 'c7', 'c8', 'c9'],
    step=step,
)
attention = dict(embed_dims=64, num_heads=4)
model = dict(
    data_preprocessor=dict(batch_augments=None),
    backbone={backbone},
    panoptic_head=dict(
        scenario=scenario,
        in_channels={in_channels},
        feat_channels=64,
        out_channels=32,
        num_queries=16,
        pixel_decoder=dict(
            encoder=dict(
                num_layers=2,
                layer_cfg=dict(self_attn_cfg=attention, ffn_cfg=dict(embed_dims=64)),
            ),
            positional_encoding=dict(num_feats=32),
        ),
        positional_encoding=dict(num_feats=32),
        transformer_decoder=dict(
            num_layers=3,
            layer_cfg=dict(
                self_attn_cfg=attention,
                cross_attn_cfg=attention,
                ffn_cfg=dict(embed_dims=64, feedforward_channels=128),
            ),
        ),{head}
    ),
    train_cfg=dict(match_cost=dict(type='{match_cost}')),
)
{extra}
"""
R50 = 'dict(base_channels=8, stem_channels=8, init_cfg=None)'
SWIN = """dict(
        _delete_=True, type='SwinTransformer', embed_dims=16, depths=[2, 2, 2, 2],
        num_heads=[1, 2, 2, 4], window_size=4, out_indices=(0, 1, 2, 3))"""


def write_config(
    folder,
    *,
    masks=SOFTMASK,
    backbone=R50,
    in_channels=(32, 64, 128, 256),
    increments=(6, 3),
    extra='',
    name='official_tiny.py',
):
    """Write the config of the narrow model; other arguments than the folder vary it."""
    path = Path(folder) / name
    path.write_text(
        CONFIG.format(
            bases=BASES,
            head=masks[0],
            match_cost=masks[1],
            backbone=backbone,
            in_channels=list(in_channels),
            increments=list(increments),
            extra=extra,
        )
    )
    return path


SEMANTIC_CONFIG = """
_base_ = '{panoptic}'
default_scope = 'mmseg'
default_hooks = dict(visualization=dict(type='SegVisualizationHook'))
model = dict(
    _delete_=True,
    type='ContinualEncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=_base_.model.data_preprocessor.mean,
        std=_base_.model.data_preprocessor.std,
        bgr_to_rgb=True,
        test_cfg=dict(size_divisor=32),
    ),
    backbone=_base_.model.backbone,
    decode_head=dict(
        _base_.model.panoptic_head,
        type='ComFormerSemanticHead',
        semantic_fusion=dict(type='{fusion}'),
    ),
    train_cfg=_base_.model.train_cfg,
    test_cfg=dict(mode='whole'),
)
"""


def write_semantic_config(folder, *, fusion='MaskBasedFusion', **options):
    """Write a config of the same model as a segmentor; ``options`` as for the panoptic one."""
    panoptic = write_config(folder, **options)
    path = panoptic.with_name(f'semantic_{fusion}_{panoptic.name}')
    path.write_text(SEMANTIC_CONFIG.format(panoptic=panoptic, fusion=fusion))
    return path


def checkpoint_path(step):
    """Return the file that the released program wrote."""
    return ROOT / f'official_tiny_step{step}.pth'


def image(name):
    """Return an image, (H, W, 3) uint8, RGB."""
    return np.load(next(ROOT.glob(f'image_{name}_*.npy')))


def build(config, step):
    """Build the model of a config at a step."""
    cfg = load_config(Request(config=str(config)), step)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        torch.manual_seed(step)
        return MODELS.build(cfg.model).eval()
