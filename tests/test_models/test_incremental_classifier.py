"""The classifier keeps its parameters from step to step and puts no-object last."""

import pytest
import torch
from torch.nn import functional

from mmcomformer.models.growing import load_previous_step
from mmcomformer.models.incremental_classifier import IncrementalClassifier, classifier_increments


def test_logits_are_those_of_the_steps_in_order_then_no_object():
    classifier = IncrementalClassifier(8, [3, 2, 1])
    query = torch.randn(2, 5, 8)
    logits = classifier(query)
    assert logits.shape == (2, 5, 7)
    layers = [*classifier.steps, classifier.no_object]
    expected = torch.cat([functional.linear(query, x.weight, x.bias) for x in layers], -1)
    torch.testing.assert_close(logits, expected)
    classifier.no_object.bias.data += 50
    classifier.steps[1].bias.data -= 50
    changed = classifier(query) - logits
    torch.testing.assert_close(changed[..., 6], torch.full((2, 5), 50.0))
    torch.testing.assert_close(changed[..., 3:5], torch.full((2, 5, 2), -50.0))
    torch.testing.assert_close(changed[..., [0, 1, 2, 5]], torch.zeros(2, 5, 4))


def test_every_layer_learns():
    classifier = IncrementalClassifier(8, [3, 2])
    classifier(torch.randn(4, 8)).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in classifier.parameters())


def test_the_next_step_adds_one_layer_and_renames_nothing():
    old, new = IncrementalClassifier(8, [3, 2]), IncrementalClassifier(8, [3, 2, 4])
    old_state, new_state = old.state_dict(), new.state_dict()
    assert set(old_state) < set(new_state)
    assert new.newest_parameters('') == set(new_state) - set(old_state)
    assert new.newest_parameters('head.') == {'head.steps.2.weight', 'head.steps.2.bias'}
    assert all(old_state[key].shape == new_state[key].shape for key in old_state)


@pytest.mark.parametrize('count', [1, 4])
def test_new_classes_divide_no_object(count):
    """Old classes keep their probability; no-object and the new ones share what it had."""
    old = IncrementalClassifier(8, [3, 2])
    new = IncrementalClassifier(8, [3, 2, count], new_from_no_object=True)
    load_previous_step(new, old.state_dict())
    query = torch.randn(4, 8)
    before, after = old(query).softmax(-1), new(query).softmax(-1)
    torch.testing.assert_close(after[:, :5], before[:, :5])
    shares = before[:, 5:].expand(-1, count + 1) / (count + 1)
    torch.testing.assert_close(after[:, 5:], shares)
    # of their own: each learns for itself
    after = new(query).log_softmax(-1)
    after[:, 5].sum().backward()
    assert not torch.equal(new.steps[2].weight.grad[0], new.no_object.weight.grad[0])


def test_new_classes_start_anew_by_default():
    old, new = IncrementalClassifier(8, [3, 2]), IncrementalClassifier(8, [3, 2, 4])
    start = new.steps[2].weight.clone()
    load_previous_step(new, old.state_dict())
    assert torch.equal(new.steps[2].weight, start)
    assert torch.equal(new.no_object.bias, old.no_object.bias)


def test_increments_are_read_from_a_state_dict():
    state = IncrementalClassifier(8, [3, 2]).state_dict(prefix='head.cls_embed.')
    assert classifier_increments(state, 'head.cls_embed.') == (3, 2)
    assert classifier_increments(state, 'head.') == ()


def test_its_own_state_dict_loads():
    first, second = IncrementalClassifier(8, [3, 2]), IncrementalClassifier(8, [3, 2])
    second.load_state_dict(first.state_dict())
    query = torch.randn(4, 8)
    torch.testing.assert_close(first(query), second(query))


@pytest.mark.parametrize('increments', [[3], [3, 2, 4], [2, 3]])
@pytest.mark.parametrize('strict', [True, False])
def test_state_dict_of_another_step(increments, strict):
    state = IncrementalClassifier(8, increments).state_dict()
    step = len(increments) - 1
    message = (
        rf'is of step {step} \(increments .*\), but the model was built for step 1 .*'
        rf'\[3, 2\].*set STEP={step}'
    )
    with pytest.raises(RuntimeError, match=message):
        IncrementalClassifier(8, [3, 2]).load_state_dict(state, strict=strict)


def test_state_dict_without_a_classifier_is_left_to_torch():
    classifier = IncrementalClassifier(8, [3, 2])
    missing, _ = classifier.load_state_dict({}, strict=False)
    assert len(missing) == 6
