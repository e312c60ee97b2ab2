"""Distillation of tokens: golden numbers, which queries count, one process and two."""

import golden
import numpy as np
import pytest
import several
import torch

from mmcomformer.methods.balconpas import BacktraceDistillLoss
from mmcomformer.models.query_output import QueryOutput
from mmcomformer.models.targets import ImageTargets

GOLDEN = golden.Golden('token_distillation', 'balconpas')
QUIRK = 't5_memory_image_released_quirk'


def image_targets(num_pseudo, num_truth, memory=False):
    """Targets with ground truth first; a stored image has no other."""
    truth = ImageTargets.from_masks(
        torch.zeros(num_truth, dtype=torch.long), torch.zeros(num_truth, 4, 4), from_memory=memory
    )
    if memory or num_pseudo is None:
        return truth
    labels = torch.zeros(num_pseudo, dtype=torch.long)
    return truth.with_pseudo_labels(torch.full((4, 4), -1), labels, labels == 0)


def assigned_of(case, image):
    """The recorded assignment in our numbering, ground truth first."""
    queries, chosen = (
        GOLDEN[f'{case["case"]}__{part}_{image}'].numpy() for part in ('query', 'target')
    )
    num_pseudo, num_truth = case['n_pseudo'][image], case['n_ground_truth'][image]
    if case['memory'][image]:
        return queries, chosen
    return queries, np.where(chosen < num_pseudo, chosen + num_truth, chosen - num_pseudo)


def tokens_of(recorded, dtype):
    """(L, Q, B, C) -> a leaf of that shape, and the output with L times (B, Q, C)."""
    leaf = recorded.to(dtype).requires_grad_()
    return leaf, QueryOutput((), (), tuple(leaf.transpose(1, 2)))


def losses_of(loss, student, teacher, targets, assigned):
    """Losses by level; the assignments of the levels before the last are not to be read."""
    levels = len(student.tokens)
    named = loss(student, teacher, targets, [None] * (levels - 1) + [assigned])
    assert list(named) == ['loss_token', *(f'd{level}.loss_token' for level in range(levels - 1))]
    return torch.stack([*list(named.values())[1:], named['loss_token']])


@pytest.mark.parametrize(('dtype', 'tolerance'), golden.PRECISIONS)
@pytest.mark.parametrize('case', GOLDEN.cases, ids=lambda case: case['case'])
def test_released_loss_and_gradient(case, dtype, tolerance):
    name, images = case['case'], range(case['B'])
    leaf, student = tokens_of(GOLDEN[f'{name}__student'], dtype)
    _, teacher = tokens_of(GOLDEN[f'{name}__teacher'], dtype)
    targets = [
        image_targets(*numbers)
        for numbers in zip(case['n_pseudo'], case['n_ground_truth'], case['memory'], strict=True)
    ]
    assigned = [assigned_of(case, image) for image in images]
    losses = losses_of(BacktraceDistillLoss(1.0), student, teacher, targets, assigned)
    losses.sum().backward()
    assert leaf.grad.isfinite().all()
    if name == QUIRK:
        # the released program distils the queries of some ground truth of the stored image
        golden.assert_agrees(losses, case['intended_losses_f64'], tolerance)
        assert (leaf.grad[:, :, 0] == 0).all()
        assert losses.sum().item() != pytest.approx(case['loss_sum_f64'], rel=1e-3)
    elif case['loss_sum_f64'] is None:
        # NaN in the released program
        assert losses.tolist() == [0] * case['L']
        assert (leaf.grad == 0).all()
    else:
        golden.assert_agrees(losses, GOLDEN[f'{name}__losses_f64'], tolerance)
        golden.assert_agrees(leaf.grad, GOLDEN[f'{name}__grad_f64'], tolerance)


def batch(num_levels=2):
    generator = torch.Generator().manual_seed(1)
    student, teacher = (
        QueryOutput((), (), tuple(torch.randn(num_levels, 2, 4, 3, generator=generator)))
        for _ in range(2)
    )
    # image 0: ground truth and two pseudo-labels; image 1: the same from memory
    targets = [image_targets(2, 1), image_targets(2, 1, memory=True)]
    assigned = [(np.array([0, 2, 3]), np.array([1, 0, 2])), (np.array([1]), np.array([0]))]
    return student, teacher, targets, assigned


def test_by_hand():
    student, teacher, targets, assigned = batch()
    losses = losses_of(BacktraceDistillLoss(), student, teacher, targets, assigned)
    for loss, ours, theirs in zip(losses, student.tokens, teacher.tokens, strict=True):
        # queries 0 and 3 of image 0, of width 3
        squares = (ours - theirs)[0, [0, 3]].square()
        torch.testing.assert_close(loss, 5 * squares.sum() / (3 * 2))


def test_pseudo_labels_of_stored_images_do_not_count():
    """Of a labeller that completes stored images too."""
    student, teacher, targets, assigned = batch()
    before = losses_of(BacktraceDistillLoss(), student, teacher, targets, assigned)
    stored = image_targets(2, 1)
    targets[1] = ImageTargets(
        stored.labels, stored.valid, stored.masks, stored.owner, 1, from_memory=True
    )
    assigned[1] = (np.array([1, 2]), np.array([0, 2]))
    after = losses_of(BacktraceDistillLoss(), student, teacher, targets, assigned)
    assert torch.equal(after, before)


def test_half_precision_is_computed_in_single():
    student, teacher, targets, assigned = batch()
    student, teacher = (
        QueryOutput((), (), tuple(200 * token.half() for token in output.tokens))
        for output in (student, teacher)
    )
    losses = losses_of(BacktraceDistillLoss(), student, teacher, targets, assigned)
    assert losses.dtype == torch.float32
    # the squares are more than float16 holds
    assert losses.isfinite().all()


def loss_of_half(rank):
    """Images 0 and 1 have two past queries and one; image 2 has none, image 3 has one."""
    torch.manual_seed(3)
    tokens = torch.randn(2, 4, 5, 6, dtype=torch.float64)
    half = [[0, 1, 2, 3], [0, 1], [2, 3]][rank + 1]
    student = tokens[0, half].requires_grad_()
    outputs = [QueryOutput((), (), (token,)) for token in (student, tokens[1, half])]
    past = [[0, 2], [4], [], [1]]
    targets = [image_targets(len(past[image]), 0) for image in half]
    assigned = [(np.array(past[image], int), np.arange(len(past[image]))) for image in half]
    loss = losses_of(BacktraceDistillLoss(), *outputs, targets, assigned).sum()
    loss.backward()
    return loss.item(), student.grad.numpy()


def test_two_processes_train_as_one(tmp_path):
    whole, gradient = loss_of_half(-1)
    parts = several.run_two(loss_of_half, tmp_path)
    assert sum(loss for loss, _ in parts) / 2 == pytest.approx(whole, rel=1e-12)
    np.testing.assert_allclose(np.concatenate([part / 2 for _, part in parts]), gradient)


def nothing_in_one_process(rank):
    """One query in all of the two processes."""
    tokens = torch.ones(2, 1, 2, 3, dtype=torch.float64) * torch.tensor([1.0, 3.0]).view(2, 1, 1, 1)
    targets = [image_targets(1 - rank, 0)]
    assigned = [(np.arange(1 - rank), np.arange(1 - rank))]
    outputs = [QueryOutput((), (), (token,)) for token in tokens]
    return losses_of(BacktraceDistillLoss(1.0), *outputs, targets, assigned).item()


def test_a_process_without_a_past_query(tmp_path):
    """The mean over one query is the mean of 8 and 0."""
    assert several.run_two(nothing_in_one_process, tmp_path) == [8, 0]


def test_another_model_as_teacher():
    student, teacher, targets, assigned = batch()
    for tokens in (teacher.tokens[:1], tuple(token[:, :3] for token in teacher.tokens), None):
        with pytest.raises(ValueError, match='expected a teacher with the levels, queries and wi'):
            BacktraceDistillLoss()(student, QueryOutput((), (), tokens), targets, [assigned])


def test_wrong_weight():
    with pytest.raises(ValueError, match='loss_weight: expected at least 0, got -1'):
        BacktraceDistillLoss(loss_weight=-1)
