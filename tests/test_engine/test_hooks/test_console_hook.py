"""The lines that a training prints."""

from collections import deque
from types import SimpleNamespace

import pytest
from mmengine.logging import HistoryBuffer
from torch import nn

from mmcomformer.engine.console import Console
from mmcomformer.engine.hooks import console_hook
from mmcomformer.engine.hooks.console_hook import ConsoleHook, format_seconds, sum_by_kind


class TeacherLoss(nn.Module):
    needs_teacher = True

    def forward(self):
        return {'loss_tokens': 0.0}


class OwnLoss(nn.Module):
    needs_teacher = False

    def forward(self):
        return {'loss_spread': 0.0}


@pytest.mark.parametrize(
    ('losses', 'teachers', 'expected'),
    [
        ({'loss_cls': 1, 'd0.loss_cls': 2, 'd1.loss_mask': 4}, [], {'class': 3, 'mask': 4}),
        ({'loss_dice': 1, 'd8.loss_dice': 2}, [], {'dice': 3}),
        ({'loss_pod': 1, 'd0.loss_pod': 2}, ['loss_pod'], {'distillation': 3}),
        ({'loss_box': 1}, ['loss_pod'], {'other': 1}),
        # a method may compare the classes with the teacher's
        ({'loss_cls': 1, 't.loss_cls': 2}, ['t.loss_cls'], {'class': 1, 'distillation': 2}),
    ],
)
def test_sum_by_kind(losses, teachers, expected):
    assert sum_by_kind(losses, teachers) == expected


@pytest.mark.parametrize(
    ('seconds', 'expected'),
    [(0, '0:00'), (59.6, '1:00'), (600, '10:00'), (3600, '1:00:00'), (90061, '1 day, 1:01:01')],
)
def test_format_seconds(seconds, expected):
    assert format_seconds(seconds) == expected


@pytest.fixture
def runner(monkeypatch):
    """A runner after iteration 9 of 40, of which a line is due every 10."""
    monkeypatch.setattr(console_hook, 'describe_step', lambda runner: 'header')
    losses = nn.ModuleDict({'tokens': TeacherLoss(), 'spread': OwnLoss()})
    scalars = {
        'train/loss': [9.0, 6.0],
        'train/loss_cls': [3.0, 2.0],
        'train/d0.loss_cls': [1.0, 1.0],
        'train/loss_tokens': [0.5, 0.5],
        'train/loss_spread': [0.25, 0.25],
        'train/lr': [1e-5, 1e-5],
        'train/base_lr': [1e-3, 5e-4],
        'train/time': [1.0, 2.0],
        'train/grad_norm': [7.0, 7.0],
    }
    buffers = {name: HistoryBuffer(values, [1] * len(values)) for name, values in scalars.items()}
    return SimpleNamespace(
        iter=9,
        max_iters=40,
        model=nn.Module(),
        hooks=deque(),
        losses=losses,
        log_processor=SimpleNamespace(window_size=2),
        message_hub=SimpleNamespace(log_scalars=buffers),
        cfg=None,
    )


def lines(runner, capsys, *iterations, later_iters=100, interval=10):
    runner.model.extra_losses = runner.losses
    runner.hooks = [console_hook.LoggerHook(interval=interval)]
    hook = ConsoleHook(Console(), later_iters)
    hook.before_train(runner)
    for iteration in iterations:
        runner.iter = iteration - 1
        for loss in runner.losses.values():
            loss()
        hook.after_train_iter(runner, runner.iter)
    header, *found = capsys.readouterr().out.splitlines()
    assert header == 'header'
    return found


def test_line(runner, capsys):
    (line,) = lines(runner, capsys, 10)
    assert line == (
        '  iter 10/40  loss 7.5  class 3.5  distillation 0.5  other 0.25  lr 5.00e-04  '
        '1.50 s/iter  left 0:45, all steps 3:15'
    )


def test_last_step_has_one_time(runner, capsys):
    (line,) = lines(runner, capsys, 10, later_iters=0)
    assert line.endswith('1.50 s/iter  left 0:45')


def test_when_a_line_is_due(runner, capsys):
    found = lines(runner, capsys, 3, 4, 10, 11, 20, 40, interval=10)
    assert [line.split()[1] for line in found] == ['3/40', '10/40', '20/40', '40/40']


def test_nothing_watches_the_losses_after_the_first_iteration(runner, capsys):
    lines(runner, capsys, 1)
    assert not any(loss._forward_hooks for loss in runner.losses.values())
