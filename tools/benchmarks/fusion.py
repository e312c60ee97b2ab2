"""Compare panoptic fusion with a plain loop over queries, in one process.

The decision starts from mask probabilities; the loop's product with the scores is not counted
there, ours is. The whole call starts from logits at the size of the input and resizes them to the
size of the image. The results are compared first and are the same.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from measuring import one_line_errors, positive, report
from query_loops import (
    check_arguments,
    checks_of,
    draw_queries,
    fuse_in_a_loop,
    keep,
    print_end,
    query_parser,
    race,
    resize,
)
from torch import Tensor

from mmcomformer.models.panoptic_fusion import ContinualFusionHead, fuse_panoptic


def build_head(num_classes: int) -> ContinualFusionHead:
    """Return a fusion head whose first two thirds of classes are things."""
    names = [f'class {label}' for label in range(num_classes)]
    num_things = things_of(num_classes)
    return ContinualFusionHead(
        scenario={
            'increments': [num_classes],
            'thing_classes': names[:num_things],
            'stuff_classes': names[num_things:],
        },
        mask_activation={'type': 'QuerySoftmax'},
    )


def things_of(num_classes: int) -> int:
    """Return how many of the classes are things."""
    return 2 * num_classes // 3


def race_decision(num_kept: int, args: argparse.Namespace) -> dict[str, list[float]]:
    """Race from mask probabilities."""
    size, num_things = (args.height, args.width), things_of(args.classes)
    drawn = draw_queries(num_kept, (args.input_height, args.input_width), args)
    images = [(classes, resize(masks, size).softmax(0)) for classes, masks in drawn]
    kept = [keep(*image) for image in images]

    def loop(call: int) -> Tensor:
        return fuse_in_a_loop(kept[call % args.images], num_things, args.classes)

    def ours(call: int) -> Tensor:
        return fuse_panoptic(*images[call % args.images], num_things=num_things)

    return race(loop, ours, torch.equal, name=f'decision, {num_kept} kept', args=args)


def race_whole(num_kept: int, args: argparse.Namespace) -> dict[str, list[float]]:
    """Race from logits at the size of the input."""
    from mmdet.structures import DetDataSample

    size, num_things = (args.height, args.width), things_of(args.classes)
    images = draw_queries(num_kept, (args.input_height, args.input_width), args)
    head = build_head(args.classes)
    shape = (args.input_height, args.input_width)
    samples = [DetDataSample(metainfo={'img_shape': shape, 'ori_shape': size})]

    def loop(call: int) -> Tensor:
        classes, masks = images[call % args.images]
        kept = keep(classes, resize(masks, size).softmax(0))
        return fuse_in_a_loop(kept, num_things, args.classes)

    def ours(call: int) -> Any:
        classes, masks = images[call % args.images]
        results = head.predict(classes[None], masks[None], samples, rescale=True)
        return results[0]['pan_results'].sem_seg[0]

    return race(loop, ours, torch.equal, name=f'whole call, {num_kept} kept', args=args)


def run(args: argparse.Namespace) -> None:
    """Measure and report."""
    pixels = max(args.height * args.width, args.input_height * args.input_width)
    check_arguments(args, pixels)
    series: dict[str, list[float]] = {}
    with torch.no_grad():
        for num_kept in args.kept:
            series |= race_decision(num_kept, args)
            series |= race_whole(num_kept, args)
    report('fusion', series, arguments=args, checks=checks_of(args.device), out=args.json)
    print_end(args)


def main() -> None:
    """Run the benchmark and print its table."""
    parser = query_parser(__doc__)
    parser.add_argument('--input-height', type=positive, default=640, help='of logits, pixels')
    parser.add_argument('--input-width', type=positive, default=640, help='of logits, pixels')
    args = parser.parse_args()
    with one_line_errors():
        run(args)


if __name__ == '__main__':
    main()
