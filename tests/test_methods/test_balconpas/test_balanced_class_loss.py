"""Balanced classification: golden numbers, the weights by hand, one process and two."""

import golden
import pytest
import several
import tiny
import torch
from mmengine.registry import MODELS

from mmcomformer.methods.balconpas import BalancedClassLoss, balanced_cross_entropy
from mmcomformer.models import WeightedClassLoss
from mmcomformer.models.targets import ImageTargets

GOLDEN = golden.Golden('class_loss', 'balconpas')


@pytest.mark.parametrize(('dtype', 'tolerance'), golden.PRECISIONS)
@pytest.mark.parametrize('case', GOLDEN.cases, ids=lambda case: case['case'])
def test_released_loss_and_gradient(case, dtype, tolerance):
    name = case['case']
    logits = GOLDEN[f'{name}__logits'].to(dtype).requires_grad_()
    labels, memory = GOLDEN[f'{name}__targets'], GOLDEN[f'{name}__memory']
    from_memory = memory.repeat_interleave(labels.shape[1])
    loss = balanced_cross_entropy(logits.flatten(0, 1), labels.flatten(), from_memory)
    loss.backward()
    golden.assert_agrees(loss, case['loss_f64'], tolerance)
    golden.assert_agrees(logits.grad, GOLDEN[f'{name}__grad_f64'], tolerance)


def queries(matched, unmatched, unmatched_stored, num_classes=3):
    """Logits, labels and memory flags of so many queries; matched ones of both kinds."""
    count = matched + unmatched + unmatched_stored
    logits = torch.randn(count, num_classes + 1, dtype=torch.float64)
    labels = torch.full((count,), num_classes)
    labels[:matched] = torch.arange(matched) % num_classes
    from_memory = torch.zeros(count, dtype=torch.bool)
    from_memory[: matched // 2] = True
    from_memory[matched + unmatched :] = True
    return logits, labels, from_memory


@pytest.mark.parametrize('weight', [0.1, 0.4])
def test_weights_by_hand(weight):
    """5 matched, 3 unmatched of current images, 4 of stored ones: what each weighs."""
    logits, labels, from_memory = queries(5, 3, 4)
    each = torch.nn.functional.cross_entropy(logits, labels, reduction='none')
    loss = balanced_cross_entropy(logits, labels, from_memory, no_object_weight=weight)
    expected = each[:5].sum() + weight * 7 / 3 * each[5:8].sum()
    torch.testing.assert_close(loss, expected / (weight * 7 + 5))


@pytest.mark.parametrize(('matched', 'unmatched'), [(4, 5), (0, 5), (4, 0)])
def test_without_a_stored_image_it_is_mask2formers(matched, unmatched):
    logits, labels, _ = queries(matched, unmatched, 0)
    for flags in (torch.zeros_like(labels).bool(), labels < 3):
        # nor do stored images whose queries are all matched change anything
        ours = BalancedClassLoss(no_object_weight=0.3, loss_weight=1.5)(logits, labels, flags)
        theirs = WeightedClassLoss(no_object_weight=0.3, loss_weight=1.5)(logits, labels)
        torch.testing.assert_close(ours, theirs)


def test_unmatched_queries_of_stored_images_have_no_gradient():
    logits, labels, from_memory = queries(2, 3, 4)
    balanced_cross_entropy(logits.requires_grad_(), labels, from_memory).backward()
    moved = logits.grad.abs().sum(-1) > 0
    assert moved.tolist() == [True] * 5 + [False] * 4


def loss_of_half(rank):
    """The loss of one process, and its gradient, with half of a batch of two images."""
    torch.manual_seed(5)
    # image 0 is stored and has 2 matched of 4; image 1 is current and has 3
    logits = torch.randn(2, 4, 4, dtype=torch.float64)
    labels = torch.tensor([[0, 3, 1, 3], [1, 2, 3, 0]])
    half = [[0, 1], [0], [1]][rank + 1]
    mine = logits[half].requires_grad_()
    from_memory = torch.tensor([image == 0 for image in half]).repeat_interleave(4)
    loss = BalancedClassLoss()(mine.flatten(0, 1), labels[half].flatten(), from_memory)
    loss.backward()
    return loss.item(), mine.grad.numpy()


def test_two_processes_train_as_one(tmp_path):
    """The numbers of queries are averaged over processes, as data parallelism does gradients."""
    whole, gradient = loss_of_half(-1)
    parts = several.run_two(loss_of_half, tmp_path)
    assert sum(loss for loss, _ in parts) / 2 == pytest.approx(whole, rel=1e-12)
    for image, (_, part) in enumerate(parts):
        torch.testing.assert_close(torch.from_numpy(part[0] / 2), torch.from_numpy(gradient[image]))


@pytest.mark.usefixtures('mmdet_scope')
def test_the_head_says_which_queries_are_of_stored_images():
    head = tiny.build_head(1, match_cost='WeightedMatchCost', **tiny.SIGMOID)
    head.loss_cls = MODELS.build(dict(type='BalancedClassLoss'))
    targets = [
        ImageTargets.from_masks(torch.tensor([0]), torch.ones(1, 8, 8), from_memory=stored)
        for stored in (True, False)
    ]
    scores = torch.randn(2, 8, head.scenario.num_seen + 1)
    assigned = [(torch.tensor([query]).numpy(), torch.tensor([0]).numpy()) for query in (3, 5)]
    labels = torch.full((2, 8), head.scenario.num_seen)
    labels[0, 3] = labels[1, 5] = 0
    flags = torch.tensor([True] * 8 + [False] * 8)
    expected = 2 * balanced_cross_entropy(scores.flatten(0, 1), labels.flatten(), flags)
    torch.testing.assert_close(head._class_loss(scores, targets, assigned), expected)


@pytest.mark.parametrize('weight', [0.0, -0.1])
def test_wrong_weight(weight):
    with pytest.raises(ValueError, match='no_object_weight: expected above 0, got'):
        BalancedClassLoss(no_object_weight=weight)
