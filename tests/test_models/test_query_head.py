"""The head: two numberings of the classes, competing masks, and losses against plain formulas."""

import copy

import numpy as np
import oracles
import packed
import pytest
import tiny
import torch
from mmdet.structures.mask import BitmapMasks
from scipy.optimize import linear_sum_assignment
from tiny import CAT, DOG, FOX, SEA, SKY
from torch.nn import functional

from mmcomformer.models import matching
from mmcomformer.models import query_head as head_module
from mmcomformer.models.pseudo_labels import mask_pseudo_labels
from mmcomformer.models.query_output import QueryOutput
from mmcomformer.models.targets import ImageTargets

LEVELS = ['d0.', 'd1.', 'd2.', '']


@pytest.fixture(scope='module')
def head():
    """Head of step 1 with softmax masks: four classes seen of five."""
    return tiny.build_head()


@pytest.fixture(scope='module')
def sigmoid_head():
    """The same with sigmoid masks."""
    return tiny.build_head(match_cost='WeightedMatchCost', **tiny.SIGMOID)


def test_targets_come_in_in_learning_order(head):
    samples = tiny.samples([SEA, SKY, FOX], [CAT])
    targets = head.build_targets(samples)
    assert [target.labels.tolist() for target in targets] == [[2, 0, 3], [1]]
    for target, sample in zip(targets, samples, strict=True):
        np.testing.assert_array_equal(target.masks.numpy(), sample.gt_instances.masks.masks)


def as_masks(sample):
    """Return a sample that has the masks which the map of another one stands for."""
    result = copy.deepcopy(sample)
    masks = packed.masks_of(result).astype(np.uint8)
    result.gt_instances.masks = BitmapMasks(masks, *result.gt_panoptic_seg.shape)
    del result.gt_panoptic_seg
    return result


@pytest.mark.parametrize('dtype', [torch.uint8, torch.int32])
@pytest.mark.parametrize('shape', [(48, 48), (64, 96)])
def test_map_and_masks_give_the_same_targets(head, dtype, shape):
    samples = tiny.map_samples([SEA, SKY, FOX], [CAT], [], size=48)
    for sample in samples:
        sample.set_metainfo(dict(batch_input_shape=shape))
        sample.gt_panoptic_seg.sem_seg = sample.gt_panoptic_seg.sem_seg.to(dtype)
    before = copy.deepcopy(samples)
    of_map = head.build_targets(samples)
    of_masks = head.build_targets([as_masks(sample) for sample in samples])
    labels = [[2, 0, 3], [1], []]
    for target, other, expected in zip(of_map, of_masks, labels, strict=True):
        assert target.num_masks == 0
        assert target.owner.shape == shape
        assert target.owner.dtype == torch.int64
        assert target.labels.tolist() == other.labels.tolist() == expected
        assert target.valid.all()
        assert other.owner is None
        assert np.array_equal(oracles.masks_of(target).numpy(), other.masks.numpy())
        assert torch.equal(target.covered, other.covered)
        # nothing in the padding
        assert not target.covered[48:].any()
        assert not target.covered[:, 48:].any()
        chosen = np.arange(len(expected))[::-1].copy()
        points = torch.rand(len(expected), 50, 2)
        torch.testing.assert_close(
            target.sample_each(chosen, points), other.sample_each(chosen, points)
        )
    # the samples stay as they are
    for sample, copied in zip(samples, before, strict=True):
        assert torch.equal(sample.gt_panoptic_seg.sem_seg, copied.gt_panoptic_seg.sem_seg)


@pytest.mark.parametrize('labels', [([SEA, SKY], [CAT]), ([FOX], [])])
def test_map_and_masks_give_the_same_losses(head, labels):
    samples = tiny.map_samples(*labels)
    results = []
    for each in (samples, [as_masks(sample) for sample in samples]):
        torch.manual_seed(0)
        results.append(head.loss(tiny.features(), each))
    assert set(results[0]) == set(results[1])
    for key, loss in results[0].items():
        torch.testing.assert_close(loss, results[1][key])


@pytest.mark.parametrize('make', [tiny.samples, tiny.map_samples])
def test_unlearned_class_is_an_error(head, make):
    with pytest.raises(ValueError, match='a class that the current step has not learned'):
        head.loss(tiny.features(), make([SKY, DOG], [CAT]))


def test_masks_are_padded_to_the_input_size(head):
    samples = tiny.samples([SKY], [], size=48)
    for sample in samples:
        sample.set_metainfo(dict(batch_input_shape=(64, 96)))
    targets = head.build_targets(samples)
    assert [tuple(target.masks.shape) for target in targets] == [(1, 64, 96), (0, 64, 96)]
    assert targets[0].masks[0, :48, :48].sum() == targets[0].masks.sum() > 0
    assert samples[0].gt_instances.masks.masks.shape == (1, 48, 48)


def test_logits_go_out_by_dataset_label(head):
    logits = torch.arange(5.0).expand(2, 8, 5)
    #             cat dog       fox  sky  sea  no-object
    expected = [1.0, -torch.inf, 3.0, 0.0, 2.0, 4.0]
    assert head.to_dataset_labels(logits)[1, 7].tolist() == expected


@torch.no_grad()
def test_predict(head):
    samples, feats = tiny.samples([], []), tiny.features()
    cls_scores, mask_preds = head(feats, samples)
    cls_score, mask_pred = head.predict(feats, samples)
    assert cls_score.shape == (2, 8, 6)
    assert torch.equal(cls_score[..., tiny.LEARNING_TO_LABEL[:4]], cls_scores[-1][..., :4])
    assert torch.equal(cls_score[..., 5], cls_scores[-1][..., 4])
    assert (cls_score[..., DOG] == -torch.inf).all()
    assert mask_pred.shape == (2, 8, 64, 64)
    torch.testing.assert_close(
        mask_pred,
        functional.interpolate(mask_preds[-1], (64, 64), mode='bilinear', align_corners=False),
    )


def test_permuting_the_class_order_permutes_nothing_else(head):
    # within each step the other way round
    order = ['cat', 'sky', 'fox', 'sea', 'dog']
    other = tiny.build_head(scenario={**tiny.SCENARIO, 'class_order': order})
    state = head.state_dict()
    for key in state:
        if 'cls_embed.steps' in key:
            state[key] = state[key].flip(0)
    other.load_state_dict(state)
    samples, feats = tiny.samples([SEA, SKY, FOX], [CAT]), tiny.features()
    results = []
    for each in (head, other):
        torch.manual_seed(0)
        results.append((each.loss(feats, samples), each.predict(feats, samples)))
    (losses, predictions), (other_losses, other_predictions) = results
    assert set(losses) == set(other_losses)
    for key in losses:
        torch.testing.assert_close(other_losses[key], losses[key], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(other_predictions[0], predictions[0])
    torch.testing.assert_close(other_predictions[1], predictions[1])


@pytest.mark.parametrize('kind', ['softmax', 'sigmoid'])
@torch.no_grad()
def test_attention_mask(head, sigmoid_head, kind):
    head = head if kind == 'softmax' else sigmoid_head
    generator = torch.Generator().manual_seed(0)
    queries = torch.randn(2, 8, 64, generator=generator)
    mask_feature = 20 * torch.randn(2, 64, 6, 8, generator=generator)
    cls_score, mask_pred, blocked = head._forward_head(queries, mask_feature, (3, 5))
    assert cls_score.shape == (2, 8, 5)
    assert mask_pred.shape == (2, 8, 6, 8)
    assert blocked.shape == (2 * 4, 8, 15)
    assert blocked.dtype == torch.bool
    embedded = head.mask_embed(head.transformer_decoder.post_norm(queries))
    torch.testing.assert_close(
        mask_pred, (embedded @ mask_feature.flatten(2)).view(2, 8, 6, 8), rtol=1e-4, atol=1e-4
    )
    resized = functional.interpolate(mask_pred, (3, 5), mode='bilinear', align_corners=False)
    if kind == 'softmax':
        prob = resized.exp() / resized.exp().sum(1, keepdim=True)
    else:
        prob = 1 / (1 + (-resized).exp())
    for image in range(2):
        for attention_head in range(4):
            expected = (prob[image] < 0.5).flatten(1)
            assert torch.equal(blocked[image * 4 + attention_head], expected)
    # at most one query reaches 0.5 with a softmax
    open_queries = (~blocked).sum(1)
    assert open_queries.max() == 1 if kind == 'softmax' else open_queries.max() > 1
    assert open_queries.min() == 0 or kind == 'sigmoid'


def complete_targets(head, samples):
    """Ground truth and pseudo-labels of a random teacher that knows the classes of step 0."""
    generator = torch.Generator().manual_seed(5)
    teacher = QueryOutput(
        (3 * torch.randn(2, 8, 3, generator=generator),),
        (10 * torch.randn(2, 8, 4, 4, generator=generator),),
    )
    targets = []
    for image, truth in enumerate(head.build_targets(samples)):
        logits = functional.interpolate(teacher.mask_pred[image][None], (64, 64), mode='bilinear')
        masks = head.mask_activation.probability(logits[0])
        labels = mask_pseudo_labels(teacher.cls_score[image], masks, truth.covered)
        # with a slot for every query, as on an accelerator
        targets.append(truth.with_pseudo_labels(*labels))
    return targets


def losses_of(head, cls_scores, mask_preds, targets):
    return head.supervised_losses(QueryOutput(tuple(cls_scores), tuple(mask_preds)), targets)[0]


def hand_written_losses(kind, cls_score, mask_pred, targets, match_points, loss_points):
    """Losses of one level, one query at a time, in float64; section 3 of the paper."""
    num_targets = sum(int(target.valid.sum()) for target in targets)
    matched, labels = [], np.full(cls_score.shape[:2], cls_score.shape[2] - 1)
    mask_loss = dice_loss = 0.0
    for image, target in enumerate(targets):
        index = np.flatnonzero(target.valid.numpy())
        masks, classes = oracles.masks_of(target).numpy()[index], target.labels.numpy()[index]
        prob = oracles.softmax(cls_score[image])[:, classes]
        logits = mask_pred[image].astype(np.float64)
        activated = oracles.softmax(logits, 0) if kind == 'softmax' else logits
        cost = oracles.harmonic_cost if kind == 'softmax' else oracles.weighted_cost
        matrix = cost(
            prob,
            oracles.sample(activated, match_points[image]),
            oracles.sample(masks, match_points[image]),
        )
        rows, columns = linear_sum_assignment(matrix)
        labels[image, rows] = classes[columns]
        for query, column in zip(rows, columns, strict=True):
            points = loss_points[len(matched)]
            g = oracles.sample(masks[column : column + 1], points)[0]
            m = oracles.sample(activated[query : query + 1], points)[0]
            if kind == 'softmax':
                log_m = oracles.sample(np.log(activated[query : query + 1]), points)[0]
                mask_loss += -(g * log_m).mean()
            else:
                m = 1 / (1 + np.exp(-m))
                mask_loss += -(g * np.log(m) + (1 - g) * np.log(1 - m)).mean()
            dice_loss += 1 - oracles.dice(m, g)
            matched.append((image, query, column))
    p = np.take_along_axis(oracles.softmax(cls_score), labels[..., None], -1)[..., 0]
    focal = (5 * (1 - p) * -np.log(p)).mean()
    assert len(matched) == len(loss_points)
    return 2 * focal, 5 * mask_loss / num_targets, 5 * dice_loss / num_targets


@pytest.mark.parametrize('kind', ['softmax', 'sigmoid'])
@torch.no_grad()
def test_losses_equal_a_hand_written_computation(monkeypatch, head, sigmoid_head, kind):
    head = head if kind == 'softmax' else sigmoid_head
    samples = tiny.samples([SEA, SKY, FOX], [])
    cls_scores, mask_preds = head(tiny.features(), samples)
    # stronger opinions than those of untrained weights
    generator = torch.Generator().manual_seed(1)
    cls_scores = [2 * torch.randn(x.shape, generator=generator) for x in cls_scores]
    mask_preds = [3 * torch.randn(2, 8, 5, 6, generator=generator) for _ in mask_preds]
    targets = complete_targets(head, samples)
    used = torch.cat([target.valid[target.num_masks :] for target in targets])
    assert used.any()
    assert not used.all()
    # so many that no two targets look the same at them
    monkeypatch.setattr(head, 'num_points', 300)
    drawn, sampled, chosen = [], [], []
    random_points, uncertain_points = matching.random_points, head_module.uncertain_points

    def record_random(*args, **kwargs):
        drawn.append(random_points(*args, **kwargs))
        return drawn[-1]

    def record_uncertain(maps, uncertainty, **kwargs):
        sampled.append(maps)
        assert uncertainty == head.mask_activation.uncertainty
        chosen.append(uncertain_points(maps, uncertainty, **kwargs))
        return chosen[-1]

    monkeypatch.setattr(matching, 'random_points', record_random)
    monkeypatch.setattr(head_module, 'uncertain_points', record_uncertain)
    output = QueryOutput(tuple(cls_scores), tuple(mask_preds))
    losses, assignments = head.supervised_losses(output, targets)
    match_points = drawn[0].view(4, 2, 300, 2).numpy()
    # the last level comes first, then the others; two are enough
    for turn, level in ((0, 3), (2, 1)):
        expected = hand_written_losses(
            kind,
            cls_scores[level].numpy(),
            mask_preds[level].numpy(),
            targets,
            match_points[level],
            chosen[turn].numpy(),
        )
        names = [f'{LEVELS[level]}{name}' for name in ('loss_cls', 'loss_mask', 'loss_dice')]
        found = [losses[name].item() for name in names]
        assert found == pytest.approx(expected, rel=1e-4)
        matched = sampled[turn][:, None]
        activated = mask_preds[level] if kind == 'sigmoid' else mask_preds[level].softmax(1)
        # matched queries in order: each map is one of the activated masks of the batch
        same = (matched - activated.flatten(0, 1)[None]).abs().amax((-2, -1)) < 1e-6
        assert (same.sum(1) == 1).all()
        assert (same.int().argmax(1).diff() > 0).all()
    assert [len(of_level) for of_level in assignments] == [2] * 4


def test_names_of_the_losses(head):
    samples = tiny.samples([SEA, SKY], [CAT])
    names = [f'{level}loss_{kind}' for level in LEVELS for kind in ('cls', 'mask', 'dice')]
    losses = head.loss(tiny.features(), samples)
    assert sorted(losses) == sorted(names)
    assert all(loss.ndim == 0 and loss.isfinite() for loss in losses.values())


@pytest.mark.parametrize('kind', ['softmax', 'sigmoid'])
@pytest.mark.parametrize('labels', [([SEA, SKY], [CAT]), ([FOX], []), ([], [])])
def test_every_parameter_gets_a_gradient(head, sigmoid_head, kind, labels):
    head = head if kind == 'softmax' else sigmoid_head
    head.zero_grad()
    losses = head.loss(tiny.features(), tiny.samples(*labels))
    sum(losses.values()).backward()
    missing = [name for name, p in head.named_parameters() if p.grad is None]
    assert missing == []
    assert all(p.grad.isfinite().all() for p in head.parameters())
    assert head.cls_embed.no_object.weight.grad.abs().sum() > 0
    masks_learn = head.mask_embed[0].weight.grad.abs().sum() > 0
    assert masks_learn == any(labels)
    head.zero_grad()


def test_images_without_targets(head):
    losses = head.loss(tiny.features(), tiny.samples([], []))
    assert all(losses[f'{level}loss_mask'] == 0 for level in LEVELS)
    assert all(losses[f'{level}loss_dice'] == 0 for level in LEVELS)
    assert all(losses[f'{level}loss_cls'] > 0 for level in LEVELS)


def test_losses_are_divided_by_the_mean_number_of_targets_over_ranks(monkeypatch, head):
    samples, feats = tiny.samples([SEA, SKY], [CAT]), tiny.features()

    def losses(other_rank):
        monkeypatch.setattr(head_module, 'reduce_mean', lambda x: (x + other_rank) / 2)
        torch.manual_seed(0)
        return head.loss(feats, samples)

    # 3 targets here, and 3, 9 or fewer than none there
    results = [losses(3.0), losses(9.0), losses(-9.0)]
    for key in ('loss_mask', 'd1.loss_dice'):
        alone, with_more, with_less = (result[key] for result in results)
        torch.testing.assert_close(with_more, alone * 3 / 6)
        # at least one
        torch.testing.assert_close(with_less, alone * 3)
    torch.testing.assert_close(results[0]['loss_cls'], results[1]['loss_cls'])


@pytest.mark.parametrize('kind', ['softmax', 'sigmoid'])
def test_losses_under_autocast_are_computed_in_single_precision(head, sigmoid_head, kind):
    head = head if kind == 'softmax' else sigmoid_head
    samples = tiny.samples([SEA, SKY], [CAT])
    with torch.no_grad():
        cls_scores, mask_preds = head(tiny.features(), samples)
    targets = complete_targets(head, samples)
    results = []
    for enabled in (False, True):
        torch.manual_seed(0)
        with torch.autocast('cpu', dtype=torch.bfloat16, enabled=enabled):
            results.append(losses_of(head, cls_scores, mask_preds, targets))
    for key, loss in results[0].items():
        assert results[1][key].dtype == torch.float32
        torch.testing.assert_close(results[1][key], loss)


def test_losses_of_half_precision_logits_are_computed_in_single_precision(head):
    samples = tiny.samples([SEA, SKY], [CAT])
    with torch.no_grad():
        logits = [[x.bfloat16() for x in part] for part in head(tiny.features(), samples)]
    targets = complete_targets(head, samples)
    results = []
    for cls_scores, mask_preds in (logits, [[x.float() for x in part] for part in logits]):
        torch.manual_seed(0)
        results.append(losses_of(head, cls_scores, mask_preds, targets))
    for key, loss in results[0].items():
        assert loss.dtype == torch.float32
        assert torch.equal(loss, results[1][key])


def test_points_are_read_from_the_training_settings(monkeypatch, head):
    seen = []

    def record(maps, uncertainty, **settings):
        seen.append(settings)
        return torch.rand(len(maps), settings['num_points'], 2)

    monkeypatch.setattr(head_module, 'uncertain_points', record)
    head.loss(tiny.features(), tiny.samples([SEA], [CAT]))
    settings = dict(num_points=40, oversample_ratio=3.0, importance_ratio=0.75)
    assert seen == [settings] * 4


def test_targets_that_are_not_edited(head):
    samples = tiny.samples([SEA, SKY], [CAT])
    targets = [ImageTargets.from_masks(t.labels, t.masks) for t in head.build_targets(samples)]
    before = [(t.labels.clone(), t.masks.clone()) for t in targets]
    cls_scores, mask_preds = head(tiny.features(), samples)
    losses_of(head, cls_scores, mask_preds, targets)
    for target, (labels, masks) in zip(targets, before, strict=True):
        assert torch.equal(target.labels, labels)
        assert torch.equal(target.masks, masks)


def test_classifier_follows_the_step():
    sizes = [tiny.build_head(step=step).cls_embed.increments for step in range(3)]
    assert sizes == [(2,), (2, 2), (2, 2, 1)]


def test_class_maps_are_no_part_of_the_checkpoint(head):
    assert not [key for key in head.state_dict() if 'learning' in key]


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            dict(loss_mask=dict(type='SigmoidMaskLoss')),
            'panoptic_head.loss_mask: SigmoidMaskLoss expects a logit, but QuerySoftmax gives a '
            'log_probability',
        ),
        (
            dict(loss_dice=dict(type='SigmoidDiceLoss')),
            'panoptic_head.loss_dice: SigmoidDiceLoss expects a logit, but QuerySoftmax gives a '
            'probability',
        ),
        (
            dict(mask_activation=dict(type='QuerySigmoid')),
            'panoptic_head.loss_mask: SoftmaxMaskLoss expects a log_probability, but QuerySigmoid',
        ),
        (
            dict(loss_dice=dict(type='DiceLoss')),
            'panoptic_head.loss_dice: DiceLoss expects a map of its own, but QuerySoftmax gives a '
            'probability',
        ),
        (
            tiny.SIGMOID,
            'train_cfg.match_cost: HarmonicMatchCost expects a probability, but QuerySigmoid gives '
            'a logit; use losses and match_cost of the same family',
        ),
        (
            dict(match_cost='WeightedMatchCost'),
            'train_cfg.match_cost: WeightedMatchCost expects a logit, but QuerySoftmax gives a '
            'probability',
        ),
    ],
)
def test_losses_of_another_mask_activation(change, message):
    with pytest.raises(ValueError, match=message):
        tiny.build_head(**change)


def test_new_classes_from_no_object():
    head = tiny.build_head(new_from_no_object=True)
    head.cls_embed.initialise_newest()
    assert (head.cls_embed.steps[1].weight == head.cls_embed.no_object.weight).all()


class _OwnClassifier(head_module.IncrementalQueryHead):
    def make_classifier(self):
        return torch.nn.Linear(64, 5)


def test_new_classes_from_no_object_that_there_is_not():
    sigmoid = dict(class_activation=dict(type='ClassSigmoid'), new_from_no_object=True)
    with pytest.raises(ValueError, match='new_from_no_object: shares of no-object are those of a'):
        tiny.build_head(**sigmoid)
    with pytest.raises(ValueError, match='the classifier of _OwnClassifier, Linear, does not'):
        tiny.build_head(new_from_no_object=True, type=_OwnClassifier)


@pytest.mark.parametrize('key', ['num_things_classes', 'num_stuff_classes'])
def test_class_counts_beside_the_scenario(key):
    with pytest.raises(TypeError, match=f'panoptic_head.{key}: remove it; the scenario counts'):
        tiny.build_head(**{key: 3})


def test_unknown_key():
    """mmdet's head would ignore it, and the user would wonder why nothing changes."""
    with pytest.raises(
        TypeError, match=r"panoptic_head: unknown keys \['loss_distil'\]; .*loss_di"
    ):
        tiny.build_head(loss_distil=None)


def test_missing_scenario():
    config = tiny.model_config()
    arguments = {k: v for k, v in config.panoptic_head.items() if k not in ('type', 'scenario')}
    with pytest.raises(TypeError, match='scenario: expected a dict with increments'):
        head_module.IncrementalQueryHead(**arguments)
