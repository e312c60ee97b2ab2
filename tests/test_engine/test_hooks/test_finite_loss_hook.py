"""Stopping at a loss that is not a number."""

from types import SimpleNamespace

import pytest
from mmengine.logging import HistoryBuffer

from mmcomformer.engine.hooks import FiniteLossHook


def runner_with(**losses):
    scalars = {f'train/{key}': HistoryBuffer([value], [1]) for key, value in losses.items()}
    hub = SimpleNamespace(log_scalars=scalars)
    return SimpleNamespace(message_hub=hub, iter=6, work_dir='work/step1')


BATCH = {'data_samples': [SimpleNamespace(img_path='a.jpg'), SimpleNamespace(img_path='b.jpg')]}


def test_finite_losses_pass():
    outputs = {'loss': 1.0, 'd0.loss_cls': 2.0}
    FiniteLossHook().after_train_iter(runner_with(**outputs), 6, BATCH, outputs)


@pytest.mark.parametrize('value', [float('nan'), float('inf'), float('-inf')])
def test_report(value):
    outputs = {'loss': value, 'loss_cls': 0.5, 'acc': 3.0}
    with pytest.raises(RuntimeError) as caught:
        FiniteLossHook().after_train_iter(runner_with(**outputs), 6, BATCH, outputs)
    message = str(caught.value)
    assert message.startswith('iteration 7: losses {')
    assert str(value) in message
    assert "'loss_cls': 0.5" in message
    assert "['a.jpg', 'b.jpg']" in message
    assert 'work/step1 is kept' in message
    assert 'acc' not in message
