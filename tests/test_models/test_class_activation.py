"""Scores, classes and which queries count, for each activation of class logits."""

import pytest
import torch

from mmcomformer.models.class_activation import SOFTMAX, ClassSigmoid, ClassSoftmax
from mmcomformer.registry import MODELS


def decide(logits, score_thr, activation=SOFTMAX):
    """Decide with a no-object in the last column."""
    return activation.decide(logits, score_thr, logits.shape[-1] - 1)


def test_scores_and_kept_queries():
    prob = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.2, 0.5, 0.3], [0.1, 0.5, 0.4]])
    scores, classes, kept = decide(prob.log(), 0.0)
    torch.testing.assert_close(scores, torch.tensor([0.7, 0.6, 0.5, 0.5]))
    assert classes.tolist() == [0, 2, 1, 1]
    assert kept.tolist() == [True, False, True, True]
    assert decide(prob.log(), 0.6)[2].tolist() == [True, False, False, False]


def test_score_must_exceed_the_threshold():
    logits = torch.tensor([[0.0, 0.0, -torch.inf]])
    assert decide(logits, 0.5)[2].tolist() == [False]
    assert decide(logits, 0.4999)[2].tolist() == [True]


def test_unseen_classes_at_minus_infinity_change_nothing():
    logits = torch.randn(6, 4)
    padded = torch.cat([logits[:, :3], torch.full((6, 2), -torch.inf), logits[:, 3:]], 1)
    scores, classes, kept = decide(logits, 0.3)
    padded_scores, padded_classes, padded_kept = decide(padded, 0.3)
    torch.testing.assert_close(padded_scores, scores)
    assert torch.equal(padded_kept, kept)
    assert torch.equal(padded_classes[kept], classes[kept])


PROB = torch.tensor([[0.7, 0.9, 0.1], [0.4, 0.3, 0.6], [0.2, 0.1, 0.1]])


def test_sigmoid_with_no_object():
    scores, classes, kept = decide(PROB.logit(), 0.15, ClassSigmoid())
    torch.testing.assert_close(scores, torch.tensor([0.9, 0.6, 0.2]))
    assert classes.tolist() == [1, 2, 0]
    assert kept.tolist() == [True, False, True]
    assert decide(PROB.logit(), 0.2001, ClassSigmoid())[2].tolist() == [True, False, False]


def test_sigmoid_without_no_object():
    activation = ClassSigmoid(no_object=False)
    assert not activation.has_no_object
    scores, classes, kept = activation.decide(PROB.logit(), 0.5, 3)
    torch.testing.assert_close(scores, torch.tensor([0.9, 0.6, 0.2]))
    assert classes.tolist() == [1, 2, 0]
    assert kept.tolist() == [True, True, False]


@pytest.mark.parametrize('hidden', [0, 1, 3])
def test_temperature(hidden):
    """The score is a softmax of probabilities; classes at -inf have no share."""
    activation = ClassSigmoid(no_object=False, temperature=0.06)
    padding = torch.full((3, hidden), -torch.inf)
    scores, classes, kept = activation.decide(torch.cat([PROB.logit(), padding], 1), 0.5, 3)
    expected = (PROB / 0.06).softmax(-1).amax(-1)
    torch.testing.assert_close(scores, expected)
    assert classes.tolist() == [1, 2, 0]
    assert kept.tolist() == [True, True, False]


def test_temperature_of_a_query_that_predicts_nothing():
    logits = torch.full((1, 4), -torch.inf)
    scores, _, kept = ClassSigmoid(no_object=False, temperature=0.06).decide(logits, 0.0, 3)
    assert kept.tolist() == [False]
    assert scores.isfinite().all()


def test_half_precision_is_activated_in_float32():
    logits = torch.randn(4, 5)
    for activation in (ClassSoftmax(), ClassSigmoid()):
        prob = activation.probability(logits.half())
        assert prob.dtype == torch.float32
        assert torch.equal(prob, activation.probability(logits.half().float()))


def test_losses_that_do_not_fit():
    loss = MODELS.build(dict(type='FocalClassLoss'))
    SOFTMAX.check_loss(loss, 'model.head.loss_cls')
    SOFTMAX.check_loss(torch.nn.L1Loss(), 'model.head.loss_cls')
    with pytest.raises(ValueError, match='model.head.loss_cls: FocalClassLoss expects classes'):
        ClassSigmoid().check_loss(loss, 'model.head.loss_cls')


def test_bad_temperature():
    with pytest.raises(ValueError, match='ClassSigmoid.temperature: expected above 0, got 0'):
        ClassSigmoid(temperature=0)
