"""What the benchmarks of pseudo-labels and of fusion share: plain loops, and how to race them.

The loops follow the method one query at a time, as it is usually written in PyTorch, and read
values back to the host for each query. Tests compare the package with them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from measuring import (
    MEGABYTE,
    BenchmarkError,
    positive,
    ratios,
    require_device,
    time_in_turn,
    waiting,
)
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Kept:
    """The queries of an image that count, as a loop goes through them.

    Attributes:
        queries: Their positions.
        labels: Their classes.
        masks: Their mask probabilities, (N, H, W).
        strength: Score x mask, (N, H, W).
    """

    queries: list[int]
    labels: list[int]
    masks: Tensor
    strength: Tensor


def keep(cls_score: Tensor, masks: Tensor, score_thr: float = 0.0) -> Kept:
    """Choose the queries that count and multiply scores with masks.

    Args:
        cls_score: Class logits (Q, K + 1), no-object last.
        masks: Mask probabilities (Q, H, W).
        score_thr: A query counts above this score.
    """
    scores, labels = cls_score.softmax(-1).max(-1)
    kept = (labels != cls_score.shape[-1] - 1) & (scores > score_thr)
    chosen = masks[kept]
    strength = scores[kept][:, None, None] * chosen
    return Kept(kept.nonzero()[:, 0].tolist(), labels[kept].tolist(), chosen, strength)


def label_in_a_loop(kept: Kept, covered: Tensor, overlap_thr: float = 0.5) -> dict[int, Tensor]:
    """Return the mask (H, W) of each query that gives a pseudo-label.

    Args:
        kept: See :func:`keep`.
        covered: Pixels that ground truth covers, (H, W), bool.
        overlap_thr: Share of its own pixels that a query has to own more of.
    """
    found: dict[int, Tensor] = {}
    if not kept.queries:
        return found
    owner = kept.strength.argmax(0).masked_fill(covered, -1)
    for position, query in enumerate(kept.queries):
        owned, reached = owner == position, kept.masks[position] >= 0.5
        area, original = owned.sum().item(), reached.sum().item()
        mask = owned & reached
        if area > 0 and original > 0 and mask.sum().item() > 0 and area / original > overlap_thr:
            found[query] = mask
    return found


def fuse_in_a_loop(kept: Kept, num_things: int, num_classes: int, iou_thr: float = 0.0) -> Tensor:
    """Return the panoptic map (H, W), int32: label + 1000 x instance, or the number of classes.

    Args:
        kept: See :func:`keep`.
        num_things: Labels below this are things.
        num_classes: Number of classes.
        iou_thr: Share of its own pixels that a query has to own.
    """
    shape = kept.masks.shape[1:]
    result = torch.full(shape, num_classes, dtype=torch.int32, device=kept.masks.device)
    if not kept.queries:
        return result
    owner = kept.strength.argmax(0)
    instances = 0
    for position, label in enumerate(kept.labels):
        owned, reached = owner == position, kept.masks[position] >= 0.5
        area, original = owned.sum().item(), reached.sum().item()
        mask = owned & reached
        if original == 0 or mask.sum().item() == 0 or area / original < iou_thr:
            continue
        is_thing = label < num_things
        instances += is_thing
        result[mask] = label + 1000 * instances if is_thing else label
    return result


def resize(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Return mask logits (Q, h, w) at another size, (Q, H, W)."""
    return functional.interpolate(logits[None], size, mode='bilinear', align_corners=False)[0]


def draw_queries(
    num_kept: int, size: tuple[int, int], args: argparse.Namespace
) -> list[tuple[Tensor, Tensor]]:
    """Draw class logits (Q, K + 1) and smooth mask logits (Q, h, w) of images."""
    generator = torch.Generator().manual_seed(num_kept)
    images = []
    for _ in range(args.images):
        coarse = 8 * torch.randn(1, args.queries, 10, 10, generator=generator)
        masks = functional.interpolate(coarse, size, mode='bicubic')[0]
        classes = torch.randn(args.queries, args.classes + 1, generator=generator)
        chosen = torch.randperm(args.queries, generator=generator)[:num_kept]
        classes[:, -1] += 20
        classes[chosen, -1] -= 40
        images.append((classes.to(args.device), masks.to(args.device)))
    return images


def query_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser of the arguments that both benchmarks have."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('--height', type=positive, default=640, help='of the result, pixels')
    parser.add_argument('--width', type=positive, default=640, help='of the result, pixels')
    parser.add_argument('--queries', type=positive, default=100, help='queries of an image')
    parser.add_argument(
        '--kept', type=positive, nargs='+', default=[20, 100], help='queries that count'
    )
    parser.add_argument('--classes', type=positive, default=150, help='classes')
    parser.add_argument('--images', type=positive, default=2, help='images of a run')
    parser.add_argument('--runs', type=positive, default=5, help='passes over the images')
    parser.add_argument('--device', choices=('cpu', 'cuda'), default='cpu', help='where to compute')
    parser.add_argument('--json', metavar='FILE', help='write the figures into this file')
    return parser


def check_arguments(args: argparse.Namespace, pixels: int) -> None:
    """Check that the device is there and the size fits.

    Args:
        args: The command line.
        pixels: Pixels of the largest map.

    Raises:
        BenchmarkError: If not.
    """
    if max(args.kept) > args.queries:
        raise BenchmarkError(
            f'--kept {max(args.kept)}: expected at most the number of queries, {args.queries}'
        )
    maps = 4 * args.queries * pixels / MEGABYTE
    require_device(args.device, memory=500 + (5 + args.images) * maps)


@contextmanager
def no_synchronisation(device: str) -> Iterator[None]:
    """Raise an error wherever the host waits for a CUDA device; nothing on a CPU."""
    if device == 'cuda':
        torch.cuda.set_sync_debug_mode('error')
    try:
        yield
    finally:
        if device == 'cuda':
            torch.cuda.set_sync_debug_mode('default')


def race(
    loop: Callable[[int], Any],
    ours: Callable[[int], Any],
    same: Callable[[Any, Any], bool],
    *,
    name: str,
    args: argparse.Namespace,
) -> dict[str, list[float]]:
    """Compare the results for each image, then return milliseconds and their ratio for each run.

    Args:
        loop: The plain loop; gets the number of the call.
        ours: What replaces it.
        same: Whether the results are equal.
        name: What is measured.
        args: The command line.

    Raises:
        BenchmarkError: If results differ, or ours waits for the device.
    """
    for image in range(args.images):
        expected = loop(image)
        try:
            with no_synchronisation(args.device):
                result = ours(image)
        except RuntimeError as error:
            if 'synchroniz' not in str(error):
                raise
            raise BenchmarkError(f'{name}: the device is waited for') from error
        if not same(expected, result):
            raise BenchmarkError(f'{name}, image {image}: the results differ')
    functions = {'loop': waiting(loop, args.device), 'ours': waiting(ours, args.device)}
    times = time_in_turn(functions, runs=args.runs, items=args.images)
    series = {f'{key}, {name}': [1000 * t for t in values] for key, values in times.items()}
    return {**series, f'loop / ours, {name}': ratios(times['loop'], times['ours'])}


def checks_of(device: str) -> dict[str, bool]:
    """Return what :func:`race` has made sure of."""
    return {'same results': True, **({'no synchronisation': True} if device == 'cuda' else {})}


def print_end(args: argparse.Namespace) -> None:
    """Print what the figures are."""
    print(f'milliseconds per image, and ratios; {args.images} images, {args.runs} runs')
    print('both ways give the same results')
