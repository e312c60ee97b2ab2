"""Numbers of the released SimCIS program: losses, matching, labels, inference, decoder."""

import json

import golden
import numpy as np
import pytest
import tiny
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from scipy.optimize import linear_sum_assignment

from mmcomformer.methods.simcis import (
    BoxGIoULoss,
    BoxL1Loss,
    BoxMatchCost,
    ClassFocalLoss,
    SimCISOutput,
    SimCISSemanticHead,
    cell_proposals,
    generalized_iou,
    sampling_weights,
    selection_loss,
    target_boxes,
)
from mmcomformer.model_converters.tensor_names import to_ours
from mmcomformer.models import ClassSigmoid, MaskBasedFusion, MaskPseudoLabels, QuerySigmoid
from mmcomformer.models.panoptic_fusion import fuse_panoptic
from mmcomformer.models.point_sampling import sample_shared
from mmcomformer.models.targets import ImageTargets

GOLDEN = {
    name: golden.Golden(name, 'simcis')
    for name in (
        'proposals', 'class_loss', 'box_losses', 'matching', 'selection_loss', 'sampling_weights',
        'pseudo_labels', 'inference', 'decoder',
    )
}  # fmt: skip
ACTIVATION = ClassSigmoid(no_object=False, temperature=0.06)


def cases(name):
    return pytest.mark.parametrize('case', GOLDEN[name].cases, ids=lambda case: case['case'])


def arrays(name, case):
    return lambda key: GOLDEN[name][f'{case["key_prefix"]}__{key}']


precisions = pytest.mark.parametrize(('dtype', 'tolerance'), golden.PRECISIONS)


@cases('proposals')
def test_proposals(case):
    get = arrays('proposals', case)
    boxes, valid = cell_proposals(case['shapes'])
    assert valid.tolist() == get('valid').tolist()
    assert (~valid).sum() == case['invalid']
    torch.testing.assert_close(boxes.float().expand_as(get('out_boxes')), get('out_boxes'))


@precisions
@cases('class_loss')
def test_class_loss(case, dtype, tolerance):
    get = arrays('class_loss', case)
    logits = get('logits').to(dtype).requires_grad_()
    loss = ClassFocalLoss(loss_weight=1.0)(
        logits.flatten(0, 1), get('targets').flatten(), avg_factor=case['M']
    )
    golden.assert_agrees(loss, case['loss_f64'], tolerance)
    loss.backward()
    golden.assert_agrees(logits.grad, get('grad_f64'), tolerance)


@precisions
@pytest.mark.parametrize(('kind', 'name'), [(BoxL1Loss, 'l1'), (BoxGIoULoss, 'giou')])
@cases('box_losses')
def test_box_losses(case, kind, name, dtype, tolerance):
    get = arrays('box_losses', case)
    pred, target = get('pred').to(dtype).requires_grad_(), get('target').to(dtype)
    loss = kind(loss_weight=1.0)(pred, target, avg_factor=case['M'])
    golden.assert_agrees(loss, case[f'{"l1" if name == "l1" else "giou_loss"}_f64'], tolerance)
    loss.backward()
    golden.assert_agrees(pred.grad, get(f'grad_{name}_f64'), tolerance)
    found = generalized_iou(pred, target).double()
    torch.testing.assert_close(found, get('giou_f64'), rtol=0, atol=tolerance)


@precisions
@cases('matching')
def test_matching(case, dtype, tolerance):
    get = arrays('matching', case)
    points = get('points').to(dtype)[None]
    cost = BoxMatchCost(cls_weight=case['class_weight'])(
        get('logits').to(dtype).sigmoid()[:, get('labels')],
        sample_shared(get('masks').to(dtype)[None], points)[0],
        sample_shared(get('gt_masks').to(dtype)[None], points)[0],
        get('boxes').to(dtype),
        get('gt_boxes').to(dtype),
    )
    golden.assert_agrees(cost, get('cost_f64'), tolerance)
    rows, columns = linear_sum_assignment(cost.numpy())
    found = set(zip(rows.tolist(), columns.tolist(), strict=True))
    assert found == set(zip(get('query').tolist(), get('target').tolist(), strict=True))


@precisions
@cases('selection_loss')
def test_selection_loss(case, dtype, tolerance):
    get = arrays('selection_loss', case)
    student = get('student').to(dtype).requires_grad_()
    loss = selection_loss(student, get('teacher').to(dtype), case['T'])
    # 0 up to rounding in one case
    size = max(1.0, case['loss_f64'])
    assert loss.item() == pytest.approx(case['loss_f64'], abs=tolerance * size)
    loss.backward()
    torch.testing.assert_close(student.grad.double(), get('grad_f64'), rtol=0, atol=tolerance)


@cases('sampling_weights')
def test_sampling_weights(case):
    get = arrays('sampling_weights', case)
    weights = sampling_weights(get('counts'), case['alpha'])
    golden.assert_agrees(weights, get('weights'), 1e-6)
    golden.assert_agrees(weights / weights.sum(), get('probabilities'), 1e-6)


@pytest.mark.parametrize(
    'case',
    # released, a class that is not learned yet may become a pseudo-label
    [case for case in GOLDEN['pseudo_labels'].cases if 'released_quirk' not in case],
    ids=lambda case: case['case'],
)
def test_pseudo_labels(case):
    get = arrays('pseudo_labels', case)
    truth = ImageTargets.from_masks(torch.arange(case['n_ground_truth']), get('gt_masks'))
    activation, more = ACTIVATION, {}
    if case['combine']:
        settings = dict(SimCISSemanticHead.labeller_settings)
        activation, more = settings.pop('class_activation'), settings
    labeller = MaskPseudoLabels(
        QuerySigmoid(),
        activation,
        **{'score_thr': case['threshold'], **more},
        overlap_thr=0.8,
        share='strong',
    )
    assert labeller.score_thr == case['threshold']
    output = SimCISOutput((get('logits')[None],), (get('masks')[None],))
    (found,) = labeller([truth], output)
    chosen = (found.valid & found.is_pseudo).nonzero().flatten().tolist()
    height, width = case['image_size']
    padded = found.masks.shape[-2:]
    # released boxes are shares of the image, ours of the padded one
    scale = torch.tensor([padded[1] / width, padded[0] / height] * 2)
    boxes = target_boxes(found) * scale
    ours = {(int(found.labels[i]), found.mask_of(i).numpy().tobytes()): boxes[i] for i in chosen}
    expected = {
        (label, np.ascontiguousarray(mask).tobytes()): box
        for label, mask, box in zip(
            get('labels').tolist(), get('pseudo_masks').numpy(), get('boxes'), strict=True
        )
    }
    assert set(ours) == set(expected)
    for key, box in expected.items():
        torch.testing.assert_close(ours[key], box)


@cases('inference')
def test_inference(case):
    get = arrays('inference', case)
    num_classes = case['K']
    # things first, as the classes of a dataset are
    order = [*case['things'], *(k for k in range(num_classes) if k not in case['things'])]
    by_label = torch.full((case['Q'], num_classes + 1), -torch.inf)
    by_label[:, :num_classes] = get('logits')[:, order]
    codes = fuse_panoptic(
        by_label,
        get('masks').sigmoid(),
        num_things=len(case['things']),
        class_activation=ACTIVATION,
        score_thr=case['object_threshold'],
        iou_thr=case['overlap_threshold'],
    )
    released = get('panoptic')
    assert ((codes == num_classes) == (released == 0)).all()
    for segment in case['segments']:
        inside = codes[released == segment['id']].unique()
        assert len(inside) == 1
        assert (codes == inside).eq(released == segment['id']).all()
        assert order[int(inside) % 1000] == segment['class']
        assert (int(inside) >= 1000) == segment['isthing']
    by_label[:, :num_classes] = get('logits')
    scores = MaskBasedFusion(object_mask_thr=0.4, iou_thr=0.8, area_thr=0.8)(
        by_label, get('masks').sigmoid(), ACTIVATION
    )
    assert scores.argmax(0).eq(get('semantic')).all()


def released_head(case):
    """Return our head with the released weights, static, all 150 classes seen."""
    config = tiny.model_config(0)
    head = config.panoptic_head
    decoder = head.transformer_decoder
    decoder.num_layers = case['layers']
    for key in ('self_attn_cfg', 'cross_attn_cfg'):
        decoder.layer_cfg[key].update(embed_dims=256, num_heads=case['heads'])
    decoder.layer_cfg.ffn_cfg.update(embed_dims=256, feedforward_channels=case['ffn'])
    head.positional_encoding.num_feats = 128
    head.pixel_decoder.positional_encoding.num_feats = 128
    layer = head.pixel_decoder.encoder.layer_cfg
    layer.self_attn_cfg.embed_dims = layer.ffn_cfg.embed_dims = 256
    for key in ('loss_cls', 'loss_mask', 'loss_dice', 'mask_activation', 'scenario'):
        head.pop(key)
    head.update(
        type='SimCISHead',
        scenario=dict(
            increments=[150],
            thing_classes=[],
            stuff_classes=[str(label) for label in range(150)],
            step=0,
        ),
        feat_channels=256,
        out_channels=case['mask_dim'],
        num_queries=case['queries'],
        num_virtual=case['virtual_queries'],
        classifier='static',
    )
    config = {**head, 'train_cfg': dict(match_cost=dict(type='BoxMatchCost'))}
    with DefaultScope.overwrite_default_scope('mmdet'):
        built = MODELS.build(Config(config)._cfg_dict)
    numbers = GOLDEN['decoder']
    exponent = json.loads((golden.ROOT / 'simcis' / 'index.json').read_text())
    exponent = exponent['functions']['decoder']['weight_exponent']
    weights = {}
    for name, shift in exponent.items():
        ours = to_ours(f'sem_seg_head.predictor.{name}')
        ours = ours or f'panoptic_head.cls_embed.{name.rsplit(".", 1)[1]}'
        weights[ours.removeprefix('panoptic_head.')] = numbers[f'w__{name}'].float() * 2.0**-shift
    missing, unexpected = built.load_state_dict(weights, strict=False)
    assert not unexpected
    assert all(name.startswith('pixel_decoder.') for name in missing)
    return built.train(case['mode'] == 'train')


@cases('decoder')
def test_decoder(case, monkeypatch):
    get = arrays('decoder', case)
    head = released_head(case)
    features = [get(f'features{i}') for i in range(3)]
    monkeypatch.setattr(head, '_decode_pixels', lambda x: (get('mask_features'), features))
    teacher = None
    if case['distillation']:
        teacher = SimCISOutput((), (), positions=get('teacher_positions'))
    if case['virtual_queries']:
        head.bank.can_draw = True
        drawn = get('virtual'), get('virtual_labels')
        monkeypatch.setattr(head.bank, 'draw', lambda num_images: drawn)
    with torch.no_grad():
        output = head.query_output([], [], teacher=teacher)
    assert output.positions.tolist() == get('positions').tolist()
    num_queries = case['queries']
    for level in range(case['layers'] + 1):
        names = [f'inter_{part}' for part in ('classes', 'masks', 'boxes')]
        if level:
            names = [f'{part}{level}' for part in ('classes', 'masks', 'boxes')]
        found = output.cls_scores[level], output.mask_preds[level], output.boxes[level]
        for name, part in zip(names, found, strict=True):
            golden.assert_agrees(part, get(name)[:, :num_queries], 1e-5)
        if case['virtual_queries']:
            virtual = output.virtual_scores[level]
            golden.assert_agrees(virtual, get(names[0])[:, num_queries:], 1e-5)
    if case['distillation']:
        golden.assert_agrees(output.scores_at_teacher, get('distill_inter_classes'), 1e-5)
        released, meant = (output.decode_at_teacher(boxes) for boxes in ('own', 'teacher'))
        last = get(f'distill_classes{case["layers"]}')
        golden.assert_agrees(released, last, 1e-5)
        assert (meant - last).abs().max() > 1e-3
