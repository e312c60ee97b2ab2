"""Hook that keeps ``summary.json`` and prints the table after each step."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.dataset import ClassBalancedDataset, ConcatDataset, RepeatDataset
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner

from ...evaluation.seen_class_metric import SeenClassMetric
from ...evaluation.summary import (
    FILE_NAME,
    Summary,
    check_same_run,
    new_summary,
    read_summary,
    steps_up_to,
    update_summary,
)
from ...evaluation.summary_tables import format_summary
from ...registry import HOOKS
from ...scenario import Scenario
from ...tasks import task_named
from ..checkpoint import META_KEY, continual_meta, is_trained, read_checkpoint
from ..scenario_config import scenario_of
from .previous_step_hook import find_hooks


@HOOKS.register_module()
class SummaryHook(Hook):
    """Write a step's results into ``summary.json`` beside the step's work dir, and log the table.

    It acts when the validation that follows the last iteration ends, on the main process. It also
    acts in ``runner.val()`` without training, if the checkpoint that was loaded holds the finished
    training of the config's step.

    Checkpoints carry ``train_images``, ``memory_images`` if the data have a memory, ``train_iters``
    and ``seconds`` in ``meta['continual']``, so that a resumed training counts what it did before.
    ``seconds`` is the wall-clock time from the first batch, validation left out; what a killed
    process did after its last checkpoint is lost and not counted.

    A run that was given the teacher of another run has the steps before it in common with that run;
    they are taken over from its summary, marked with ``of_run``, so that average and forgetting are
    those of all steps.

    A damaged ``summary.json``, or one of another run, is an error before training starts; so are a
    ``val_evaluator`` without a metric that computes what the task's summary holds, and another
    number of images than a resumed training had.

    Args:
        method: Name of the method, as the summary and the tables show it.
        task: Name of one of the :data:`~mmcomformer.tasks.TASKS`, ``panoptic`` or ``semantic``.

    Raises:
        ValueError: If the task is unknown.
    """

    # after the hooks that log and save
    priority = 'LOWEST'

    def __init__(self, method: str, task: str = 'panoptic') -> None:
        self.method = method
        self.task = task_named(task)
        self._loaded: dict[str, Any] | None = None
        self._seconds = 0.0
        self._started: float | None = None

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Remember the training that a checkpoint of the same step holds."""
        meta = checkpoint.get('meta', {})
        continual = meta.get(META_KEY, {})
        same_step = continual.get('step') == scenario_of(runner.cfg).step
        complete = {'train_images', 'train_iters', 'seconds'} <= continual.keys()
        self._loaded = None
        if same_step and complete:
            self._loaded = {
                **continual,
                **{key: meta.get(key) for key in ('iter', 'epoch', 'seed')},
            }

    def before_train(self, runner: Runner) -> None:
        """Take over the time of earlier sessions and check that results can be written."""
        self._started = None
        self._seconds = 0.0
        if self._loaded is not None and runner.iter > 0:
            self._seconds = self._loaded['seconds']
            self._check_images(runner, self._loaded)
        if runner.val_loop is not None:
            self._find_metric(runner)
        path = summary_path(runner)
        if path.exists():
            check_same_run(read_summary(path), self._run(runner, scenario_of(runner.cfg)), path)

    def _check_images(self, runner: Runner, loaded: dict[str, Any]) -> None:
        now = image_counts(runner.train_dataloader.dataset)
        before = {key: loaded[key] for key in _COUNTS if key in loaded}
        if now != before:
            raise RuntimeError(
                f'train_dataloader.dataset: this step was begun with {_in_words(before)} and now '
                f'has {_in_words(now)}, so it would not be the same training; put the data back, '
                f'or train the step anew with --overwrite'
            )

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Start the clock, or go on after a validation."""
        if self._started is None:
            self._started = time.perf_counter()

    def before_val_epoch(self, runner: Runner) -> None:
        """Stop the clock."""
        self._seconds = self._elapsed()
        self._started = None

    def _elapsed(self) -> float:
        running = 0.0 if self._started is None else time.perf_counter() - self._started
        return self._seconds + running

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Put what the step has done so far into the checkpoint."""
        meta = checkpoint['meta']
        meta.setdefault(META_KEY, {}).update(
            **image_counts(runner.train_dataloader.dataset),
            train_iters=meta['iter'],
            seconds=self._elapsed(),
        )

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Write the summary and log its table if the step's training is complete."""
        training = self._finished_training(runner)
        if training is None or not is_main_process():
            return
        metric = self._find_metric(runner)
        scenario = metric.require_scenario()
        entry = {
            'step': scenario.step,
            'classes': list(scenario.current_classes),
            **training,
            'metrics': metric.groups,
            'per_class': metric.per_class,
        }
        path, run = summary_path(runner), self._run(runner, scenario)
        summary = update_summary(path, run, entry, self._steps_of_teacher(runner, run))
        runner.logger.info(f'{path}\n{format_summary(summary)}')

    def _finished_training(self, runner: Runner) -> dict[str, Any] | None:
        """Return the numbers of the finished training, or None if it is not finished."""
        # runner.train_loop and runner.iter would build the loop
        loop = runner._train_loop
        if isinstance(loop, BaseLoop):
            if loop.iter < loop.max_iters:
                return None
            return {
                **image_counts(loop.dataloader.dataset),
                'train_iters': loop.iter,
                'seconds': self._elapsed(),
                'seed': runner.seed,
            }
        if self._loaded is None or not is_trained(self._loaded, runner.cfg.get('train_cfg')):
            return None
        return {
            key: self._loaded[key]
            for key in (*_COUNTS, 'train_iters', 'seconds', 'seed')
            if key in self._loaded
        }

    def _run(self, runner: Runner, scenario: Scenario) -> Summary:
        return new_summary(
            scenario, config=_config_name(runner), method=self.method, task=self.task.name
        )

    def _steps_of_teacher(self, runner: Runner, run: Summary) -> list[dict[str, Any]]:
        """Return the steps that a run has in common with that of the teacher it was given."""
        teacher = next(
            filter(None, (hook.get('teacher_ckpt') for hook in find_hooks(runner.cfg))), ''
        )
        path = Path(teacher).resolve().parent.parent / FILE_NAME
        if not teacher or path == summary_path(runner) or not path.is_file():
            return []
        meta = read_checkpoint(teacher, mmap=True)['meta']
        try:
            step = continual_meta({'meta': meta}, teacher)['step']
            return steps_up_to(path, run, step=step, iters=meta['iter'], seed=meta.get('seed'))
        except ValueError as error:
            runner.logger.warning(
                f'the steps before {teacher} are left out of the summary: {error}'
            )
            return []

    def _find_metric(self, runner: Runner) -> SeenClassMetric:
        """Return the first metric over seen classes; it has to compute what the task needs."""
        metrics = runner.val_evaluator.metrics
        advice = f"dict(type='{self.task.metric}')"
        metric = next((metric for metric in metrics if isinstance(metric, SeenClassMetric)), None)
        if metric is None:
            raise ValueError(
                f'SummaryHook: val_evaluator has no metric over seen classes, only '
                f'{[type(metric).__name__ for metric in metrics]}; add {advice}'
            )
        if not set(self.task.measures) <= set(metric.measures):
            raise ValueError(
                f'SummaryHook: task {self.task.name!r} needs {self.task.measures}, but '
                f'{type(metric).__name__} computes {metric.measures}; set the task in the '
                f"hook's config, or val_evaluator={advice}"
            )
        return metric


def summary_path(runner: Runner) -> Path:
    """Return where the summary of the runner's run is: beside the work dirs of its steps."""
    return Path(runner.work_dir).resolve().parent / FILE_NAME


def _config_name(runner: Runner) -> str:
    filename = getattr(runner.cfg, 'filename', None)
    return Path(filename).stem if filename else summary_path(runner).parent.name


_COUNTS = ('train_images', 'memory_images')


def image_counts(dataset: Any) -> dict[str, int]:
    """Return how many images of the step and from memory a dataset has.

    Repetitions by a wrapper around it are not counted. ``memory_images`` is missing where no part
    of it has a memory.
    """
    parts = list(_parts(dataset))
    replayed = [part.num_from_memory for part in parts if getattr(part, 'memory', None)]
    counts = {'train_images': sum(map(len, parts)) - sum(replayed)}
    return {**counts, 'memory_images': sum(replayed)} if replayed else counts


def _parts(dataset: Any) -> Iterator[Any]:
    if isinstance(dataset, (RepeatDataset, ClassBalancedDataset)):
        yield from _parts(dataset.dataset)
    elif isinstance(dataset, ConcatDataset):
        for part in dataset.datasets:
            yield from _parts(part)
    else:
        yield dataset


def _in_words(counts: Mapping[str, int]) -> str:
    replayed = counts.get('memory_images')
    return f'{counts["train_images"]} images' + (f' and {replayed} from memory' if replayed else '')
