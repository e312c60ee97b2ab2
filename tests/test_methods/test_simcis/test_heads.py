"""The heads of SimCIS: what is selected, trained, remembered, and which settings are refused."""

from dataclasses import replace

import pytest
import tiny
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch.nn import functional

from mmcomformer.methods.simcis import ConsistentSelectionLoss, DecoderDistillLoss, target_boxes
from mmcomformer.models import QueryOutput
from mmcomformer.models.extra_losses import compute_extra_losses
from mmcomformer.models.targets import ImageTargets

FROM_BASE = ('loss_cls', 'loss_mask', 'loss_dice', 'mask_activation')


def build(step=1, *, match_cost='BoxMatchCost', **head):
    """Build and initialise the head alone."""
    torch.manual_seed(step)
    config = tiny.model_config(step)
    for key in FROM_BASE:
        config.panoptic_head.pop(key)
    config.panoptic_head.update(type='SimCISHead', **head)
    config.train_cfg.match_cost = dict(type=match_cost)
    cfg = {**config.panoptic_head, 'train_cfg': config.train_cfg, 'test_cfg': config.test_cfg}
    with DefaultScope.overwrite_default_scope('mmdet'):
        built = MODELS.build(Config(cfg)._cfg_dict)
    built.init_weights()
    return built.train()


def with_bank(step=1, **head):
    """Build a head whose bank holds a query of each old class."""
    built = build(step, **{'num_virtual': 2, **head})
    state = build(step - 1).bank
    width = built.decoder_embed_dims
    state.push(torch.randn(2, width), torch.tensor([0, 1]))
    built.bank.load_method_state(state.method_state())
    return built


@torch.no_grad()
def answer(teacher):
    """Return what a teacher with this head says, as the student gets it."""
    output = teacher.eval().query_output(tiny.features(), [])
    return output.only(ConsistentSelectionLoss.reads)


def targets_of(head, *labels):
    return head.build_targets(tiny.map_samples(*labels))


def test_every_parameter_is_trained():
    """As data parallelism expects, also where an image shows nothing."""
    head = with_bank()
    said = answer(build(0))
    for labels in ([tiny.SEA, tiny.FOX], []), ([], []):
        head.zero_grad()
        output = head.query_output(tiny.features(), [], teacher=said)
        losses, _ = head.supervised_losses(output, targets_of(head, *labels))
        losses |= ConsistentSelectionLoss()(output, said, [], [])
        sum(losses.values()).backward()
        assert all(loss.isfinite() for loss in losses.values())
        missing = [name for name, x in head.named_parameters() if x.grad is None]
        assert missing == []


def test_nothing_is_learned_per_query():
    names = [name for name, _ in build().named_parameters()]
    assert not [name for name in names if name.startswith('query_')]


def test_the_surest_cells_are_selected():
    head = build()
    output = head.query_output(tiny.features(), [])
    assert output.positions.shape == (2, 8)
    best = output.selected_scores.amax(-1)
    assert (best[:, :-1] >= best[:, 1:]).all()
    # a small image has fewer cells than there are queries
    head.num_queries = 1000
    everything = head.query_output(tiny.features(), [])
    assert everything.positions.shape == (2, 8 * 8 + 4 * 4 + 2 * 2)
    assert torch.equal(everything.positions[:, :8], output.positions)


def test_a_new_model_starts_with_the_boxes_of_its_cells():
    output = build().query_output(tiny.features(), [])
    for boxes in output.boxes:
        torch.testing.assert_close(boxes, output.boxes[0], atol=1e-4, rtol=0)
    side = output.boxes[0][..., 2]
    # cell numbers rise with the resolution, and boxes with them
    expected = torch.tensor([0.05, 0.1, 0.2])[
        (output.positions >= 4).long() + (output.positions >= 20).long()
    ]
    torch.testing.assert_close(side, expected)


def test_the_decoder_does_not_train_where_it_starts():
    head = build()
    torch.nn.init.normal_(head.box_embed[-1].weight)
    output = head.query_output(tiny.features(), [])
    for level, trained in ((0, True), (1, False), (3, False)):
        head.zero_grad()
        (output.cls_scores[level].sum() + output.boxes[level].sum()).backward(retain_graph=True)
        assert (head.cell_embed.weight.grad is not None) == trained
    # nor a layer the box of the one before
    boxes = [*output.boxes]
    head.zero_grad()
    grads = torch.autograd.grad(boxes[2].sum(), [output.tokens[1]], retain_graph=True)
    assert grads[0].abs().sum() > 0
    assert boxes[2].grad_fn is not None
    with pytest.raises(RuntimeError, match='not have been used'):
        torch.autograd.grad(boxes[2].sum(), [boxes[1]])


def test_the_teacher_chooses_cells_of_the_student(monkeypatch):
    head, said = build(), answer(build(0))
    output = head.query_output(tiny.features(), [], teacher=said)
    # from all cells, in order of their number
    head.num_queries = 84
    everything = head.query_output(tiny.features(), [])
    order = everything.positions.argsort(-1)
    by_cell = everything.selected_scores.take_along_dim(order[..., None], 1)
    expected = by_cell.take_along_dim(said.positions[..., None], 1)
    torch.testing.assert_close(output.scores_at_teacher, expected)
    assert (output.positions != said.positions).any()
    # its first run is that of a student that selects these cells itself
    monkeypatch.setattr(head, '_select', lambda cells: said.positions)
    chosen = head.query_output(tiny.features(), [])
    torch.testing.assert_close(output.decode_at_teacher('teacher'), chosen.cls_score)


def test_extra_losses_compare_what_the_teacher_has():
    head, said = build(), answer(build(0))
    assert said.boxes == ()
    assert len(said.cls_scores) == 1
    output = head.query_output(tiny.features(), [], teacher=said)
    losses = torch.nn.ModuleDict(
        dict(
            select=ConsistentSelectionLoss(temperature=2.0, loss_weight=3.0),
            decoder=DecoderDistillLoss(temperature=4.0, loss_weight=5.0),
        )
    )
    found = compute_extra_losses(losses, output, said, [], [])
    expected = {}
    for name, student, known, temperature, weight in (
        ('loss_select', output.scores_at_teacher, said.selected_scores, 2, 3),
        ('loss_distill', output.decode_at_teacher('teacher'), said.cls_score, 4, 5),
    ):
        ours, theirs = (x[..., :2].div(temperature).softmax(-1) for x in (student, known))
        expected[name] = weight * (theirs * (theirs / ours).log()).sum() / 2
    assert set(found) == set(expected)
    for name, loss in found.items():
        torch.testing.assert_close(loss, expected[name])


def test_virtual_queries_learn_their_class_alone():
    """With the divisor of the real targets, at each level."""
    head = with_bank()
    output = head.query_output(tiny.features(), [])
    assert output.virtual_labels.shape == (2, 2)
    assert [x.shape for x in output.virtual_scores] == [(2, 2, 4)] * 4
    assert [x.shape[1] for x in (*output.cls_scores, *output.mask_preds)] == [8] * 8
    targets = targets_of(head, [tiny.SEA, tiny.FOX], [tiny.SEA])
    torch.manual_seed(0)
    found, assignments = head.supervised_losses(output, targets)
    torch.manual_seed(0)
    without, _ = head.supervised_losses(
        replace(output, virtual_labels=None, virtual_scores=()), targets
    )
    truth = functional.one_hot(output.virtual_labels, 4).bool()
    for level, prefix in enumerate(('d0.', 'd1.', 'd2.', '')):
        for part in ('mask', 'dice', 'bbox', 'giou'):
            assert found[f'{prefix}loss_{part}'] == without[f'{prefix}loss_{part}']
        prob = output.virtual_scores[level].sigmoid()
        right = -0.25 * (1 - prob) ** 2 * prob.log()
        wrong = -0.75 * prob**2 * (1 - prob).log()
        more = 4 * right.where(truth, wrong).sum() / 3
        difference = found[f'{prefix}loss_cls'] - without[f'{prefix}loss_cls']
        torch.testing.assert_close(difference, more, atol=1e-4, rtol=1e-4)
    assert all(max(queries, default=0) < 8 for level in assignments for queries, _ in level)


def test_losses_of_boxes():
    """Of matched queries, divided by the number of targets."""
    head = build()
    output = head.query_output(tiny.features(), [])
    targets = targets_of(head, [tiny.SEA, tiny.FOX], [tiny.SEA])
    losses, assignments = head.supervised_losses(output, targets)
    total = 0.0
    for image, (queries, chosen) in enumerate(assignments[1]):
        expected = target_boxes(targets[image])[chosen]
        total = total + (output.boxes[1][image, queries] - expected).abs().sum()
    torch.testing.assert_close(losses['d1.loss_bbox'], 5 * total / 3)


def test_boxes_of_targets_are_shares_of_the_padded_image():
    masks = torch.zeros(2, 10, 20, dtype=torch.bool)
    masks[0, 2:6, 5:15] = True
    masks[1, 9, 19] = True
    boxes = target_boxes(ImageTargets.from_masks(torch.tensor([0, 1]), masks))
    expected = torch.tensor([[0.5, 0.4, 0.5, 0.4], [0.975, 0.95, 0.05, 0.1]])
    torch.testing.assert_close(boxes, expected)


def test_matched_initial_queries_are_remembered():
    """Those of the last level, as they were before the decoder; in training alone."""
    head = build()
    output = head.query_output(tiny.features(), [])
    targets = targets_of(head, [tiny.SEA, tiny.FOX], [tiny.SEA])
    _, assignments = head.supervised_losses(output, targets)
    state = head.bank.method_state()
    assert state['sizes'].tolist() == [0, 0, 2, 1]
    expected = {2: [], 3: []}
    for image, (queries, chosen) in enumerate(assignments[-1]):
        for query, index in zip(queries, chosen, strict=True):
            label = int(targets[image].labels[index])
            expected[label].append(output.tokens[0][image, query].detach())
    assert torch.equal(state['queries'], torch.stack([*expected[2], *expected[3]]))
    head.eval()
    head.supervised_losses(head.query_output(tiny.features(), []), targets)
    assert head.bank.method_state()['sizes'].tolist() == [0, 0, 2, 1]


def test_a_static_classifier():
    """Columns of all classes from the start; those to come learn no and say nothing."""
    head = build(0, classifier='static')
    with torch.no_grad():
        head.cls_embed.bias[2:] += 100
    output = head.query_output(tiny.features(), [])
    assert output.cls_score.shape == (2, 8, 5)
    growing = build(0)
    growing.load_state_dict(
        {
            **{name: x for name, x in head.state_dict().items() if 'cls_embed' not in name},
            **{
                f'cls_embed.steps.0.{x}': getattr(head.cls_embed, x)[:2] for x in ('weight', 'bias')
            },
        }
    )
    assert torch.equal(growing.query_output(tiny.features(), []).positions, output.positions)
    losses, _ = head.supervised_losses(output, targets_of(head, [tiny.SKY], [tiny.CAT]))
    losses['loss_cls'].backward()
    assert (head.cls_embed.bias.grad[2:] > 0).all()
    head.eval()
    assert head.query_output(tiny.features(), []).cls_score.shape == (2, 8, 2)
    cls_score, _ = head.predict(tiny.features(), tiny.map_samples([tiny.SKY], []))
    seen = (cls_score > -torch.inf).all(1).all(0)
    assert seen.nonzero().flatten().tolist() == [tiny.CAT, tiny.SKY]
    # it has the weights of the next step
    later = build(1, classifier='static')
    assert {name: x.shape for name, x in later.state_dict().items()} == {
        name: x.shape for name, x in head.state_dict().items()
    }


def of_width(width, groups):
    """Return settings of a head of that width."""
    sizes, attention = dict(num_feats=width // 2), dict(embed_dims=width, num_heads=2)
    layer = dict(self_attn_cfg=attention, ffn_cfg=dict(embed_dims=width))
    return dict(
        feat_channels=width,
        pixel_decoder=dict(
            norm_cfg=dict(num_groups=groups),
            encoder=dict(layer_cfg=layer),
            positional_encoding=sizes,
        ),
        positional_encoding=sizes,
        transformer_decoder=dict(layer_cfg={**layer, 'cross_attn_cfg': attention}),
    )


def test_another_width():
    """The released program has 256 alone."""
    head = build(0, **of_width(32, 4))
    assert head.query_output(tiny.features(), []).tokens[-1].shape == (2, 8, 32)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(num_virtual=-1), r'model.panoptic_head.num_virtual: expected at least 0, got -1'),
        (dict(bank_size=0), r'model.panoptic_head.bank_size: expected at least 1, got 0'),
        (dict(sampling_power=-0.5), r'sampling_power: expected at least 0, got -0.5'),
        (dict(classifier='fixed'), r"classifier: expected one of \['growing', 'static'\], got"),
        (
            dict(class_activation=dict(type='ClassSigmoid')),
            'model.panoptic_head.class_activation: expected one without no-object',
        ),
        (dict(loss_cls=dict(type='FocalClassLoss')), 'loss_cls: FocalClassLoss expects classes'),
        (of_width(66, 2), 'feat_channels: expected a width divisible by 4, .* got 66'),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        build(**settings)


def test_bad_losses():
    for kind in (ConsistentSelectionLoss, DecoderDistillLoss):
        with pytest.raises(ValueError, match='temperature: expected above 0, got 0'):
            kind(temperature=0)
        other = QueryOutput((), ())
        with pytest.raises(TypeError, match=f'{kind.__name__}: expected what a SimCISHead'):
            kind()(other, other, [], [])
    with pytest.raises(ValueError, match=r"boxes: expected one of \['teacher', 'own'\]"):
        DecoderDistillLoss(boxes='student')


def test_a_cost_of_boxes_needs_boxes():
    head = tiny.build_head(1, **tiny.SIGMOID, match_cost='BoxMatchCost')
    output = head.query_output(tiny.features(), [])
    with pytest.raises(TypeError, match='BoxMatchCost: this head predicts no boxes'):
        head.supervised_losses(output, targets_of(head, [tiny.SEA], []))


def test_matching_without_boxes():
    head = build(match_cost='WeightedMatchCost')
    output = head.query_output(tiny.features(), [])
    losses, _ = head.supervised_losses(output, targets_of(head, [tiny.SEA], []))
    assert losses['loss_bbox'] > 0


def test_each_level_is_matched_by_its_own_boxes(monkeypatch):
    head = build()
    torch.nn.init.normal_(head.box_embed[-1].weight)
    output = head.query_output(tiny.features(), [])
    targets = targets_of(head, [tiny.SEA], [tiny.SEA, tiny.FOX])
    seen, cost = [], head.match_cost

    class Spy:
        reads_boxes = True

        def __call__(self, *known):
            seen.append(known[3:])
            return cost(*known)

    monkeypatch.setattr(head, 'match_cost', Spy())
    head.supervised_losses(output, targets)
    expected = [(boxes[i], target_boxes(targets[i])) for boxes in output.boxes for i in (0, 1)]
    assert len(seen) == len(expected) == 8
    for found, right in zip(seen, expected, strict=True):
        for one, other in zip(found, right, strict=True):
            assert torch.equal(one, other)


def test_pseudo_labels_are_counted():
    """In training, each time they are shown."""
    head = build()
    output = head.query_output(tiny.features(), [])
    targets = targets_of(head, [tiny.SEA], [tiny.SEA])
    owner = torch.full((64, 64), -1)
    owner[targets[0].covered.logical_not()] = 1
    labels, valid = torch.tensor([1, 0]), torch.tensor([False, True])
    targets[0] = targets[0].with_pseudo_labels(owner, labels, valid)
    for times in (1, 2):
        head.supervised_losses(output, targets)
        assert head.bank.fresh_counts.tolist() == [times, 0]
    # one of an old class, twice; and the ground truth
    assert head.bank.method_state()['sizes'].tolist() == [2, 0, 4, 0]
