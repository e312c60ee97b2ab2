"""The peak of a step, though the logger resets the counter of the device."""

import pytest
import torch

from mmcomformer.engine.hooks import PeakMemoryHook

MB = 2**20


@pytest.fixture
def counter(monkeypatch):
    """What the device says; a test may change it."""
    values = [0]
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'max_memory_allocated', lambda: values[0])
    return values


def test_largest_of_all_iterations(counter):
    hook = PeakMemoryHook()
    hook.before_train(None)
    for iteration, counter[0] in enumerate([5 * MB, 9 * MB, 7 * MB]):
        hook.after_train_iter(None, iteration)
    assert hook.peak() == (9, 'cuda')


def test_each_step_begins_anew(counter):
    hook = PeakMemoryHook()
    for peak in (9, 4):
        hook.before_train(None)
        counter[0] = peak * MB
        hook.after_train_iter(None, 0)
        assert hook.peak() == (peak, 'cuda')


def test_before_the_logger():
    from mmengine.hooks import LoggerHook
    from mmengine.runner import get_priority

    assert get_priority(PeakMemoryHook.priority) < get_priority(LoggerHook.priority)


def test_process():
    megabytes, kind = PeakMemoryHook().peak()
    assert kind == 'process'
    assert 50 < megabytes < 100_000
