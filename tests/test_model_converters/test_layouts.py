"""The same numbers in another order."""

import pytest
import torch
from mmdet.models.layers import PatchMerging
from torch import nn
from torch.nn import functional

from mmcomformer.model_converters.layouts import (
    classifier_sizes,
    flip_colours,
    is_patch_merging,
    join_classifier,
    patch_merging_to_ours,
    patch_merging_to_theirs,
    split_classifier,
)
from mmcomformer.model_converters.tensor_names import CLASSIFIER


def merge_as_in_swin(feature, norm, reduction):
    """Swin's patch merging by its definition: 4 neighbours side by side, norm, linear layer."""
    neighbours = [feature[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
    merged = torch.cat(neighbours, dim=-1)
    merged = functional.layer_norm(merged, merged.shape[-1:], norm.weight, norm.bias)
    return reduction(merged)


def test_patch_merging_computes_the_same():
    torch.manual_seed(0)
    channels, height, width = 3, 6, 4
    norm, reduction = nn.LayerNorm(4 * channels), nn.Linear(4 * channels, 5, bias=False)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    module = PatchMerging(channels, 5)
    theirs = {
        'norm.weight': norm.weight, 'norm.bias': norm.bias, 'reduction.weight': reduction.weight
    }  # fmt: skip
    module.load_state_dict({name: patch_merging_to_ours(x) for name, x in theirs.items()})
    feature = torch.randn(2, height, width, channels)
    found, size = module(feature.flatten(1, 2), (height, width))
    assert tuple(size) == (3, 2)
    expected = merge_as_in_swin(feature, norm, reduction).flatten(1, 2)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize('shape', [(8,), (3, 12)])
def test_patch_merging_comes_back(shape):
    tensor = torch.arange(float(torch.Size(shape).numel())).view(shape)
    there = patch_merging_to_ours(tensor)
    assert not torch.equal(there, tensor)
    assert torch.equal(patch_merging_to_theirs(there), tensor)


def test_which_tensors_belong_to_a_patch_merging():
    assert is_patch_merging('backbone.stages.0.downsample.norm.weight')
    assert is_patch_merging('backbone.layers.2.downsample.reduction.weight')
    assert not is_patch_merging('backbone.layer1.0.downsample.0.weight')


def test_colours():
    weight = torch.arange(3.0).view(1, 3, 1, 1)
    assert flip_colours(weight).flatten().tolist() == [2, 1, 0]


def test_classifier_is_split_in_learning_order_with_no_object_last():
    model = {
        f'{CLASSIFIER}weight': torch.arange(6.0).view(6, 1),
        f'{CLASSIFIER}bias': torch.arange(6.0),
        'other': torch.ones(1),
    }
    assert classifier_sizes(model) == (5,)
    split = split_classifier(model, [3, 2])
    assert classifier_sizes(split) == (3, 2)
    assert split[f'{CLASSIFIER}cls.0.bias'].tolist() == [5]
    assert split[f'{CLASSIFIER}cls.1.bias'].tolist() == [0, 1, 2]
    assert split[f'{CLASSIFIER}cls.2.weight'].tolist() == [[3], [4]]
    joined = join_classifier(split)
    assert joined.keys() == model.keys()
    assert all(torch.equal(joined[name], model[name]) for name in model)


def test_no_classifier():
    assert classifier_sizes({'other': torch.ones(1)}) == ()
