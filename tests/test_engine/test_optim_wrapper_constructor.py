"""Parameter groups, counted by hand on a small model."""

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

import mmcomformer.components  # noqa: F401  (registers)


class PixelDecoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.level_encoding = nn.Embedding(3, 4)
        self.conv = nn.Conv2d(2, 2, 1)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2), nn.Conv2d(2, 2, 1))
        self.backbone[2].requires_grad_(False)
        self.pixel_decoder = PixelDecoder()
        self.query_feat = nn.Embedding(5, 4)
        self.norm = nn.LayerNorm(4)
        self.linear = nn.Linear(4, 4)


def groups_of(model, **paramwise):
    wrapper = build_optim_wrapper(
        model,
        {
            'constructor': 'ContinualOptimWrapperConstructor',
            'optimizer': {'type': 'AdamW', 'lr': 1.0, 'weight_decay': 0.5},
            'paramwise_cfg': paramwise,
        },
    )
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        (group['lr'], group['weight_decay']): {names[id(p)] for p in group['params']}
        for group in wrapper.optimizer.param_groups
    }


def test_default_groups():
    assert groups_of(Model()) == {
        (0.1, 0.5): {'backbone.0.weight', 'backbone.0.bias'},
        (0.1, 0.0): {'backbone.1.weight', 'backbone.1.bias'},
        (1.0, 0.5): {
            # a plain parameter in the released program: it decays
            'pixel_decoder.level_encoding.weight',
            'pixel_decoder.conv.weight',
            'pixel_decoder.conv.bias',
            'linear.weight',
            'linear.bias',
        },
        (1.0, 0.0): {'query_feat.weight', 'norm.weight', 'norm.bias'},
    }


def test_factors_are_read():
    groups = groups_of(Model(), backbone_lr_mult=1.0, norm_decay_mult=1.0, embed_decay_mult=1.0)
    assert set(groups) == {(1.0, 0.5)}


def test_unknown_key():
    with pytest.raises(ValueError, match=r"paramwise_cfg: unknown keys \['custom_keys'\]"):
        groups_of(Model(), custom_keys={})


def test_wrapped_model():
    class Wrapper(nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module = module

    from mmengine.registry import MODEL_WRAPPERS

    MODEL_WRAPPERS.register_module(module=Wrapper, name='TestWrapper', force=True)
    wrapper = build_optim_wrapper(
        Wrapper(Model()),
        {
            'constructor': 'ContinualOptimWrapperConstructor',
            'optimizer': {'type': 'SGD', 'lr': 1.0},
        },
    )
    assert len(wrapper.optimizer.param_groups) == 4
    assert isinstance(wrapper.optimizer, torch.optim.SGD)
