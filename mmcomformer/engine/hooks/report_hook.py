"""Hook that collects what the page of a run shows, and writes the page after each step."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
from mmengine import fileio
from mmengine.dist import all_gather_object, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ...datasets import IncrementalDataset
from ...evaluation.seen_class_metric import SeenClassMetric
from ...registry import HOOKS
from ...report.collected import (
    NOTHING,
    Evaluation,
    KeptPicture,
    write_evaluation,
    write_pseudo_labels,
)
from ...report.picture_pool import PicturePool
from ...tasks import task_of
from ..console import tell
from ..pseudo_label_diagnosis import MOST_IMAGES, diagnose
from .previous_step_hook import unwrap_model
from .summary_hook import SummaryHook, summary_path

_CONSEQUENCES = {
    'pseudo-labels': 'pseudo-labels were not diagnosed',
    'pictures': 'pictures were not kept',
    'evaluation': 'the evaluation was not kept',
    'page': 'the page of the run was not written',
    'trackers': 'trackers were not given pictures',
}
"""What it means that a part of the work failed."""


@HOOKS.register_module()
class ReportHook(Hook):
    """Write ``report.html`` beside ``summary.json``, and collect what it shows.

    At the start of a step whose method makes pseudo-labels, the first process compares them with
    the labels that the step hides (:mod:`..pseudo_label_diagnosis`). The evaluation at the end of a
    step leaves the confusion of the classes, and pictures of the images that
    :class:`~mmcomformer.report.picture_pool.PicturePool` chooses. Both go into the folder of the
    step. The heat map of the classes and the pictures also go to the trackers of the visualizer,
    such as TensorBoard. Without a :class:`SummaryHook` nothing is collected. Nothing here can end a
    run: what fails costs a warning with the reason. The log says how long it took.

    Args:
        enabled: Whether to do anything at all.
        pseudo_label_images: How many training images to diagnose pseudo-labels on; 0 for none.

    Raises:
        ValueError: If it is negative.
    """

    # after the hooks that set the teacher
    priority = 'LOWEST'

    def __init__(self, *, enabled: bool = True, pseudo_label_images: int = MOST_IMAGES) -> None:
        if pseudo_label_images < 0:
            raise ValueError(
                f'ReportHook.pseudo_label_images: expected 0 or more, got {pseudo_label_images}'
            )
        self.enabled = enabled
        self.pseudo_label_images = pseudo_label_images
        self._pool: PicturePool | None = None
        self._keeps_pictures = True
        self._seconds: dict[str, float] = {}

    def before_train(self, runner: Runner) -> None:
        """Diagnose the pseudo-labels, unless the step resumes."""
        model = unwrap_model(runner.model)
        makes_some = getattr(model, 'pseudo_labeller', None) is not None
        first = is_main_process() and runner.iter == 0 and self._summary_hook(runner) is not None
        if makes_some and first and self.pseudo_label_images:
            self._try(runner, 'pseudo-labels', lambda: self._diagnose(runner, model))

    def _diagnose(self, runner: Runner, model: Any) -> None:
        dataset = _incremental(runner.train_dataloader.dataset)
        if dataset is None:
            raise ValueError('the training data has no IncrementalDataset')
        was_training = model.training
        model.eval()
        try:
            task = task_of(runner.cfg.model)
            quality = diagnose(dataset, model, task, most=self.pseudo_label_images)
        finally:
            model.train(was_training)
        write_pseudo_labels(runner.work_dir, quality)

    def before_val_epoch(self, runner: Runner) -> None:
        """Start to collect, if the evaluation is the one that the summary holds."""
        summary_hook = self._summary_hook(runner)
        finished = summary_hook is not None and summary_hook.finished_training(runner) is not None
        self._pool = PicturePool(_num_classes(runner)) if finished else None
        self._keeps_pictures = True

    def _summary_hook(self, runner: Runner) -> SummaryHook | None:
        if not self.enabled:
            return None
        return next((hook for hook in runner.hooks if isinstance(hook, SummaryHook)), None)

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence[Any] | None = None,
    ) -> None:
        """Keep the pictures of a batch that are wanted."""
        if self._pool is None or not self._keeps_pictures:
            return
        for sample in outputs or ():
            if not self._try(runner, 'pictures', partial(self._offer, runner, sample)):
                # the others would fail too, each with a warning
                self._keeps_pictures = False
                return

    def _offer(self, runner: Runner, sample: Any) -> None:
        assert self._pool is not None
        task = task_of(runner.cfg.model)
        num_classes = _num_classes(runner)
        truth = _with_nothing(task.truth_map(sample, num_classes), num_classes)
        name = '/'.join(Path(sample.img_path).parts[-2:])

        def make() -> KeptPicture:
            prediction = _with_nothing(task.segment_map(sample), num_classes)
            content = fileio.get(sample.img_path)
            image = mmcv.imfrombytes(content, channel_order='rgb')
            return KeptPicture.of(name, image, {'truth': truth, 'prediction': prediction})

        self._pool.offer(name, truth, make)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Write what was collected into the folder of the step."""
        if self._pool is None:
            return
        # all processes come here
        pools = all_gather_object(self._pool)
        if is_main_process():
            self._try(runner, 'evaluation', lambda: self._write(runner, pools))

    def _write(self, runner: Runner, pools: Sequence[PicturePool]) -> None:
        metric = next(m for m in runner.val_evaluator.metrics if isinstance(m, SeenClassMetric))
        pool = PicturePool(_num_classes(runner))
        for other in pools:
            pool.merge(other)
        metainfo = runner.val_dataloader.dataset.metainfo
        evaluation = Evaluation(
            classes=metainfo['classes'],
            palette=metainfo['palette'],
            per_class=metric.per_class,
            confusion=metric.confusion,
            segments=metric.segments,
            pictures=pool.pictures(),
        )
        write_evaluation(runner.work_dir, evaluation)

    def after_val(self, runner: Runner) -> None:
        """Write the page, after the summary, and show its pictures to the trackers."""
        if self._pool is not None and is_main_process():
            # what is wrong with the files of the run is said once
            if self._try(runner, 'page', lambda: _write_page(runner)):
                self._try(runner, 'trackers', lambda: _show_pictures(runner))
            parts = ', '.join(f'{part} {took:.1f}' for part, took in self._seconds.items())
            total = sum(self._seconds.values())
            runner.logger.info(f'the page of the run took {total:.1f} s ({parts})')
        self._pool, self._seconds = None, {}

    def _try(self, runner: Runner, part: str, action: Callable[[], Any]) -> bool:
        """Do a part of the work that must not end a run; return whether it was done."""
        begun = time.perf_counter()
        try:
            action()
        except Exception as error:  # noqa: BLE001 - whatever fails, the training is worth more
            reason = f'{type(error).__name__}: {error}'
            runner.logger.warning(f'{_CONSEQUENCES[part]}: {reason}. The run goes on')
            return False
        finally:
            took = time.perf_counter() - begun
            self._seconds[part] = self._seconds.get(part, 0.0) + took
        return True


def _num_classes(runner: Runner) -> int:
    return len(runner.val_dataloader.dataset.metainfo['classes'])


def _write_page(runner: Runner) -> None:
    # matplotlib and jinja2 are not needed before
    from ...report.run_page import write_run_page

    tell(f'page of the run: {write_run_page(summary_path(runner).parent)}')


def _show_pictures(runner: Runner) -> None:
    from ...report.tracker_pictures import tracker_pictures

    for name, picture in tracker_pictures(summary_path(runner).parent).items():
        runner.visualizer.add_image(name, picture, step=runner.iter)


def _with_nothing(codes: Any, num_classes: int) -> np.ndarray:
    """Return a map (1, H, W) of codes as an array (H, W) with :data:`NOTHING` where no class is."""
    array = np.asarray(codes.cpu())[0].astype(np.int32)
    return np.where(array % 1000 < num_classes, array, NOTHING)


def _incremental(dataset: Any) -> IncrementalDataset | None:
    """Return the first dataset of ours in wrappers around it."""
    if isinstance(dataset, IncrementalDataset):
        return dataset
    inner = [getattr(dataset, 'dataset', None), *getattr(dataset, 'datasets', ())]
    return next((found for d in inner if d is not None and (found := _incremental(d))), None)
