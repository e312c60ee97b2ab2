"""Compare the matching of all levels and images with a loop over them, in one process.

The loop does what stock mmdet's Mask2Former head and Hungarian assigner do, with the same cost: for
each level and image it samples every mask at points of its own copy, computes the costs and takes
them to the host. With the same points both give the same assignments, which is checked first.

The loop gets masks; ours gets the targets as training does: as one map, with a slot for every query
of the teacher.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING
from unittest import mock

import numpy as np
from measuring import (
    MEGABYTE,
    BenchmarkError,
    clock_of,
    one_line_errors,
    positive,
    ratios,
    report,
    require_device,
    time_in_turn,
    waiting,
)

# torch and the models are imported where they are used: --help need not wait for them
if TYPE_CHECKING:
    from torch import Tensor

    from mmcomformer.models.matching import Assignment
    from mmcomformer.models.targets import ImageTargets


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('--levels', type=positive, default=10, help='prediction levels')
    parser.add_argument('--batch', type=positive, default=2, help='images')
    parser.add_argument('--queries', type=positive, default=100, help='queries of an image')
    parser.add_argument('--size', type=positive, default=256, help='side of an image, pixels')
    parser.add_argument('--points', type=positive, default=12544, help='points of a mask')
    parser.add_argument('--classes', type=positive, default=150, help='classes')
    parser.add_argument('--truth', type=positive, default=5, help='ground-truth segments')
    parser.add_argument('--pseudo', type=positive, default=10, help='pseudo-labels')
    parser.add_argument('--runs', type=positive, default=5, help='how often both are measured')
    parser.add_argument('--device', choices=('cpu', 'cuda'), default='cpu', help='where to compute')
    parser.add_argument('--json', metavar='FILE', help='write the figures into this file')
    return parser.parse_args()


class Batch:
    """Predictions of all levels and targets of all images, both ways.

    Args:
        args: The command line.
        with_pseudo: Whether there are pseudo-labels beside the ground truth.
    """

    def __init__(self, args: argparse.Namespace, *, with_pseudo: bool) -> None:
        import torch
        from torch.nn import functional

        torch.manual_seed(0)
        side, shape = max(1, args.size // 4), (args.batch, args.queries)
        self.cls_scores, self.dice_maps = [], []
        for _ in range(args.levels):
            coarse = 6 * torch.randn(*shape, 8, 8)
            logits = functional.interpolate(coarse, (side, side), mode='bilinear')
            self.dice_maps.append(logits.softmax(1).to(args.device))
            self.cls_scores.append(torch.randn(*shape, args.classes + 1, device=args.device))
        #: labels (N,) and masks (N, H, W) of each image
        self.plain: list[tuple[Tensor, Tensor]] = []
        self.targets: list[ImageTargets] = []
        for _ in range(args.batch):
            self._add_image(args, with_pseudo=with_pseudo)

    def _add_image(self, args: argparse.Namespace, *, with_pseudo: bool) -> None:
        import torch
        from torch.nn import functional

        from mmcomformer.models.targets import ImageTargets

        count = args.truth + args.pseudo
        noise = functional.interpolate(torch.randn(1, count, 8, 8), (args.size, args.size))
        regions = noise[0].argmax(0).to(args.device)
        labels = torch.randint(args.classes, (count,), device=args.device)
        masks = regions == torch.arange(count, device=args.device)[:, None, None]
        truth = torch.where(regions < args.truth, regions, -1)
        target = ImageTargets.from_map(labels[: args.truth], truth)
        if not with_pseudo:
            self.plain.append((labels[: args.truth], masks[: args.truth]))
            self.targets.append(target)
            return
        # the pseudo-labels are those of the teacher's first queries
        slots = labels.new_zeros(args.queries)
        slots[: args.pseudo] = labels[args.truth :]
        valid = torch.arange(args.queries, device=args.device) < args.pseudo
        owner = (regions - args.truth).clamp(min=-1)
        self.plain.append((labels, masks))
        target = target.with_pseudo_labels(owner, slots, valid)
        self.targets.append(target)


def match_in_a_loop(
    batch: Batch, num_points: int, points: Tensor | None = None
) -> list[list[Assignment]]:
    """Match one image of one level after another.

    Args:
        batch: The batch.
        num_points: Points P.
        points: Shape (L, B, P, 2); drawn if None.
    """
    import torch
    from scipy.optimize import linear_sum_assignment

    from mmcomformer.models.matching import HarmonicMatchCost

    cost_of, assignments = HarmonicMatchCost(), []
    for level, (cls_scores, maps) in enumerate(zip(batch.cls_scores, batch.dice_maps, strict=True)):
        of_level = []
        for image, (labels, masks) in enumerate(batch.plain):
            if points is None:
                own = torch.rand((1, num_points, 2), device=maps.device)
            else:
                own = points[level, image][None]
            cost = cost_of(
                cls_scores[image].softmax(-1)[:, labels],
                sample_one_by_one(maps[image], own),
                sample_one_by_one(masks.float(), own),
            )
            of_level.append(linear_sum_assignment(cost.cpu()))
        assignments.append(of_level)
    return assignments


def sample_one_by_one(maps: Tensor, points: Tensor) -> Tensor:
    """Sample maps (N, h, w) at copies of the same points (1, P, 2), as mmdet does it; (N, P)."""
    from torch.nn import functional

    grid = 2 * points.repeat(len(maps), 1, 1).unsqueeze(2) - 1
    return functional.grid_sample(maps[:, None], grid, align_corners=False)[:, 0, :, 0]


def match_at_once(
    batch: Batch, num_points: int, points: Tensor | None = None
) -> list[list[Assignment]]:
    """Match as training does; see :func:`match_in_a_loop`."""
    from mmcomformer.models import matching

    cost = matching.HarmonicMatchCost()

    def match() -> list[list[Assignment]]:
        return matching.match(
            batch.cls_scores, batch.dice_maps, batch.targets, cost=cost, num_points=num_points
        )[0]

    if points is None:
        return match()
    with mock.patch.object(matching, 'random_points', return_value=points.flatten(0, 1)):
        return match()


def check_assignments(batch: Batch, num_points: int, name: str) -> None:
    """Check that both ways give the same assignments with the same points.

    Raises:
        BenchmarkError: If they do not.
    """
    import torch

    shape = (len(batch.cls_scores), len(batch.targets), num_points, 2)
    points = torch.rand(shape, device=batch.cls_scores[0].device)
    ours = match_at_once(batch, num_points, points)
    valid = [target.valid.nonzero()[:, 0].cpu().numpy() for target in batch.targets]
    for level, of_level in enumerate(match_in_a_loop(batch, num_points, points)):
        for image, (queries, chosen) in enumerate(of_level):
            # a slot that is not used has no column in the loop
            expected = (queries, valid[image][chosen])
            if not all(map(np.array_equal, expected, ours[level][image])):
                raise BenchmarkError(
                    f'{name}, level {level}, image {image}: the assignments differ'
                )


def measure(batch: Batch, name: str, args: argparse.Namespace) -> dict[str, list[float]]:
    """Return milliseconds of both ways, and their ratio, for each run."""
    functions = {
        way: waiting(lambda _, match=match: match(batch, args.points), args.device)
        for way, match in (('loop', match_in_a_loop), ('ours', match_at_once))
    }
    # the first calls find the allocator in another state
    time_in_turn(functions, runs=1, items=1)
    times = time_in_turn(functions, runs=args.runs, items=1, clock=clock_of(args.device))
    series = {f'{way}, {name}': [1000 * t for t in values] for way, values in times.items()}
    return {**series, f'loop / ours, {name}': ratios(times['loop'], times['ours'])}


def needed_megabytes(args: argparse.Namespace) -> float:
    """Return about how much memory the comparison takes."""
    maps = args.levels * args.batch * args.queries * (args.size / 4) ** 2
    columns = args.queries + args.truth
    samples = args.levels * args.batch * args.points * (args.queries + 2 * columns)
    masks = 3 * (args.truth + args.pseudo) * args.batch * args.size**2
    return 500 + 4 * (maps + samples + masks) / MEGABYTE


def run(args: argparse.Namespace) -> None:
    """Measure and report."""
    if args.pseudo > args.queries:
        raise BenchmarkError(
            f'--pseudo {args.pseudo}: expected at most the number of queries, {args.queries}'
        )
    require_device(args.device, memory=needed_megabytes(args))
    series: dict[str, list[float]] = {}
    for name, with_pseudo in (('ground truth', False), ('with pseudo-labels', True)):
        batch = Batch(args, with_pseudo=with_pseudo)
        check_assignments(batch, args.points, name)
        series |= measure(batch, name, args)
    checks = {'same assignments': True}
    report('matching', series, arguments=args, checks=checks, out=args.json)
    print(f'milliseconds per batch, and ratios; {args.runs} runs')
    print('both ways give the same assignments')


def main() -> None:
    """Run the benchmark and print its table."""
    args = parse_args()
    with one_line_errors():
        run(args)


if __name__ == '__main__':
    main()
