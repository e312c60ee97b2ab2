"""Compare pseudo-labels with a plain loop over the teacher's queries, in one process.

The decision starts from mask probabilities; the loop's product with the scores is not counted
there, ours is. The whole call starts from the teacher's logits, at a quarter of the size. The
results are compared first and are the same.
"""

from __future__ import annotations

import argparse

import torch
from measuring import one_line_errors, report
from query_loops import (
    check_arguments,
    checks_of,
    draw_queries,
    keep,
    label_in_a_loop,
    print_end,
    query_parser,
    race,
    resize,
)
from torch import Tensor

from mmcomformer.models import MaskPseudoLabels, mask_pseudo_labels
from mmcomformer.models.mask_activation import QuerySoftmax
from mmcomformer.models.query_output import QueryOutput
from mmcomformer.models.targets import ImageTargets


def is_same(expected: dict[int, Tensor], masks: Tensor) -> bool:
    """Tell whether masks (N, H, W) are those of a loop."""
    return len(masks) == len(expected) and all(map(torch.equal, masks, expected.values()))


def pseudo_masks(target: ImageTargets) -> Tensor:
    """Return the masks (N, H, W), bool, of the targets after the only ground-truth segment."""
    slots = target.valid.nonzero()[1:] - 1
    return target.masks[1:] > 0 if target.owner is None else target.owner == slots[..., None]


def race_decision(num_kept: int, truth: Tensor, args: argparse.Namespace) -> dict[str, list[float]]:
    """Race from mask probabilities; ``truth`` (H, W) is covered."""
    size = (args.height, args.width)
    drawn = draw_queries(num_kept, (size[0] // 4, size[1] // 4), args)
    images = [(classes, resize(masks, size).softmax(0)) for classes, masks in drawn]
    kept = [keep(*image) for image in images]

    def loop(call: int) -> dict[int, Tensor]:
        return label_in_a_loop(kept[call % args.images], truth)

    def ours(call: int) -> tuple[Tensor, Tensor, Tensor]:
        classes, masks = images[call % args.images]
        return mask_pseudo_labels(classes, masks, truth)

    def same(expected: dict[int, Tensor], result: tuple[Tensor, Tensor, Tensor]) -> bool:
        owner, _, valid = result
        queries = valid.nonzero()
        masks = owner == queries[..., None]
        same_queries = queries[:, 0].tolist() == list(expected)
        return (
            same_queries and is_same(expected, masks) and bool(((owner >= 0) == masks.any(0)).all())
        )

    return race(loop, ours, same, name=f'decision, {num_kept} kept', args=args)


def race_whole(num_kept: int, truth: Tensor, args: argparse.Namespace) -> dict[str, list[float]]:
    """Race from the teacher's logits."""
    size = (args.height, args.width)
    images = draw_queries(num_kept, (size[0] // 4, size[1] // 4), args)
    labels = torch.zeros(1, dtype=torch.long, device=args.device)
    targets = ImageTargets.from_masks(labels, truth[None])
    labeller = MaskPseudoLabels(QuerySoftmax())

    def loop(call: int) -> dict[int, Tensor]:
        classes, masks = images[call % args.images]
        return label_in_a_loop(keep(classes, resize(masks, size).softmax(0)), truth)

    def ours(call: int) -> ImageTargets:
        classes, masks = images[call % args.images]
        return labeller([targets], QueryOutput((classes[None],), (masks[None],)))[0]

    def same(expected: dict[int, Tensor], result: ImageTargets) -> bool:
        return is_same(expected, pseudo_masks(result))

    return race(loop, ours, same, name=f'whole call, {num_kept} kept', args=args)


def run(args: argparse.Namespace) -> None:
    """Measure and report."""
    check_arguments(args, args.height * args.width)
    truth = torch.zeros(args.height, args.width, dtype=torch.bool, device=args.device)
    truth[: args.height // 3] = True
    series: dict[str, list[float]] = {}
    with torch.no_grad():
        for num_kept in args.kept:
            series |= race_decision(num_kept, truth, args)
            series |= race_whole(num_kept, truth, args)
    checks = checks_of(args.device)
    report('pseudo_labels', series, arguments=args, checks=checks, out=args.json)
    print_end(args)


def main() -> None:
    """Run the benchmark and print its table."""
    args = query_parser(__doc__).parse_args()
    with one_line_errors():
        run(args)


if __name__ == '__main__':
    main()
