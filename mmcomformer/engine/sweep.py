"""Evaluate a checkpoint for several values of a setting of inference, computing logits once."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.model import is_model_wrapper
from mmengine.registry import LOOPS
from mmengine.runner import Runner, TestLoop
from torch import nn

from ..evaluation.groups import GROUPS
from ..evaluation.summary import FOREGROUND
from ..models.inference_settings import inference_setting
from ..tables import format_table, format_value
from .checkpoint import read_checkpoint
from .checkpoint_fit import trained_config
from .console import build_runner, command_console, tell
from .evaluate import prepare_evaluation
from .request import Request

IMAGES = ('test', 'val', 'train')
Groups = dict[str, dict[str, float | None]]


@dataclass(frozen=True)
class Sweep:
    """What a sweep found.

    Attributes:
        name: The setting, such as ``deltas``.
        key: Its key in the config.
        values: What it was.
        groups: For each value, percent by metric and by base, new and all; empty but on the main
            process.
    """

    name: str
    key: str
    values: tuple[Any, ...]
    groups: tuple[Groups, ...]

    @property
    def measure(self) -> str:
        """The metric that decides."""
        return next(iter(self.groups[0]))

    @property
    def best(self) -> Any:
        """The value with the largest metric over all classes; the first one of several."""
        return max(
            zip(self.values, self.groups, strict=True),
            key=lambda pair: pair[1][self.measure]['all'] or 0.0,
        )[0]


def parse_sweep(text: str) -> tuple[str, tuple[Any, ...]]:
    """Return the name and the values of ``NAME=VALUE,VALUE,...``.

    Raises:
        ValueError: If it is not of that form, or has no value or one twice.

    Example:
        >>> parse_sweep('deltas=0.2,[0.4,0.6],None')
        ('deltas', (0.2, [0.4, 0.6], None))
    """
    name, _, listed = text.partition('=')
    try:
        values = ast.literal_eval(f'[{listed}]')
    except (SyntaxError, ValueError):
        values = []
    if not name.isidentifier() or not values:
        raise ValueError(
            f'--sweep: expected a setting and its values such as deltas=0.2,0.4 or '
            f'deltas=[0.4,0.6],[0.4,0.8], got {text!r}'
        )
    repeated = [value for i, value in enumerate(values) if value in values[:i]]
    if repeated:
        raise ValueError(f'--sweep: {repeated[0]!r} is listed more than once')
    return name, tuple(values)


def sweep(request: Request, checkpoint: str, asked: str, *, images: str = 'test') -> Sweep:
    """Evaluate a checkpoint for several values of a setting of inference.

    Args:
        request: Config and options; without a step, that of the checkpoint is used.
        checkpoint: Path of the checkpoint.
        asked: See :func:`parse_sweep`.
        images: ``test`` or ``val``, those of the config, or ``train``, those images of the
            training set that its ``held_out`` keeps from training, or all if it keeps none, with
            all labels.

    Raises:
        FileNotFoundError: If a file is missing.
        RuntimeError: If the checkpoint is not one of ours or does not fit.
        TypeError: If a value has a type that the setting cannot have.
        ValueError: If an argument is wrong, the model has no such setting, or images are asked for
            as held out that the checkpoint was trained on.
    """
    name, values = parse_sweep(asked)
    if images not in IMAGES:
        raise ValueError(f'--sweep-on: expected one of {IMAGES}, got {images!r}')
    cfg = prepare_evaluation(request, checkpoint)
    if images == 'train':
        _check_held_out(cfg, checkpoint)
    _choose_images(cfg, images)
    cfg.test_cfg = dict(type='SweepLoop', name=name, values=list(values))
    with command_console(verbose=request.verbose) as console:
        return _run(build_runner(cfg, console), images)


def _run(runner: Runner, images: str) -> Sweep:
    if images == 'train' and not runner.cfg.test_dataloader.dataset.get('held_out'):
        runner.logger.warning(
            'no image of the training set was held out (train_dataloader.dataset.held_out): the '
            'model was trained on all of them, and what is best on them may not be elsewhere'
        )
    runner.test()
    found: Sweep = runner.test_loop.found
    # on the main process only
    if found.groups[0]:
        tell(f'\n{format_sweep(found)}')
    return found


def _check_held_out(cfg: Config, checkpoint: str) -> None:
    """Refuse images as held out that a checkpoint was trained on.

    What is held out is a share of all images by their names, so that a smaller share is part of it.
    """
    trained = trained_config(read_checkpoint(checkpoint, mmap=True)).get('train_dataloader')
    asked = _held_out(cfg.train_dataloader)
    if trained is not None and asked > (kept := _held_out(trained)):
        raise ValueError(
            f'train_dataloader.dataset.held_out: expected at most {kept}, got {asked}: checkpoint '
            f'{checkpoint} was trained with {kept}, and so on images that this would call held out'
        )


def _held_out(loader: Mapping[str, Any]) -> float:
    return _incremental(loader).get('held_out') or 0.0


def _incremental(loader: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the settings of the ``IncrementalDataset`` that a loader reads through."""
    node: Mapping[str, Any] = loader['dataset']
    while node.get('type') != 'IncrementalDataset' and 'dataset' in node:
        node = node['dataset']
    return node


def _choose_images(cfg: Config, images: str) -> None:
    if images == 'val':
        cfg.test_dataloader, cfg.test_evaluator = cfg.val_dataloader, cfg.val_evaluator
    if images != 'train':
        return
    source = _incremental(cfg.train_dataloader)
    target = cfg.test_dataloader.dataset
    for key in ('dataset', 'category_aliases', 'ignore_values', 'index_cache', 'held_out'):
        target.pop(key, None)
        if key in source:
            target[key] = source[key]


@LOOPS.register_module()
class SweepLoop(TestLoop):
    """Test with several values of a setting; the network runs once for each batch.

    Args:
        runner: The runner.
        dataloader: A data loader, or its config.
        evaluator: Config of the evaluator; there is one for each value.
        name: Name of the setting, see :class:`.InferenceSetting`.
        values: Its values.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: Any,
        evaluator: Any,
        *,
        name: str,
        values: Sequence[Any],
    ) -> None:
        super().__init__(runner, dataloader, evaluator)
        self.name = name
        self.values = tuple(values)
        self.evaluators: list[Evaluator] = [runner.build_evaluator(evaluator) for _ in self.values]
        for each in self.evaluators:
            each.dataset_meta = self.evaluator.dataset_meta
        self.found: Sweep

    def run(self) -> dict[str, float]:
        """Test, and return the metrics of the best value."""
        model = self.runner.model
        self.model: Any = model.module if is_model_wrapper(model) else model
        self.setting = inference_setting(self.model, self.name)
        # a value that is wrong is reported before the first image
        for value in self.values:
            self.setting.assign(value)
        self.runner.call_hook('before_test')
        self.runner.call_hook('before_test_epoch')
        model.eval()
        for index, data_batch in enumerate(self.dataloader):
            self.run_iter(index, data_batch)
        num_images = len(self.dataloader.dataset)
        metrics = [each.evaluate(num_images) for each in self.evaluators]
        groups = tuple(_groups_of(each) for each in self.evaluators)
        self.found = Sweep(self.name, self.setting.key, self.values, groups)
        best = metrics[self.values.index(self.found.best)] if all(groups) else metrics[0]
        self.runner.call_hook('after_test_epoch', metrics=best)
        self.runner.call_hook('after_test')
        return best

    @torch.no_grad()
    def run_iter(self, idx: int, data_batch: Any) -> None:
        """Test one batch with all values."""
        self.runner.call_hook('before_test_iter', batch_idx=idx, data_batch=data_batch)
        with _computed_once(self.model) as rewind:
            for value, evaluator in zip(self.values, self.evaluators, strict=True):
                self.setting.assign(value)
                outputs = self.runner.model.test_step(data_batch)
                evaluator.process(data_samples=outputs, data_batch=data_batch)
                rewind()
        self.runner.call_hook(
            'after_test_iter', batch_idx=idx, data_batch=data_batch, outputs=outputs
        )


def _groups_of(evaluator: Evaluator) -> Groups:
    """Return the groups that a metric found; empty but on the main process."""
    found = (getattr(metric, 'groups', None) for metric in evaluator.metrics)
    return next(filter(None, found), {})


class _Tape:
    """Remember what a function returned, in order, and return it again after it is rewound."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.results: list[Any] = []
        self.position: int | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.position is None:
            self.results.append(self.function(*args, **kwargs))
            return self.results[-1]
        self.position += 1
        return self.results[self.position - 1]

    def rewind(self) -> None:
        self.position = 0


@contextmanager
def _computed_once(model: Any) -> Iterator[Callable[[], None]]:
    """Let backbone and decoder compute on the first pass over a batch only.

    What inference asks of them in a pass, such as one window of an image after the other, it asks
    in the same order in the others.
    """
    parts: list[tuple[nn.Module, str]] = [(model, 'extract_feat'), (model.mask_head, 'forward')]
    tapes = [_Tape(getattr(module, name)) for module, name in parts]
    for (module, name), tape in zip(parts, tapes, strict=True):
        # before the method of the class
        module.__dict__[name] = tape

    def rewind() -> None:
        for tape in tapes:
            tape.rewind()

    try:
        yield rewind
    finally:
        for module, name in parts:
            del module.__dict__[name]


def format_sweep(found: Sweep) -> str:
    """Return the table of a sweep, a row per value, and which one was best."""
    first, *others = (metric for metric in found.groups[0] if not metric.endswith(FOREGROUND))
    columns = [(first, group) for group in GROUPS] + [(metric, 'all') for metric in others]
    rows = [
        [str(value), *(format_value(groups[metric].get(group)) for metric, group in columns)]
        for value, groups in zip(found.values, found.groups, strict=True)
    ]
    table = format_table([found.name, *(f'{metric} {group}' for metric, group in columns)], rows)
    best = str(found.best).replace(' ', '')
    return f'{table}\nbest {found.measure} all: --cfg-options "{found.key}={best}"'
