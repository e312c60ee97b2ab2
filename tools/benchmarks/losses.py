"""Compare ways to compute the mask and dice losses of all levels, in one process.

"By level" is what training does: for each level one log-softmax over the queries, whose exponential
is the other map, then points and losses of the matched queries. The others change one thing: the
points and losses of all levels at once, a softmax and a log-softmax of their own, or both maps
sampled in one call. Times are of forward and backward. With the same points all ways give the
same losses and gradients, which is checked first.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import numpy as np
import torch
from measuring import (
    MEGABYTE,
    BenchmarkError,
    one_line_errors,
    positive,
    ratios,
    report,
    require_device,
    time_in_turn,
    waiting,
)
from torch import Tensor
from torch.nn import functional

from mmcomformer.models.mask_activation import QuerySoftmax
from mmcomformer.models.mask_losses import dice_loss, softmax_mask_loss
from mmcomformer.models.point_sampling import sample_each, sample_shared, uncertain_points
from mmcomformer.models.targets import ImageTargets

ACTIVATION = QuerySoftmax()
Maps = tuple[Tensor, Tensor]
Sampler = Callable[[Tensor, Tensor, Tensor], Maps]


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('--levels', type=positive, default=10, help='prediction levels')
    parser.add_argument('--batch', type=positive, default=2, help='images')
    parser.add_argument('--queries', type=positive, default=100, help='queries of an image')
    parser.add_argument('--map', type=positive, default=64, help='side of a mask map, cells')
    parser.add_argument('--points', type=positive, default=12544, help='points of a mask')
    parser.add_argument('--targets', type=positive, default=15, help='targets of an image')
    parser.add_argument('--runs', type=positive, default=5, help='how often each is measured')
    parser.add_argument('--device', choices=('cpu', 'cuda'), default='cpu', help='where to compute')
    parser.add_argument('--json', metavar='FILE', help='write the figures into this file')
    return parser.parse_args()


class Batch:
    """Mask logits of all levels, targets, and random assignments.

    Attributes:
        mask_preds: Logits of each level, leaves of shape (B, Q, h, w).
        targets: Targets of each image.
        queries: Matched queries of each level, (B, T); target i of an image is matched to the i-th.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        torch.manual_seed(0)
        shape, side = (args.batch, args.queries), (args.map, args.map)
        self.num_points = args.points
        self.mask_preds = [
            functional.interpolate(6 * torch.randn(*shape, 8, 8), side, mode='bilinear')
            .to(args.device)
            .requires_grad_()
            for _ in range(args.levels)
        ]
        size = (4 * args.map, 4 * args.map)
        self.targets = []
        for _ in range(args.batch):
            noise = functional.interpolate(torch.randn(1, args.targets, 8, 8), size)[0]
            masks = noise.argmax(0) == torch.arange(args.targets)[:, None, None]
            labels = torch.zeros(args.targets, dtype=torch.long)
            self.targets.append(
                ImageTargets.from_masks(labels.to(args.device), masks.to(args.device))
            )
        self.queries = torch.stack(
            [
                torch.stack([torch.randperm(args.queries)[: args.targets] for _ in self.targets])
                for _ in self.mask_preds
            ]
        ).to(args.device)

    def matched(self, maps: Tensor, level: int) -> Tensor:
        """Return the maps (B, Q, h, w) of the matched queries of a level, (B * T, h, w)."""
        index = torch.arange(len(self.targets), device=maps.device)[:, None]
        return maps[index, self.queries[level]].flatten(0, 1)

    def draw(self, dice_map: Tensor) -> Tensor:
        """Return points of each matched map, (M, P, 2)."""
        return uncertain_points(
            dice_map.detach(),
            ACTIVATION.uncertainty,
            num_points=self.num_points,
            oversample_ratio=3.0,
            importance_ratio=0.75,
        )

    @torch.no_grad()
    def sample_targets(self, points: Tensor) -> Tensor:
        """Sample the targets of one level at points (B * T, P, 2); (B * T, P)."""
        parts = points.chunk(len(self.targets))
        return torch.cat(
            [
                target.sample_each(np.arange(len(part)), part)
                for target, part in zip(self.targets, parts, strict=True)
            ]
        )


Points = Sequence[Tensor] | None
Way = Callable[[Batch, Points], Tensor]


def map_once(mask_pred: Tensor) -> Maps:
    """Return log-probabilities, and probabilities from them."""
    return ACTIVATION.loss_maps(mask_pred)


def map_twice(mask_pred: Tensor) -> Maps:
    """Return log-probabilities and probabilities, each computed from the logits."""
    return mask_pred.log_softmax(-3), mask_pred.softmax(-3)


def sample_apart(mask_map: Tensor, dice_map: Tensor, points: Tensor) -> Maps:
    """Sample two maps (M, h, w), one after the other; (M, P) each."""
    return sample_each(mask_map, points), sample_each(dice_map, points)


def sample_together(mask_map: Tensor, dice_map: Tensor, points: Tensor) -> Maps:
    """Sample two maps (M, h, w) as one of two channels; (M, P) each."""
    mask, dice = sample_shared(torch.stack([mask_map, dice_map], 1), points).unbind(1)
    return mask, dice


def by_level(
    batch: Batch,
    points: Points = None,
    *,
    map_logits: Callable[[Tensor], Maps] = map_once,
    sample: Sampler = sample_apart,
) -> Tensor:
    """Return the losses of each level, (L, 2); points are drawn if None."""
    losses = []
    for level, mask_pred in enumerate(batch.mask_preds):
        mask_map, dice_map = (batch.matched(maps, level) for maps in map_logits(mask_pred))
        own = batch.draw(dice_map) if points is None else points[level]
        target = batch.sample_targets(own)
        mask, dice = sample(mask_map, dice_map, own)
        losses += [softmax_mask_loss(mask, target).mean(), dice_loss(dice, target).mean()]
    return torch.stack(losses).view(-1, 2)


def all_at_once(batch: Batch, points: Points = None) -> Tensor:
    """Return the same with the matched maps of all levels in one tensor."""
    num_levels = len(batch.mask_preds)
    matched = [
        [batch.matched(maps, level) for maps in map_once(mask_pred)]
        for level, mask_pred in enumerate(batch.mask_preds)
    ]
    mask_map, dice_map = (torch.cat(maps) for maps in zip(*matched, strict=True))
    own = batch.draw(dice_map) if points is None else torch.cat(list(points))
    target = torch.cat([batch.sample_targets(part) for part in own.chunk(num_levels)])
    mask, dice = sample_apart(mask_map, dice_map, own)
    losses = torch.stack([softmax_mask_loss(mask, target), dice_loss(dice, target)], 1)
    return losses.view(num_levels, -1, 2).mean(1)


def twice(batch: Batch, points: Points = None) -> Tensor:
    """Return the same, with a softmax beside the log-softmax."""
    return by_level(batch, points, map_logits=map_twice)


def together(batch: Batch, points: Points = None) -> Tensor:
    """Return the same, with both maps sampled in one call."""
    return by_level(batch, points, sample=sample_together)


WAYS: dict[str, Way] = {
    'by level': by_level,
    'all levels at once': all_at_once,
    'softmax twice': twice,
    'both maps in one call': together,
}


def step(way: Way, batch: Batch, points: Points = None) -> tuple[Tensor, list[Tensor]]:
    """Return the losses (L, 2) and the gradients of the logits of each level."""
    losses = way(batch, points)
    return losses, list(torch.autograd.grad(losses.sum(), batch.mask_preds))


def check(batch: Batch) -> None:
    """Check that all ways give the same losses and gradients at the same points.

    Raises:
        BenchmarkError: If they do not.
    """
    shape = (batch.queries[0].numel(), batch.num_points, 2)
    points = [torch.rand(shape, device=pred.device) for pred in batch.mask_preds]
    expected = step(by_level, batch, points)
    for name, way in WAYS.items():
        losses, gradients = step(way, batch, points)
        try:
            torch.testing.assert_close(losses, expected[0])
            for gradient, other in zip(gradients, expected[1], strict=True):
                torch.testing.assert_close(gradient, other, rtol=1e-4, atol=1e-7)
        except AssertionError as error:
            raise BenchmarkError(f'{name}: losses or gradients differ') from error


def needed_megabytes(args: argparse.Namespace) -> float:
    """Return about how much memory the comparison takes."""
    maps = args.levels * args.batch * args.queries * args.map**2
    masks = args.batch * args.targets * 16 * args.map**2
    samples = args.levels * args.batch * args.targets * args.points
    return 500 + 4 * (8 * maps + 2 * masks + 20 * samples) / MEGABYTE


def run(args: argparse.Namespace) -> None:
    """Measure and report."""
    if args.targets > args.queries:
        raise BenchmarkError(
            f'--targets {args.targets}: expected at most the number of queries, {args.queries}'
        )
    require_device(args.device, memory=needed_megabytes(args))
    batch = Batch(args)
    check(batch)
    functions = {
        name: waiting(lambda _, way=way: step(way, batch), args.device)
        for name, way in WAYS.items()
    }
    times = time_in_turn(functions, runs=args.runs, items=1)
    series = {name: [1000 * t for t in values] for name, values in times.items()}
    for name in list(WAYS)[1:]:
        series[f'{name} / by level'] = ratios(times[name], times['by level'])
    checks = {'same losses and gradients': True}
    report('losses', series, arguments=args, checks=checks, out=args.json)
    print(f'milliseconds per batch, forward and backward, and ratios; {args.runs} runs')
    print('all ways give the same losses and gradients')


def main() -> None:
    """Run the benchmark and print its table."""
    args = parse_args()
    with one_line_errors():
        run(args)


if __name__ == '__main__':
    main()
