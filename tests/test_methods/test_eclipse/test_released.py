"""ECLIPSE's decoder, matching, inference and start of a step, against the released program."""

import numpy as np
import pytest
import torch
from golden import PRECISIONS, Golden, assert_agrees
from mmengine.config import Config
from mmengine.registry import DefaultScope
from scipy.optimize import linear_sum_assignment

from mmcomformer.methods.eclipse import EclipseHead
from mmcomformer.methods.eclipse.no_object import manipulate_no_object
from mmcomformer.model_converters.tensor_names import to_ours
from mmcomformer.models.class_activation import ClassSigmoid, ClassSoftmax
from mmcomformer.models.growing import load_previous_step
from mmcomformer.models.matching import WeightedMatchCost
from mmcomformer.models.panoptic_fusion import fuse_panoptic
from mmcomformer.models.point_sampling import sample_shared
from mmcomformer.models.semantic_fusion import MaskBasedFusion

DECODER = Golden('decoder', 'eclipse')
INITIALISE = Golden('initialise', 'eclipse')
INFERENCE = Golden('inference', 'eclipse')
MATCHING = Golden('matching', 'eclipse')


def build_head(classes, *, prompts, queries, width, layers, heads=2, ffn=24, **more):
    """Build a head of the last step of a scenario; it has no pixel decoder of its own."""
    names = [f'class {i}' for i in range(sum(classes))]
    attention = dict(embed_dims=width, num_heads=heads, batch_first=True)
    layer = dict(
        self_attn_cfg=attention,
        cross_attn_cfg=attention,
        ffn_cfg=dict(
            embed_dims=width,
            feedforward_channels=ffn,
            num_fcs=2,
            act_cfg=dict(type='ReLU', inplace=True),
        ),
    )
    pixel_decoder = dict(
        type='mmdet.MSDeformAttnPixelDecoder',
        num_outs=3,
        norm_cfg=dict(type='GN', num_groups=2),
        act_cfg=dict(type='ReLU'),
        encoder=dict(
            num_layers=1,
            layer_cfg=dict(
                self_attn_cfg=dict(
                    embed_dims=width, num_heads=2, num_levels=3, num_points=1, batch_first=True
                ),
                ffn_cfg=dict(embed_dims=width, feedforward_channels=8, num_fcs=2),
            ),
        ),
        positional_encoding=dict(num_feats=width // 2, normalize=True),
    )
    config = dict(
        scenario=dict(
            increments=classes, thing_classes=[], stuff_classes=names, step=len(classes) - 1
        ),
        in_channels=[4, 8, 16, 32],
        feat_channels=width,
        out_channels=width,
        num_queries=queries,
        num_prompts=prompts,
        num_transformer_feat_level=3,
        enforce_decoder_input_project=False,
        pixel_decoder=pixel_decoder,
        positional_encoding=dict(num_feats=width // 2, normalize=True),
        transformer_decoder=dict(
            return_intermediate=True, num_layers=layers, layer_cfg=layer, init_cfg=None
        ),
        **more,
    )
    with DefaultScope.overwrite_default_scope('mmdet'):
        return EclipseHead(**Config(config)._cfg_dict)


TABLES = ('query_feat', 'query_embed', 'level_embed', 'prompt_feat', 'prompt_embed')


def load_released(head, golden, prefix):
    """Load the weights of a case, by the names of the released modules; return their names."""
    names = {}
    for key in golden:
        if key.startswith(f'{prefix}__w__'):
            name = key.removeprefix(f'{prefix}__w__')
            whole = f'{name}.weight' if name.startswith(TABLES) else name
            names[name] = to_ours(f'sem_seg_head.predictor.{whole}').removeprefix('panoptic_head.')
    state = {ours: golden[f'{prefix}__w__{name}'] for name, ours in names.items()}
    missing = set(head.state_dict()) - set(state)
    assert all(name.startswith('pixel_decoder.') for name in missing)
    own = {name: value for name, value in head.state_dict().items() if name in missing}
    head.load_state_dict({**state, **own})
    return names


def decoder_case(case, dtype=torch.float64):
    """Return the head of a case with its weights, its features, and the names of the weights."""
    sizes = {key: case[key] for key in ('prompts', 'queries', 'width', 'layers', 'heads', 'ffn')}
    sizes['prompts'] = max(1, sizes['prompts'])
    head = build_head(case['classes'], deltas=case['delta'], **sizes)
    names = load_released(head, DECODER, case['key_prefix'])
    head.to(dtype)
    prefix = case['key_prefix']
    mask_features = DECODER[f'{prefix}__mask_features'].to(dtype)
    memories = [DECODER[f'{prefix}__features{i}'].to(dtype) for i in range(3)]
    head._decode_pixels = lambda x: (mask_features, memories)
    return head, names


@pytest.mark.parametrize('case', DECODER.cases, ids=lambda case: case['case'])
def test_decoder(case):
    head, _ = decoder_case(case)
    inference = case['mode'] != 'train'
    if inference:
        scores, masks = head.forward([], [])
    else:
        output = head.query_output([], [])
        scores, masks = output.cls_scores, output.mask_preds
    groups = range(len(case['classes']))
    for level, (score, mask) in enumerate(zip(scores, masks, strict=True)):
        if case['mode'] == 'eval':
            sizes, deltas = head.group_sizes(groups), case['delta_used']
            score = manipulate_no_object(score, sizes, case['classes'], deltas)
        # recorded in float32
        assert_agrees(score.detach(), DECODER[f'{case["key_prefix"]}__classes{level}'], 1e-5)
        assert_agrees(mask.detach(), DECODER[f'{case["key_prefix"]}__masks{level}'], 1e-5)
    assert level == case['layers']


def test_logits_of_inference_are_manipulated():
    case = DECODER.cases[0]
    head, _ = decoder_case(case)
    scores, _ = head.forward([], [])
    by_label = head.to_dataset_labels(scores[-1])
    # classes are learned in the order of their labels here
    assert_agrees(by_label.detach(), DECODER[f'{case["key_prefix"]}__classes3'], 1e-5)


def test_gradients():
    case = next(case for case in DECODER.cases if case['mode'] == 'train')
    head, names = decoder_case(case)
    for parameter in head.parameters():
        parameter.requires_grad_(False)
    trained = {name: head.get_parameter(names[name]) for name in case['trainable']}
    for parameter in trained.values():
        parameter.requires_grad_(True)
    prefix = case['key_prefix']
    output = head.query_output([], [])
    total = 0
    for level, place in ((0, 'first'), (-1, 'last')):
        total = (
            total + (DECODER[f'{prefix}__seed_classes_{place}'] * output.cls_scores[level]).sum()
        )
        seed = DECODER[f'{prefix}__seed_masks_{place}']
        total = total + 0.1 * (seed * output.mask_preds[level]).sum()
    total.backward()
    for name, parameter in trained.items():
        assert_agrees(parameter.grad, DECODER[f'{prefix}__grad_f64__{name}'], 1e-9)
    newest = {name.removeprefix('prompts.') for name in head.newest_parameters('')}
    assert {names[name].removeprefix('prompts.') for name in case['trainable']} >= newest


def our_name(name):
    """Return what the head calls a tensor of the recorded start of a step."""
    name = name.replace('query_feat', 'query_feat.weight')
    name = name.replace('query_embed', 'query_embed.weight')
    for number in range(3):
        name = name.replace(f'.layer{number}.weight', f'.{2 * number}.weight')
        name = name.replace(f'.layer{number}.bias', f'.{2 * number}.bias')
    kind = name.split('.')[0]
    rest = name.partition('.')[2]
    if kind == 'no_object':
        return f'cls_embed.{name}'
    for theirs, ours in (
        ('class', 'cls_embed.steps.{}.{}'),
        ('prompt_feat', 'prompts.{}.features.weight'),
        ('prompt_mask', 'prompts.{}.mask_embed.{}'),
        ('prompt_embed', 'prompts.{}.positions.{}.weight'),
    ):
        if kind.startswith(theirs):
            number = int(kind.removeprefix(theirs)) - (theirs != 'class')
            return ours.format(number, rest.removeprefix('layer'))
    return name


@pytest.mark.parametrize('case', INITIALISE.cases, ids=lambda case: case['case'])
def test_start_of_a_step(case):
    sizes = {key: case[key] for key in ('prompts', 'queries', 'width', 'layers')}
    head = build_head(case['classes'], **sizes)
    prefix = case['key_prefix']
    before, after = (
        {
            our_name(key.removeprefix(f'{prefix}__{time}__')): INITIALISE[key]
            for key in INITIALISE
            if key.startswith(f'{prefix}__{time}__')
        }
        for time in ('before', 'after')
    )
    own = head.state_dict()
    newest = head.newest_parameters('') | head.cls_embed.newest_parameters('cls_embed.')
    # the checkpoint of the step before
    state = {name: before.get(name, own[name]) for name in own if name not in newest}
    load_previous_step(head, state)
    assert set(before) <= set(own)
    for name, value in after.items():
        assert_agrees(head.state_dict()[name], value, 1e-6)
        assert name in newest or torch.equal(value, before[name])
    changed = {our_name(name) for name in case['changed']}
    assert changed == newest


@pytest.mark.parametrize(('dtype', 'tolerance'), PRECISIONS)
@pytest.mark.parametrize('case', MATCHING.cases, ids=lambda case: case['case'])
def test_matching(case, dtype, tolerance):
    prefix = case['key_prefix']
    parts = ('logits', 'masks', 'labels', 'gt_masks', 'points')
    logits, masks, labels, truth, points = (MATCHING[f'{prefix}__{part}'] for part in parts)
    points = points.to(dtype)[None]
    samples = sample_shared(masks.to(dtype)[None], points)[0]
    target = sample_shared(truth.to(dtype)[None], points)[0]
    # ClassSoftmax computes in float32 always
    prob = logits.to(dtype).softmax(-1)
    torch.testing.assert_close(ClassSoftmax().probability(logits).to(dtype), prob)
    cost = WeightedMatchCost(cls_weight=case['class_weight'])(prob[:, labels], samples, target)
    assert_agrees(cost, MATCHING[f'{prefix}__cost_f64'], tolerance)
    query, column = linear_sum_assignment(cost.numpy())
    np.testing.assert_array_equal(query, MATCHING[f'{prefix}__query'].numpy())
    np.testing.assert_array_equal(column, MATCHING[f'{prefix}__target'].numpy())


@pytest.mark.parametrize('case', INFERENCE.cases, ids=lambda case: case['case'])
def test_inference(case):
    prefix, num_classes = case['key_prefix'], case['K']
    logits, masks = (INFERENCE[f'{prefix}__{part}'] for part in ('logits', 'masks'))
    # things first, as dataset labels are
    order = [*case['things'], *(c for c in range(num_classes) if c not in case['things'])]
    thresholds = case['object_threshold'], case['overlap_threshold']
    panoptic = fuse_panoptic(
        logits[:, [*order, num_classes]],
        masks.sigmoid(),
        num_things=len(case['things']),
        class_activation=ClassSigmoid(),
        score_thr=thresholds[0],
        iou_thr=thresholds[1],
    )
    expected = INFERENCE[f'{prefix}__panoptic']
    assert torch.equal(panoptic == num_classes, expected == 0)
    for segment in case['segments']:
        codes = panoptic[expected == segment['id']].unique()
        assert len(codes) == 1
        assert order[int(codes) % 1000] == segment['class']
        assert torch.equal(panoptic == codes, expected == segment['id'])
    scores = MaskBasedFusion(*thresholds)(logits, masks.sigmoid(), ClassSigmoid())
    labels = torch.where(scores.amax(0) > 0, scores.argmax(0), num_classes)
    semantic = INFERENCE[f'{prefix}__semantic']
    assert torch.equal(labels.where(labels < num_classes, -1), semantic)
