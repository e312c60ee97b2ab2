"""Softmax over queries and sigmoid, and what the losses sample of them."""

import torch

from mmcomformer.models.mask_activation import QuerySigmoid, QuerySoftmax


def test_softmax_is_over_the_queries():
    logits = torch.randn(2, 5, 3, 4)
    prob = QuerySoftmax().probability(logits)
    torch.testing.assert_close(prob.sum(1), torch.ones(2, 3, 4))
    torch.testing.assert_close(prob, logits.exp() / logits.exp().sum(1, keepdim=True))
    # without a batch axis, too
    torch.testing.assert_close(QuerySoftmax().probability(logits[0]), prob[0])


def test_loss_maps_of_softmax():
    logits = torch.randn(2, 5, 3, 4)
    log_prob, prob = QuerySoftmax().loss_maps(logits)
    torch.testing.assert_close(prob, QuerySoftmax().probability(logits))
    torch.testing.assert_close(log_prob, prob.log())
    assert QuerySoftmax.map_kinds == ('log_probability', 'probability')


def test_loss_maps_of_softmax_survive_large_logits():
    logits = torch.tensor([1000.0, 0.0, -1000.0]).view(1, 3, 1, 1).requires_grad_()
    log_prob, prob = QuerySoftmax().loss_maps(logits)
    assert log_prob.flatten().tolist() == [0, -1000, -2000]
    (log_prob.sum() + prob.sum()).backward()
    assert logits.grad.isfinite().all()


def test_sigmoid_is_of_each_query_alone():
    logits = torch.randn(2, 5, 3, 4)
    torch.testing.assert_close(QuerySigmoid().probability(logits), 1 / (1 + (-logits).exp()))
    assert all(x is logits for x in QuerySigmoid().loss_maps(logits))
    assert QuerySigmoid.map_kinds == ('logit', 'logit')


def test_probabilities_are_float32():
    logits = torch.randn(2, 5, 3, 4).half()
    for activation in (QuerySoftmax(), QuerySigmoid()):
        assert activation.probability(logits).dtype == torch.float32


def test_uncertainty_is_largest_where_the_mask_is_half():
    torch.testing.assert_close(
        QuerySoftmax().uncertainty(torch.tensor([0.0, 0.4, 0.5, 0.8, 1.0])),
        torch.tensor([-1.0, -0.2, 0.0, -0.6, -1.0]),
    )
    torch.testing.assert_close(
        QuerySigmoid().uncertainty(torch.tensor([-3.0, 0.0, 2.0])), torch.tensor([-3.0, 0.0, -2.0])
    )
