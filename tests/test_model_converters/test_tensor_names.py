"""Names of detectron2's Mask2Former, of three backbones."""

import official
import pytest
import torch

from mmcomformer.model_converters.tensor_names import is_loss_state, to_ours, to_theirs, upgrade

HEAD = 'sem_seg_head'
PREDICTOR = f'{HEAD}.predictor'
PIXEL = f'{HEAD}.pixel_decoder'

PAIRS = {
    'backbone.stem.conv1.norm.running_var': 'backbone.bn1.running_var',
    'backbone.res2.0.shortcut.weight': 'backbone.layer1.0.downsample.0.weight',
    'backbone.res2.0.shortcut.norm.bias': 'backbone.layer1.0.downsample.1.bias',
    'backbone.res4.22.conv2.weight': 'backbone.layer3.22.conv2.weight',
    'backbone.res5.2.conv3.norm.num_batches_tracked': 'backbone.layer4.2.bn3.num_batches_tracked',
    'backbone.patch_embed.proj.weight': 'backbone.patch_embed.projection.weight',
    'backbone.norm3.bias': 'backbone.norm3.bias',
    'backbone.layers.2.blocks.17.attn.qkv.weight': (
        'backbone.stages.2.blocks.17.attn.w_msa.qkv.weight'
    ),
    'backbone.layers.0.blocks.1.attn.relative_position_bias_table': (
        'backbone.stages.0.blocks.1.attn.w_msa.relative_position_bias_table'
    ),
    'backbone.layers.0.blocks.1.mlp.fc2.bias': 'backbone.stages.0.blocks.1.ffn.layers.1.bias',
    'backbone.layers.1.downsample.norm.weight': 'backbone.stages.1.downsample.norm.weight',
    f'{PIXEL}.input_proj.2.1.weight': 'panoptic_head.pixel_decoder.input_convs.2.gn.weight',
    f'{PIXEL}.transformer.level_embed': 'panoptic_head.pixel_decoder.level_encoding.weight',
    f'{PIXEL}.transformer.encoder.layers.5.norm2.weight': (
        'panoptic_head.pixel_decoder.encoder.layers.5.norms.1.weight'
    ),
    f'{PIXEL}.layer_1.norm.weight': 'panoptic_head.pixel_decoder.output_convs.0.gn.weight',
    f'{PREDICTOR}.transformer_cross_attention_layers.8.multihead_attn.in_proj_weight': (
        'panoptic_head.transformer_decoder.layers.8.cross_attn.attn.in_proj_weight'
    ),
    # cross-attention comes first
    f'{PREDICTOR}.transformer_cross_attention_layers.8.norm.bias': (
        'panoptic_head.transformer_decoder.layers.8.norms.0.bias'
    ),
    f'{PREDICTOR}.transformer_self_attention_layers.8.norm.bias': (
        'panoptic_head.transformer_decoder.layers.8.norms.1.bias'
    ),
    f'{PREDICTOR}.transformer_ffn_layers.8.norm.bias': (
        'panoptic_head.transformer_decoder.layers.8.norms.2.bias'
    ),
    f'{PREDICTOR}.input_proj.1.weight': 'panoptic_head.decoder_input_projs.1.weight',
    f'{PREDICTOR}.mask_embed.layers.2.bias': 'panoptic_head.mask_embed.4.bias',
    f'{PREDICTOR}.class_embed.cls.0.weight': 'panoptic_head.cls_embed.no_object.weight',
    f'{PREDICTOR}.class_embed.cls.1.bias': 'panoptic_head.cls_embed.steps.0.bias',
    f'{PREDICTOR}.class_embed.cls.12.bias': 'panoptic_head.cls_embed.steps.11.bias',
    # ECLIPSE's
    f'{PREDICTOR}.class_embed.cls.0.layers.1.weight': 'panoptic_head.cls_embed.no_object.2.weight',
    f'{PREDICTOR}.class_embed.cls.3.layers.2.bias': 'panoptic_head.cls_embed.steps.2.4.bias',
    f'{PREDICTOR}.prompt_feat.0.weight': 'panoptic_head.prompts.0.features.weight',
    f'{PREDICTOR}.prompt_embed.3.8.weight': 'panoptic_head.prompts.3.positions.8.weight',
    f'{PREDICTOR}.prompt_mask_embed.9.layers.1.bias': 'panoptic_head.prompts.9.mask_embed.2.bias',
}


@pytest.mark.parametrize('theirs', PAIRS)
def test_known_names(theirs):
    assert to_ours(theirs) == PAIRS[theirs]
    assert to_theirs(PAIRS[theirs]) == theirs


@pytest.mark.parametrize(
    'name',
    [
        'backbone.res6.0.conv1.weight',
        'backbone.res2.0.conv1.weight.extra',
        'xbackbone.stem.conv1.weight',
        # ECLIPSE's MLPs have three layers
        f'{PREDICTOR}.prompt_mask_embed.0.layers.3.weight',
        f'{PREDICTOR}.class_embed.cls.1.layers.3.weight',
        f'{PREDICTOR}.class_embed.weight',
    ],
)
def test_unknown_names(name):
    assert to_ours(name) is None


def test_every_name_of_the_released_checkpoint_comes_back():
    model = torch.load(official.checkpoint_path(1), weights_only=True)['model']
    ours = [to_ours(name) for name in model]
    assert None not in ours
    assert len(set(ours)) == len(ours)
    assert [to_theirs(name) for name in ours] == list(model)


def test_old_names():
    assert upgrade(f'{PREDICTOR}.static_query.weight') == f'{PREDICTOR}.query_feat.weight'
    assert upgrade(f'{HEAD}.adapter_1.norm.weight') == f'{PIXEL}.adapter_1.norm.weight'
    for name in PAIRS:
        assert upgrade(name) == name


def test_loss_state():
    assert is_loss_state('criterion.empty_weight')
    assert not is_loss_state('criterion.other')
