"""Tell the user what a step is, how far it is, and what an evaluation found."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from mmengine.hooks import Hook, LoggerHook
from mmengine.runner import BaseLoop, Runner
from torch import nn

from ...evaluation.groups import GROUPS
from ...evaluation.seen_class_metric import SeenClassMetric
from ...scenario import Scenario
from ...tables import format_value, join_names
from ..console import Console
from ..scenario_config import scenario_of
from .previous_step_hook import PreviousStepHook, unwrap_model
from .summary_hook import counts_in_words, image_counts

_KINDS = {'loss_cls': 'class', 'loss_mask': 'mask', 'loss_dice': 'dice'}
KINDS = ('class', 'mask', 'dice', 'distillation', 'other')
"""What the losses are summed by, in the order of a line."""
_SHOWN = 8


class ConsoleHook(Hook):
    """Print a header for a step, a line at each interval of the log, and a bar on a terminal.

    What it prints is in the log file too, and more.

    Args:
        console: Where to print.
        later_iters: Iterations of the steps after this one, for the time that is left; None if it
            is not known.
    """

    # after the hooks that compute and log
    priority = 'LOWEST'

    def __init__(self, console: Console, later_iters: int | None = None) -> None:
        self.console = console
        self.later_iters = later_iters
        self._teacher_losses: set[str] = set()
        self._handles: list[Any] = []
        self._first = True
        self._begun = 0.0

    def before_train(self, runner: Runner) -> None:
        """Print what the step is, and look which losses come from a teacher."""
        self.console.print(describe_step(runner))
        self._first = True
        losses = getattr(unwrap_model(runner.model), 'extra_losses', {})
        self._handles = [
            loss.register_forward_hook(self._note_names)
            for loss in losses.values()
            if getattr(loss, 'needs_teacher', True)
        ]

    def _note_names(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self._teacher_losses |= set(output)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Print a line after the first iteration, at each interval, and after the last one."""
        while self._handles:
            self._handles.pop().remove()
        done, total = runner.iter + 1, runner.max_iters
        if self._first or done % _interval(runner) == 0 or done == total:
            self.console.print(self._line(runner, done, total))
        self._first = False
        if self.console.is_terminal:
            self.console.progress(f'  step {scenario_of(runner.cfg).step}', done, total)

    def _line(self, runner: Runner, done: int, total: int) -> str:
        values = _recent(runner)
        losses = sum_by_kind(
            {name: value for name, value in values.items() if 'loss' in name and name != 'loss'},
            self._teacher_losses,
        )
        parts = [f'  iter {done:>{len(str(total))}}/{total}', f'loss {values.get("loss", 0):.4g}']
        parts += [f'{kind} {losses[kind]:.4g}' for kind in KINDS if kind in losses]
        rate = values.get('base_lr', values.get('lr'))
        if rate is not None:
            parts.append(f'lr {rate:.2e}')
        if 'time' in values:
            parts += [f'{values["time"]:.2f} s/iter', self._time_left(values['time'], total - done)]
        return '  '.join(parts)

    def _time_left(self, seconds: float, iters: int) -> str:
        left = f'left {format_seconds(seconds * iters)}'
        if not self.later_iters:
            return left
        return f'{left}, all steps {format_seconds(seconds * (iters + self.later_iters))}'

    def before_val_epoch(self, runner: Runner) -> None:
        """Begin to count the images."""
        self._begin()

    def before_test_epoch(self, runner: Runner) -> None:
        """Begin to count the images."""
        self._begin()

    def _begin(self) -> None:
        self.console.end_progress()
        self._begun = time.monotonic()

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Show how many batches are evaluated."""
        self._show_evaluated(batch_idx + 1, len(runner.val_dataloader))

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Show how many batches are evaluated."""
        self._show_evaluated(batch_idx + 1, len(runner.test_dataloader))

    def _show_evaluated(self, done: int, total: int) -> None:
        left = (time.monotonic() - self._begun) / done * (total - done)
        self.console.progress('  evaluating batch', done, total, f'left {format_seconds(left)}')

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Print what a validation before the end of a training found; the last one has a table."""
        self.console.end_progress()
        loop = runner._train_loop
        if isinstance(loop, BaseLoop) and loop.iter < loop.max_iters:
            for metric in runner.val_evaluator.metrics:
                # on the first process only
                if isinstance(metric, SeenClassMetric) and getattr(metric, 'groups', None):
                    name = metric.measures[0]
                    found = _groups_line(name, metric.groups[name])
                    self.console.print(f'  evaluated after {loop.iter} iterations: {found}')

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Take the bar away."""
        self.console.end_progress()

    def after_train(self, runner: Runner) -> None:
        """Take the bar away."""
        self.console.end_progress()


def describe_step(runner: Runner) -> str:
    """Return a header: classes, images, and what a training starts from."""
    scenario: Scenario = scenario_of(runner.cfg)
    images = counts_in_words(image_counts(runner.train_dataloader.dataset))
    old = f', {scenario.num_seen - len(scenario.current_classes)} old' if scenario.step else ''
    lines = [
        f'{len(scenario.current_classes)} new classes ({_names(scenario.current_classes)}){old}',
        f'{images}, {scenario.setting} setting, {runner.max_iters} iterations',
    ]
    teacher = _teacher(runner.hooks)
    if teacher is not None:
        lines.append(f'teacher {teacher}')
    return '\n'.join(f'  {line}' for line in [*lines, f'log and checkpoints in {runner.work_dir}'])


def _names(classes: Sequence[str]) -> str:
    more = len(classes) - _SHOWN
    shown = [*classes[:_SHOWN], *([f'and {more} more'] if more > 0 else [])]
    return join_names(shown)


def _teacher(hooks: Iterable[Hook]) -> str | None:
    found = (hook.teacher_path for hook in hooks if isinstance(hook, PreviousStepHook))
    return next((path for path in found if path is not None), None)


def _interval(runner: Runner) -> int:
    return next((hook.interval for hook in runner.hooks if isinstance(hook, LoggerHook)), 50)


def _recent(runner: Runner) -> dict[str, float]:
    """Return the scalars of the training: means over the window of the log."""
    window = runner.log_processor.window_size
    means = ('loss', 'time')
    return {
        key.removeprefix('train/'): float(
            buffer.mean(window) if any(word in key for word in means) else buffer.current()
        )
        for key, buffer in runner.message_hub.log_scalars.items()
        if key.startswith('train/')
    }


def sum_by_kind(
    losses: Mapping[str, float], teacher_losses: Iterable[str] = ()
) -> dict[str, float]:
    """Return losses summed over the levels of the decoder, by what they are of.

    Args:
        losses: Values by name, such as ``loss_cls`` of the last level and ``d0.loss_cls``.
        teacher_losses: Names of those that compare with the teacher.

    Returns:
        The sums by kind, out of :data:`KINDS`; a kind without a loss is left out.

    Example:
        >>> sum_by_kind({'loss_cls': 1.0, 'd0.loss_cls': 2.0, 'loss_pod': 0.5}, ['loss_pod'])
        {'class': 3.0, 'distillation': 0.5}
    """
    teachers = set(teacher_losses)
    sums: dict[str, float] = {}
    for name, value in losses.items():
        plain = name.rpartition('.')[2]
        other = 'distillation' if name in teachers or plain in teachers else 'other'
        kind = other if name in teachers else _KINDS.get(plain, other)
        sums[kind] = sums.get(kind, 0.0) + value
    return sums


def format_seconds(seconds: float) -> str:
    """Return a time as hours, minutes and seconds.

    Example:
        >>> format_seconds(3725.4), format_seconds(59)
        ('1:02:05', '0:59')
    """
    text = str(timedelta(seconds=round(seconds)))
    return text.removeprefix('0:').removeprefix('0') if text.startswith('0:') else text


def _groups_line(name: str, values: Mapping[str, float | None]) -> str:
    return '  '.join(f'{name} {group} {format_value(values[group])}' for group in GROUPS)
