"""Compare our panoptic quality with a plain port of COCO's definition, in one process.

Both get the two id maps of each image in memory and give the sums of the classes over all images;
the sums of each image are compared first, and are equal to 1e-9. No file is read or written. Ids
are raw, up to 24 bits as in COCO's PNGs; or compact, from 0 to the number of segments, one byte per
pixel; or as the metric gets them: compact ground truth, and predictions label + 1000 x instance. In
noisy maps some pixels of the prediction are exchanged.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial

import numpy as np
from measuring import (
    MEGABYTE,
    BenchmarkError,
    one_line_errors,
    positive,
    ratios,
    report,
    require_device,
    time_in_turn,
)

from mmcomformer.datasets.panoptic_png import MAX_ID
from mmcomformer.evaluation.panoptic_quality import PanopticStats, SegmentOverlaps, panoptic_stats

TOLERANCE = 1e-9
OFFSET = 2**24
INSTANCE_OFFSET = 1000


@dataclass(frozen=True)
class Pair:
    """Ground truth and prediction of an image.

    Attributes:
        gt_ids: Integers of shape (H, W); 0 is VOID.
        gt_segments: Label and whether it is a crowd, by segment id.
        pred_ids: Integers of shape (H, W).
        pred_labels: Label by segment id; pixels of any other id are VOID.
    """

    gt_ids: np.ndarray
    gt_segments: Mapping[int, tuple[int, bool]]
    pred_ids: np.ndarray
    pred_labels: Mapping[int, int]


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('--images', type=positive, default=20, help='generated pairs of maps')
    parser.add_argument('--height', type=positive, default=512, help='of a map, pixels')
    parser.add_argument('--width', type=positive, default=683, help='of a map, pixels')
    parser.add_argument('--segments', type=positive, default=20, help='segments of a map')
    parser.add_argument('--classes', type=positive, default=150, help='classes')
    parser.add_argument(
        '--noise', type=float, default=0.1, help='share of exchanged pixels in noisy maps'
    )
    parser.add_argument('--passes', type=positive, default=10, help='over the pairs in a run')
    parser.add_argument('--runs', type=positive, default=5, help='runs of both ways in turn')
    parser.add_argument('--json', metavar='FILE', help='write the figures into this file')
    args = parser.parse_args()
    if not 0 < args.noise <= 1:
        parser.error(f'--noise: expected a share above 0 and up to 1, got {args.noise}')
    if args.segments > 255:
        parser.error(f'--segments: expected up to 255, got {args.segments}')
    if args.classes >= INSTANCE_OFFSET:
        parser.error(f'--classes: expected fewer than {INSTANCE_OFFSET}, got {args.classes}')
    return args


def nearest(centres: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the index of the nearest of some points (n, 2) for each pixel, int32, (H, W)."""
    rows, columns = np.indices(shape, dtype=np.float32)
    best = np.full(shape, np.inf, np.float32)
    result = np.zeros(shape, np.int32)
    for index, (y, x) in enumerate(centres):
        distance = (rows - y) ** 2 + (columns - x) ** 2
        result[distance < best] = index
        best = np.minimum(best, distance)
    return result


def draw(rng: np.random.Generator, args: argparse.Namespace, *, noise: float) -> Pair:
    """Draw a pair with compact ids: the prediction is the ground truth with moved borders."""
    shape, count = (args.height, args.width), args.segments
    centres = rng.random((count, 2)) * shape
    gt = nearest(centres, shape)
    moved = centres + rng.normal(size=centres.shape) * 0.05 * min(shape)
    pred = nearest(moved, shape)
    exchanged = rng.random(shape) < noise
    pred[exchanged] = rng.integers(count, size=exchanged.sum())
    labels = rng.integers(args.classes, size=count)
    pred_labels = np.where(rng.random(count) < 0.2, rng.integers(args.classes, size=count), labels)
    # about one segment in ten is VOID, and one in ten a crowd
    names = np.cumsum(rng.random(count) >= 0.1)
    void = np.diff(names, prepend=0) == 0
    kinds = {
        int(name): (int(label), bool(rng.random() < 0.1))
        for name, label, hidden in zip(names, labels, void, strict=True)
        if not hidden
    }
    return Pair(
        np.where(void, 0, names).astype(np.uint8)[gt],
        kinds,
        pred.astype(np.uint8),
        dict(enumerate(pred_labels.tolist())),
    )


def with_new_names(pair: Pair, gt_names: np.ndarray | None, pred_names: np.ndarray) -> Pair:
    """Return the same pair with other ids, int32, which tables give by the old ones."""
    pred_labels = {int(pred_names[key]): label for key, label in pair.pred_labels.items()}
    pair = replace(
        pair, pred_ids=pred_names.astype(np.int32)[pair.pred_ids], pred_labels=pred_labels
    )
    if gt_names is None:
        return pair
    return replace(
        pair,
        gt_ids=gt_names.astype(np.int32)[pair.gt_ids],
        gt_segments={int(gt_names[key]): kind for key, kind in pair.gt_segments.items()},
    )


def with_raw_ids(pair: Pair, rng: np.random.Generator) -> Pair:
    """Return the same pair with random ids of up to 24 bits."""
    gt_names = rng.integers(1, MAX_ID, size=len(pair.gt_segments))
    pred_names = rng.integers(1, MAX_ID, size=len(pair.pred_labels))
    return with_new_names(pair, np.concatenate([[0], gt_names]), pred_names)


def with_codes(pair: Pair) -> Pair:
    """Return the same pair with a prediction as models give it."""
    labels = np.array(list(pair.pred_labels.values()))
    return with_new_names(pair, None, labels + INSTANCE_OFFSET * np.arange(1, len(labels) + 1))


def with_wide_ids(pair: Pair) -> Pair:
    """Return the same pair with maps of 32 bits."""
    return replace(
        pair, gt_ids=pair.gt_ids.astype(np.int32), pred_ids=pair.pred_ids.astype(np.int32)
    )


def plain_stats(pair: Pair, num_classes: int) -> PanopticStats:
    """Return the sums of an image by COCO's definition, one pair of segments after another."""
    values, counts = np.unique(pair.pred_ids, return_counts=True)
    pred_areas = dict(zip(values.tolist(), counts.tolist(), strict=True))
    joint = pair.gt_ids.astype(np.uint64) * OFFSET + pair.pred_ids.astype(np.uint64)
    values, counts = np.unique(joint, return_counts=True)
    shared = {
        (value // OFFSET, value % OFFSET): count
        for value, count in zip(values.tolist(), counts.tolist(), strict=True)
    }
    gt_areas = dict.fromkeys(pair.gt_segments, 0)
    for (gt, _), area in shared.items():
        gt_areas[gt] = gt_areas.get(gt, 0) + area
    iou_sum, (tp, fp, fn) = np.zeros(num_classes), np.zeros((3, num_classes), np.int64)
    matched_gt, matched_pred = set(), set()
    for (gt, pred), area in shared.items():
        if gt not in pair.gt_segments or pred not in pair.pred_labels:
            continue
        label, is_crowd = pair.gt_segments[gt]
        if is_crowd or label != pair.pred_labels[pred]:
            continue
        iou = area / (gt_areas[gt] + pred_areas[pred] - area - shared.get((0, pred), 0))
        if iou > 0.5:
            iou_sum[label] += iou
            tp[label] += 1
            matched_gt.add(gt)
            matched_pred.add(pred)
    crowds = {}
    for gt, (label, is_crowd) in pair.gt_segments.items():
        if is_crowd:
            crowds[label] = gt
        elif gt not in matched_gt:
            fn[label] += 1
    for pred, label in pair.pred_labels.items():
        if pred in matched_pred or pred not in pred_areas:
            continue
        excused = shared.get((0, pred), 0) + shared.get((crowds.get(label, -1), pred), 0)
        if excused / pred_areas[pred] <= 0.5:
            fp[label] += 1
    return PanopticStats(iou_sum, tp, fp, fn)


def overlaps(
    pair: Pair, num_classes: int, *, is_raw: bool = False, is_coded: bool = False
) -> SegmentOverlaps:
    """Return what panoptic quality needs of an image; codes hold the labels, other ids do not."""

    def label_of(ids: np.ndarray) -> np.ndarray:
        if is_coded:
            return ids % INSTANCE_OFFSET
        return np.array([pair.pred_labels[name] for name in ids.tolist()])

    kinds = pair.gt_segments.values()
    return SegmentOverlaps.of_image(
        pair.gt_ids,
        [label for label, _ in kinds],
        [is_crowd for _, is_crowd in kinds],
        pair.pred_ids,
        label_of,
        num_classes=num_classes,
        gt_segment_ids=list(pair.gt_segments) if is_raw else None,
    )


Overlaps = Callable[[Pair, int], SegmentOverlaps]


def check(pairs: Sequence[Pair], ours: Overlaps, name: str, num_classes: int) -> None:
    """Check that both ways give the same sums.

    Raises:
        BenchmarkError: If they do not.
    """
    for image, pair in enumerate(pairs):
        expected = plain_stats(pair, num_classes)
        found = panoptic_stats([ours(pair, num_classes)], num_classes)
        for field in ('iou_sum', 'tp', 'fp', 'fn'):
            difference = np.abs(getattr(expected, field) - getattr(found, field)).max()
            if difference > TOLERANCE:
                raise BenchmarkError(f'{name}, image {image}: {field} differs by {difference}')


def measure(
    pairs: Sequence[Pair], ours: Overlaps, name: str, args: argparse.Namespace
) -> dict[str, list[float]]:
    """Return milliseconds per image of both ways, and their ratio, for each run."""
    # sorting 32 bits is faster than sorting 8, so the port gets these
    wide = [with_wide_ids(pair) for pair in pairs]

    def plain(_: int) -> None:
        images = [plain_stats(pair, args.classes) for pair in wide * args.passes]
        for field in fields(PanopticStats):
            np.sum([getattr(image, field.name) for image in images], axis=0)

    def with_ours(_: int) -> None:
        panoptic_stats([ours(pair, args.classes) for pair in pairs * args.passes], args.classes)

    times = time_in_turn({'plain': plain, 'ours': with_ours}, runs=args.runs, items=1)
    images = args.passes * len(pairs)
    series = {
        f'{way}, {name}': [1000 * seconds / images for seconds in values]
        for way, values in times.items()
    }
    return {**series, f'plain / ours, {name}': ratios(times['plain'], times['ours'])}


def run(args: argparse.Namespace) -> None:
    """Measure and report."""
    pixels = args.height * args.width
    require_device('cpu', memory=300 + (100 + 24 * args.images) * pixels / MEGABYTE)
    rng = np.random.default_rng(0)
    series: dict[str, list[float]] = {}
    for kind, noise in (('', 0.0), (', noisy', args.noise)):
        compact = [draw(rng, args, noise=noise) for _ in range(args.images)]
        raw = [with_raw_ids(pair, rng) for pair in compact]
        codes = [with_codes(pair) for pair in compact]
        for ids, pairs, ours in (
            ('raw', raw, partial(overlaps, is_raw=True)),
            ('compact', compact, overlaps),
            ("the metric's", codes, partial(overlaps, is_coded=True)),
        ):
            name = f'{ids} ids{kind}'
            check(pairs, ours, name, args.classes)
            series |= measure(pairs, ours, name, args)
    checks = {f'equal to {TOLERANCE}': True}
    report('panoptic_quality', series, arguments=args, checks=checks, out=args.json)
    print(f'milliseconds per image, and ratios; {args.images} images, {args.runs} runs')
    print(f'both ways are equal to {TOLERANCE}')


def main() -> None:
    """Run the benchmark and print its table."""
    args = parse_args()
    with one_line_errors():
        run(args)


if __name__ == '__main__':
    main()
