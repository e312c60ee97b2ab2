"""Stopping at a loss that is not a number."""

from types import SimpleNamespace

import pytest
from mmengine.hooks import CheckpointHook
from mmengine.logging import HistoryBuffer
from several import run_two

from mmcomformer.engine.hooks import FiniteLossHook, SafeCheckpointHook
from mmcomformer.engine.hooks.finite_loss_hook import _is_saved


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


def saving(kind=SafeCheckpointHook, *, max_iters=100, batches=9, **arguments):
    """A runner after its seventh iteration, with a hook that saves."""
    runner = runner_with()
    runner.hooks = [kind(**arguments)]
    runner.max_iters = max_iters
    runner.train_dataloader = range(batches)
    runner.epoch = 0
    return runner


@pytest.mark.parametrize('finite_on', [0, 1])
def test_no_process_saves_what_one_refuses(tmp_path, finite_on):
    """The loss of one process is NaN in an iteration after which a checkpoint is written."""

    def work(rank):
        runner = saving(by_epoch=False, interval=7)
        value = 1.0 if rank == finite_on else float('nan')
        runner.message_hub = runner_with(loss=value).message_hub
        FiniteLossHook().after_train_iter(runner, 6, BATCH, {'loss': value})

    errors = run_two(work, tmp_path)
    assert [type(error) for error in errors] == [RuntimeError, RuntimeError]
    assert 'losses of another process are not finite' in str(errors[finite_on])
    assert "{'loss': nan} are not finite" in str(errors[1 - finite_on])


def test_processes_do_not_wait_for_each_other_in_between(tmp_path):
    def work(rank):
        runner = saving(by_epoch=False, interval=5)
        value = 1.0 if rank else float('nan')
        runner.message_hub = runner_with(loss=value).message_hub
        FiniteLossHook().after_train_iter(runner, 6, BATCH, {'loss': value})
        return 'goes on'

    first, second = run_two(work, tmp_path)
    assert isinstance(first, RuntimeError)
    assert second == 'goes on'


@pytest.mark.parametrize(
    ('runner', 'expected'),
    [
        (saving(by_epoch=False, interval=7), True),
        (saving(CheckpointHook, by_epoch=False, interval=7), True),
        (saving(by_epoch=False, interval=5), False),
        (saving(by_epoch=False, interval=7, save_begin=8), False),
        (saving(by_epoch=False, interval=5, max_iters=7), True),
        (saving(by_epoch=False, interval=5, save_last=False, max_iters=7), False),
        (saving(by_epoch=True, interval=1), False),
        (saving(by_epoch=True, interval=1, batches=7), True),
    ],
)
def test_when_a_checkpoint_follows(runner, expected):
    assert _is_saved(runner, 6) == expected
