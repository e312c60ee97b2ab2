"""Every trained parameter gets a gradient in every step, so that data parallelism does not wait.

``find_unused_parameters`` is False in all configs. All methods are tried, at the first step and the
second, with images that have nothing to learn.
"""

import every_method
import pytest
import torch


def without_gradient(model, samples):
    for sample in samples:
        # in case the method wants to know what is hidden
        sample.set_metainfo({'hidden_label': 254})
    model.zero_grad(set_to_none=True)
    losses = model.loss(torch.randn(len(samples), 3, 64, 64), samples)
    total = sum(loss for name, loss in losses.items() if 'loss' in name)
    assert torch.isfinite(total)
    total.backward()
    return [
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and parameter.grad is None
    ]


@pytest.mark.parametrize(('method', 'step'), every_method.STEPS)
def test_every_parameter_gets_a_gradient(method, step, monkeypatch):
    student, semantic = every_method.build(method, step, monkeypatch)
    for samples in every_method.batches(semantic):
        assert without_gradient(student, samples) == []
