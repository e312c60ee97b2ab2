"""Compare a CoMFormer step with its parts: a fine-tuning step and one forward of the teacher.

All are done one after another in one process, the fine-tuning step with as many targets as the
CoMFormer step has once the pseudo-labels are added. Then come the parts of a step, each with the
device idle before and after it, and the largest memory of both kinds of training. On CUDA the
CoMFormer step is also done with the operators of `randomness.deterministic=True`.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any
from unittest import mock

from measuring import (
    MEGABYTE,
    BenchmarkError,
    clock_of,
    in_child,
    one_line_errors,
    quiet,
    report,
    time_in_turn,
)
from stepping import (
    Size,
    Training,
    add_size_arguments,
    build_model,
    check_memory,
    fitting,
    megabytes_of,
    peak_of_steps,
    size_of,
    time_parts,
)

FINE_TUNING, TEACHER, COMFORMER = 'fine-tuning step', 'teacher alone', 'CoMFormer step'
DETERMINISTIC = 'deterministic CoMFormer step'


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add_size_arguments(parser)
    return parser.parse_args()


def time_steps(fine_tuning: Training, comformer: Training, runs: int) -> dict[str, list[float]]:
    """Return the milliseconds of steps and parts, and the ratio, of each run."""
    parts: dict[str, list[float]] = {}

    def add_parts(kind: str, training: Training, call: int) -> None:
        for name, seconds in time_parts(training).items():
            # the first call warms up
            if call > 0:
                parts.setdefault(f'{kind}: {name}', []).append(1000 * seconds)

    functions: dict[str, Callable[[int], Any]] = {
        FINE_TUNING: fine_tuning.step,
        TEACHER: comformer.ask_teacher,
        COMFORMER: comformer.step,
        'parts of fine-tuning': partial(add_parts, 'fine-tuning', fine_tuning),
        'parts of CoMFormer': partial(add_parts, 'CoMFormer', comformer),
    }
    if comformer.device == 'cuda':
        functions[DETERMINISTIC] = partial(deterministically, comformer.step)
    times = time_in_turn(functions, runs=runs + 1, items=1, clock=clock_of(comformer.device))
    steps = {
        f'{name}, ms': [1000 * seconds for seconds in times[name][1:]]
        for name in (FINE_TUNING, TEACHER, COMFORMER, DETERMINISTIC)
        if name in functions
    }
    return {
        **steps,
        **ratios_to_parts(steps),
        **{f'{name}, ms': part for name, part in parts.items()},
    }


def ratios_to_parts(steps: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    """Return the CoMFormer step over fine-tuning and teacher: of each run, and of medians."""
    fine_tuning, teacher, whole = (
        steps[f'{name}, ms'] for name in (FINE_TUNING, TEACHER, COMFORMER)
    )
    of_runs = [c / (a + b) for a, b, c in zip(fine_tuning, teacher, whole, strict=True)]
    medians = [statistics.median(values) for values in (fine_tuning, teacher, whole)]
    ratios = {
        'ratio of a run': of_runs,
        'ratio of medians': [medians[2] / (medians[0] + medians[1])],
    }
    if deterministic := steps.get(f'{DETERMINISTIC}, ms'):
        ratios['deterministic / CoMFormer step'] = [
            slow / fast for slow, fast in zip(deterministic, whole, strict=True)
        ]
    return ratios


def deterministically(step: Callable[[], Any], _: int = 0) -> None:
    """Do something with the operators of a deterministic training, on CUDA."""
    import torch
    from mmcv.ops import multi_scale_deform_attn as attention

    from mmcomformer.compat.deterministic import enable_determinism

    with mock.patch.object(attention, 'IS_CUDA_AVAILABLE', attention.IS_CUDA_AVAILABLE):
        enable_determinism()
        torch.use_deterministic_algorithms(True)
        try:
            step()
        finally:
            torch.use_deterministic_algorithms(False)


def measure_memory(size: Size, device: str, runs: int) -> dict[str, list[float]]:
    """Return the largest memory of both trainings, and the second over what it may take."""
    step = len(size.increments) - 2
    teacher = in_child(lambda: megabytes_of(build_model(size, step=step, device='cpu')))
    classes, pixels = sum(size.increments[:-1]) + 1, size.resolution**2 // 16
    outputs = 4 * size.batch * size.queries * (classes + pixels) / MEGABYTE
    peaks: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(runs):
        for with_teacher, values in peaks.items():
            values.append(peak_of_steps(size, device=device, with_teacher=with_teacher))
    allowed = statistics.median(peaks[False]) + teacher + outputs
    return {
        'peak of fine-tuning, MB': peaks[False],
        'peak of CoMFormer, MB': peaks[True],
        'weights of the teacher, MB': [teacher],
        'its last outputs, MB': [outputs],
        'peak of CoMFormer / allowed': [peak / allowed for peak in peaks[True]],
    }


def run(args: argparse.Namespace) -> None:
    """Measure and report."""
    # read when the first handle of cuBLAS is made
    os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
    size = size_of(args)
    check_memory([size, size], args.device)
    with fitting():
        # first, because forked processes inherit what this one holds
        memory = measure_memory(size, args.device, args.runs)
        fine_tuning = Training(size, device=args.device, with_teacher=False)
        comformer = Training(size, device=args.device, with_teacher=True)
        series = {**time_steps(fine_tuning, comformer, args.runs), **memory}
    checks = {'as many targets': fine_tuning.num_targets() == comformer.num_targets()}
    report('train_step', series, arguments=args, checks=checks, out=args.json)
    print(f'{size.truth} ground-truth segments and {comformer.pseudo} pseudo-labels of each image')
    if not all(checks.values()):
        raise BenchmarkError('the two steps do not have as many targets')


def main() -> None:
    """Run the benchmark and print its table."""
    args = parse_args()
    with one_line_errors(), quiet():
        run(args)


if __name__ == '__main__':
    main()
