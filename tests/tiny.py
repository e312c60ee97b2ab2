"""A model small enough to build in a test, from the configuration of the embedded benchmark."""

from pathlib import Path

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample

import mmcomformer.components  # noqa: F401  (registers)

CONFIGS = Path(__file__).parent.parent / 'configs'

THINGS, STUFF = ('cat', 'dog', 'fox'), ('sky', 'sea')
CAT, DOG, FOX, SKY, SEA = range(5)
# learned as sky, cat | sea, fox | dog: the labels 3, 0 | 4, 2 | 1
SCENARIO = dict(
    increments=[2, 2, 1],
    thing_classes=list(THINGS),
    stuff_classes=list(STUFF),
    class_order=['sky', 'cat', 'sea', 'fox', 'dog'],
)
LEARNING_TO_LABEL = [SKY, CAT, SEA, FOX, DOG]
SIGMOID = dict(
    mask_activation=dict(type='QuerySigmoid'),
    loss_mask=dict(type='SigmoidMaskLoss'),
    loss_dice=dict(type='SigmoidDiceLoss'),
)


def model_config(step=1, *, scenario=None, match_cost='HarmonicMatchCost', **head):
    """Return the model's config; ``head`` replaces settings of the panoptic head."""
    config = Config.fromfile(CONFIGS / '_base_' / 'models' / 'comformer_tiny.py').model
    config.panoptic_head.update(scenario={**(scenario or SCENARIO), 'step': step}, **head)
    config.panoptic_head.num_queries = 8
    config.train_cfg.update(num_points=40, match_cost=dict(type=match_cost))
    return config


def build_model(step=1, **head):
    """Build and initialise the detector."""
    torch.manual_seed(step)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(model_config(step, **head))
    model.init_weights()
    return model


def build_head(step=1, **head):
    """Build and initialise the head alone, with large logits as after some training."""
    torch.manual_seed(step)
    config = model_config(step, **head)
    cfg = {**config.panoptic_head, 'train_cfg': config.train_cfg, 'test_cfg': config.test_cfg}
    with DefaultScope.overwrite_default_scope('mmdet'):
        built = MODELS.build(Config(cfg)._cfg_dict)
    built.init_weights()
    return built


def features(batch=2, seed=0):
    """Backbone features of images of 64 x 64."""
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(batch, channels, size, size, generator=generator)
        for channels, size in ((32, 16), (64, 8), (128, 4), (256, 2))
    ]


def samples(*labels, size=64):
    """Data samples with one random rectangle, which may overlap others, for each dataset label."""
    rng = np.random.default_rng(0)
    result = []
    for of_image in labels:
        masks = np.zeros((len(of_image), size, size), np.uint8)
        for mask in masks:
            top, left = rng.integers(0, size // 2, 2)
            mask[top : top + size // 2, left : left + size // 3] = 1
        sample = DetDataSample(
            metainfo=dict(
                img_shape=(size, size), ori_shape=(size, size), batch_input_shape=(size, size)
            )
        )
        sample.gt_instances = InstanceData(
            labels=torch.tensor(of_image, dtype=torch.long), masks=BitmapMasks(masks, size, size)
        )
        result.append(sample)
    return result


def map_samples(*labels, size=64):
    """The same with a map in which later rectangles cover earlier ones, as they are packed."""
    result = samples(*labels, size=size)
    for sample in result:
        masks = sample.gt_instances.pop('masks').masks.astype(np.uint8)
        number = np.zeros((1, size, size), np.uint8)
        for position, mask in enumerate(masks, start=1):
            number[0, mask > 0] = position
        sample.gt_panoptic_seg = PixelData(sem_seg=torch.from_numpy(number))
    return result


SEMANTIC_SCENARIO = dict(
    increments=[2, 1, 1],
    stuff_classes=['background', 'cat', 'dog', 'sky', 'sea'],
    class_order=['sky', 'cat', 'sea', 'dog'],
    background='background',
)
"""Learned as the labels 3, 1 | 4 | 2; 0 is the background."""


def semantic_config(step=1, *, scenario=None, **head):
    """Return the segmentor's config; ``head`` replaces settings of the decode head."""
    config = Config.fromfile(CONFIGS / '_base_' / 'models' / 'comformer_tiny_semantic.py').model
    scenario = {**(scenario or SEMANTIC_SCENARIO), 'step': step}
    config.decode_head.update(scenario=scenario, num_queries=8, **head)
    config.train_cfg.update(num_points=40)
    config.data_preprocessor.update(size=(64, 64))
    return config


def build_segmentor(step=1, **head):
    """Build and initialise the segmentor."""
    torch.manual_seed(step)
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(semantic_config(step, **head))
    model.init_weights()
    return model


def build_pixel_segmentor(step=1, *, losses=None, scenario=None, **head):
    """Build and initialise the segmentor of the per-pixel baseline."""
    torch.manual_seed(step)
    scenario = {**(scenario or SEMANTIC_SCENARIO), 'step': step}
    settings = dict(
        type='PerPixelHead',
        mask_activation=dict(type='QuerySigmoid'),
        loss_cls=dict(type='PixelClassLoss', scenario=scenario),
        loss_mask=None,
        loss_dice=None,
    )
    config = semantic_config(step, scenario=scenario)
    # an update would merge them
    for key, value in {**settings, **head}.items():
        config.decode_head[key] = value
    config.train_cfg, config.extra_losses = None, losses
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(config)
    model.init_weights()
    return model


def label_samples(*maps, with_labels=True):
    """Data samples with label maps (H, W)."""
    result = []
    for label_map in maps:
        data = torch.as_tensor(label_map).long()[None]
        size = tuple(data.shape[1:])
        sample = SegDataSample(metainfo=dict(img_shape=size, ori_shape=size, pad_shape=size))
        if with_labels:
            labels = set(data.unique().tolist()) - {255}
            sample.set_metainfo(dict(gt_labels=tuple(sorted(labels))))
        sample.gt_sem_seg = PixelData(data=data)
        result.append(sample)
    return result
