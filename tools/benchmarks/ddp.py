"""Count what the processes of a training exchange, with and without a teacher.

Fine-tuning and CoMFormer are trained by one process and by two, wrapped as in training: gloo and
one thread for each process on a CPU, NCCL and one GPU for each on CUDA. What is handed to a
collective is counted: the buckets of gradients, and everything else. The teacher must send nothing,
so that both kinds of training send as much. On GPUs the efficiency is measured as well: how much
of its speed a process keeps.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from measuring import BenchmarkError, one_line_errors, quiet, report
from stepping import (
    Size,
    Training,
    add_size_arguments,
    check_memory,
    size_of,
    synchronize,
)
from torch import Tensor, distributed, multiprocessing

TIMEOUT = timedelta(minutes=10)
# collectives that mmengine and mmdet use, besides those of the gradients
COLLECTIVES = ('all_reduce', 'broadcast', 'all_gather', 'reduce', 'gather', 'scatter')
WORKER_ERRORS = (multiprocessing.ProcessRaisedException, multiprocessing.ProcessExitedException)
KINDS = {'fine-tuning': False, 'CoMFormer': True}


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add_size_arguments(parser)
    return parser.parse_args()


class Counter:
    """Counts the bytes that are handed to collectives."""

    def __init__(self) -> None:
        self.gradients = 0
        self.other = 0
        # not the one that is counted as something else
        self.all_reduce = distributed.all_reduce

    def average(self, bucket: Any) -> torch.futures.Future[Tensor]:
        """Count a bucket of gradients, and average it over the processes."""
        gradients = bucket.buffer().div_(distributed.get_world_size())
        self.gradients += size_in_bytes(gradients)
        future = self.all_reduce(gradients, async_op=True).get_future()
        return future.then(lambda done: done.value()[0])

    def watch(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a collective that counts the tensors that it is given."""

        def counted(*args: Any, **kwargs: Any) -> Any:
            values = [*args, *kwargs.values()]
            self.other += sum(size_in_bytes(value) for value in values if torch.is_tensor(value))
            return function(*args, **kwargs)

        return counted

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count the collectives that are called meanwhile."""
        with ExitStack() as stack:
            for name in COLLECTIVES:
                watched = self.watch(getattr(distributed, name))
                stack.enter_context(mock.patch.object(distributed, name, watched))
            yield


def size_in_bytes(tensor: Tensor) -> int:
    """Return the size of the elements of a tensor."""
    return tensor.numel() * tensor.element_size()


@contextmanager
def process_group(rank: int, world: int, device: str, folder: str) -> Iterator[None]:
    """Join the processes, on this machine alone."""
    for name in ('GLOO_SOCKET_IFNAME', 'NCCL_SOCKET_IFNAME'):
        os.environ[name] = 'lo'
    if device == 'cuda':
        torch.cuda.set_device(rank)
    distributed.init_process_group(
        'nccl' if device == 'cuda' else 'gloo',
        init_method=f'file://{folder}/rendezvous',
        rank=rank,
        world_size=world,
        timeout=TIMEOUT,
    )
    try:
        yield
    finally:
        distributed.destroy_process_group()


def train(rank: int, world: int, size: Size, device: str, runs: int, folder: str) -> None:
    """Train in one of the processes; the first one writes what was counted into the folder."""
    torch.set_num_threads(1)
    figures = {}
    with quiet(), process_group(rank, world, device, folder):
        for kind, with_teacher in KINDS.items():
            training = Training(size, device=device, with_teacher=with_teacher)
            figures[kind] = count_and_time(training, runs)
    if rank == 0:
        torch.save(figures, Path(folder) / 'figures.pt')


def count_and_time(training: Training, runs: int) -> dict[str, list[float]]:
    """Return bytes and seconds of iterations after the first one, and the size of the student."""
    from mmengine.model import MMDistributedDataParallel

    student, counter = training.student, Counter()
    model = MMDistributedDataParallel(student, device_ids=None, broadcast_buffers=False)
    # an annotated hook is refused where annotations are strings
    model.register_comm_hook(None, lambda _, bucket: counter.average(bucket))
    figures: dict[str, list[float]] = {'gradients': [], 'other': [], 'seconds': []}
    with counter.counting():
        for _ in range(runs + 1):
            counter.gradients = counter.other = 0
            start = time.perf_counter()
            losses = model(training.images, training.samples, mode='loss')
            training.optim_wrapper.update_params(student.parse_losses(losses)[0])
            synchronize(training.device)
            figures['seconds'].append(time.perf_counter() - start)
            figures['gradients'].append(counter.gradients)
            figures['other'].append(counter.other)
    learned = sum(size_in_bytes(p) for p in student.parameters() if p.requires_grad)
    # the first iteration sets up the buckets
    return {**{name: values[1:] for name, values in figures.items()}, 'student': [learned]}


def train_in_processes(
    world: int, size: Size, device: str, runs: int
) -> dict[str, dict[str, list[float]]]:
    """Return what :func:`count_and_time` says of both kinds of training, in the first process.

    Raises:
        BenchmarkError: If one of the processes fails; the others are ended then.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            multiprocessing.spawn(train, (world, size, device, runs, folder), nprocs=world)
        except WORKER_ERRORS as error:
            reason = str(error).strip().rsplit('\n', 1)[-1]
            raise BenchmarkError(f'one of {world} processes failed: {reason}') from error
        return torch.load(Path(folder) / 'figures.pt', weights_only=True)


def series_of(world: int, figures: dict[str, dict[str, list[float]]]) -> dict[str, list[float]]:
    """Return the figures by name; bytes are what a process sends in a ring."""
    share = 2 * (world - 1) / world
    return {
        f'{kind}, processes: {world}, {name}, bytes': [share * value for value in of[name]]
        for kind, of in figures.items()
        for name in ('gradients', 'other')
    }


def efficiency(one: Any, two: Any) -> dict[str, list[float]]:
    """Return milliseconds of an iteration, and how much of its speed a process keeps."""
    series: dict[str, list[float]] = {}
    for kind in KINDS:
        for world, figures in ((1, one), (2, two)):
            seconds = figures[kind]['seconds']
            series[f'{kind}, processes: {world}, ms'] = [1000 * value for value in seconds]
        medians = [statistics.median(figures[kind]['seconds']) for figures in (one, two)]
        series[f'{kind}, efficiency'] = [medians[0] / medians[1]]
    return series


def checks_of(two: dict[str, dict[str, list[float]]]) -> dict[str, bool]:
    """Return what the bytes must fulfil."""
    fine_tuning, comformer = (two[kind] for kind in KINDS)
    return {
        'the gradients of the student are sent once': (
            {*comformer['gradients']} == {*comformer['student']}
        ),
        'the teacher sends nothing': all(
            comformer[name] == fine_tuning[name] for name in ('gradients', 'other')
        ),
    }


def run(args: argparse.Namespace) -> None:
    """Measure and report."""
    size = size_of(args)
    if args.device == 'cuda' and torch.cuda.device_count() < 2:
        raise BenchmarkError('--device cuda: expected 2 GPUs, found 1; use --device cpu')
    # each process has one training after the other
    check_memory([size] * 4, args.device)
    one, two = (train_in_processes(n, size, args.device, args.runs) for n in (1, 2))
    series = {**series_of(1, one), **series_of(2, two)}
    series['parameters that the student learns, bytes'] = two['CoMFormer']['student']
    if args.device == 'cuda':
        series.update(efficiency(one, two))
    checks = checks_of(two)
    report('ddp', series, arguments=args, checks=checks, out=args.json)
    for name, holds in checks.items():
        if not holds:
            raise BenchmarkError(f'it does not hold that {name}')
        print(name)


def main() -> None:
    """Run the benchmark and print its table."""
    args = parse_args()
    with one_line_errors(), quiet():
        run(args)


if __name__ == '__main__':
    main()
