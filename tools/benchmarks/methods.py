"""Compare the steps of methods: time, memory, and what of the model is trained.

An iteration of step 1 of each method is done in turn in one process, on one generated batch.
Student and teacher have random weights, so that the teacher gives few pseudo-labels: matching and
losses of methods that have them are measured a little too fast.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from measuring import (
    BenchmarkError,
    clock_of,
    one_line_errors,
    quiet,
    ratios,
    report,
    time_in_turn,
)
from stepping import (
    SIZES,
    Size,
    Step,
    add_size_arguments,
    check_memory,
    draw_cells,
    fitting,
    make_samples,
    peak_of,
    size_of,
)

LEAVES = Path(__file__).parents[2] / 'configs'
SCENARIOS = {'tiny': 'shapes_6-3', 'shapes': 'shapes_6-3', 'r50': 'ade_100-50'}
"""The scenario, of two groups of classes, whose configs have the model."""


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('methods', nargs='+', help='such as eclipse comformer')
    add_size_arguments(parser)
    return parser.parse_args()


def leaf_of(method: str, model: str) -> Path:
    """Return the config of a method.

    Raises:
        BenchmarkError: If there is none; the message lists those that exist.
    """
    name = f'{method}_{SCENARIOS[model]}.py'
    if not (LEAVES / name).is_file():
        known = sorted(
            path.name.removesuffix(f'_{SCENARIOS[model]}.py')
            for path in LEAVES.glob(f'*_{SCENARIOS[model]}.py')
        )
        raise BenchmarkError(f'method {method}: there is no {name}; expected one of {known}')
    return LEAVES / name


class MethodTraining(Step):
    """A student of step 1 with what its method gives it, its optimizer, and a batch.

    Args:
        leaf: The config of the method.
        size: Of the batch; its queries are those of the model.
        device: ``cpu`` or ``cuda``.
    """

    def __init__(self, leaf: Path, size: Size, device: str) -> None:
        import torch
        from mmengine.optim import build_optim_wrapper
        from mmengine.registry import DefaultScope

        import mmcomformer.components  # noqa: F401  (registers)
        from mmcomformer.engine.request import Request, load_config
        from mmcomformer.engine.scenario_config import model_at_step, scenario_of
        from mmcomformer.registry import MODELS

        with mock.patch.dict(os.environ, RECIPE='fair'):
            cfg = load_config(Request(config=str(leaf)), 1)
        cfg.model.backbone.init_cfg = None
        cfg.model.panoptic_head.num_queries = size.queries
        cfg.optim_wrapper.type = 'AmpOptimWrapper' if size.amp else 'OptimWrapper'
        self.device = device
        with DefaultScope.overwrite_default_scope('mmdet'):
            self.student = self._built(MODELS.build(cfg.model))
            self._give_teacher(cfg, lambda: self._built(MODELS.build(model_at_step(cfg.model, 0))))
            self.optim_wrapper = build_optim_wrapper(self.student, cfg.optim_wrapper)
        self.student.train()
        torch.manual_seed(0)
        self.images = torch.randn(size.batch, 3, size.resolution, size.resolution, device=device)
        cells = draw_cells(size, size.truth + size.pseudo)
        self.samples = make_samples(size, cells, [size.truth] * size.batch, device=device)
        labels = torch.tensor(sorted(scenario_of(cfg).current_labels), device=device)
        for sample in self.samples:
            sample.gt_instances.labels = labels[torch.arange(size.truth) % len(labels)]

    def _built(self, model: Any) -> Any:
        model.init_weights()
        return model.to(self.device)

    def _give_teacher(self, cfg: Any, build: Any) -> None:
        from mmcomformer.engine.hooks import PseudoLabelHook, TeacherHook
        from mmcomformer.models import FrozenTeacher
        from mmcomformer.registry import HOOKS

        for config in cfg.custom_hooks:
            hook = HOOKS.build(config)
            if isinstance(hook, TeacherHook):
                self.student.teacher = FrozenTeacher(build())
            if isinstance(hook, PseudoLabelHook):
                head = self.student.teacher.model.mask_head
                self.student.pseudo_labeller = hook.build_labeller(head)

    def trained_share(self) -> float:
        """Return the share of the parameters that are trained, in percent."""
        parameters = list(self.student.parameters())
        trained = sum(p.numel() for p in parameters if p.requires_grad)
        return 100 * trained / sum(p.numel() for p in parameters)


def compare(methods: Sequence[str], size: Size, device: str, runs: int) -> dict[str, list[float]]:
    """Return milliseconds, memory and trained share of each method, and ratios to the last one."""
    builders = {
        method: partial(MethodTraining, leaf_of(method, size.model), size, device)
        for method in methods
    }
    # first, because forked processes inherit what this one holds
    peaks = {method: [peak_of(build, device=device)] for method, build in builders.items()}
    trainings = {method: build() for method, build in builders.items()}
    times = time_in_turn(
        {method: training.step for method, training in trainings.items()},
        runs=runs + 1,
        items=1,
        clock=clock_of(device),
    )
    last = methods[-1]
    series: dict[str, list[float]] = {}
    # the first call warms up
    for method in methods:
        series[f'{method}: step, ms'] = [1000 * seconds for seconds in times[method][1:]]
    for method in methods[:-1]:
        series[f'{method} / {last}: step'] = ratios(times[method][1:], times[last][1:])
    for method in methods:
        series[f'{method}: peak, MB'] = peaks[method]
    for method, training in trainings.items():
        series[f'{method}: trained, %'] = [training.trained_share()]
    return series


def run(args: argparse.Namespace) -> None:
    """Measure and report."""
    if len(set(args.methods)) != len(args.methods):
        raise BenchmarkError(f'methods: expected different ones, got {args.methods}')
    size = replace(size_of(args), model=args.model)
    for method in args.methods:
        leaf_of(method, size.model)
    check_memory([replace(size, model=SIZES[args.model].model)] * len(args.methods), args.device)
    with fitting():
        series = compare(args.methods, size, args.device, args.runs)
    report('methods', series, arguments=args, checks={}, out=args.json)


def main() -> None:
    """Run the benchmark and print its table."""
    args = parse_args()
    with one_line_errors(), quiet():
        run(args)


if __name__ == '__main__':
    main()
