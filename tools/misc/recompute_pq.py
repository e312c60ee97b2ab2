"""Compute panoptic quality from files, as COCO's own program defines it.

It shares no line with the metric of the package: NumPy counts what predictions, as tools/test.py
--out writes them, have in common with the annotations. Images without a prediction are left out.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Qualities = dict[str, 'dict[str, float] | None']


def read_ids(path: Path) -> np.ndarray:
    """Return the segment ids of a PNG: R + 256 G + 65536 B."""
    rgb = np.asarray(Image.open(path).convert('RGB')).astype(np.int64)
    return rgb[..., 0] + 256 * rgb[..., 1] + 65536 * rgb[..., 2]


def quality(
    truth_json: Path, truth_folder: Path, found_json: Path, found_folder: Path
) -> Qualities:
    """Return PQ, SQ and RQ in percent by class name; None for a class that nowhere occurs.

    Raises:
        ValueError: If the found files contradict themselves or the format.
    """
    truth = json.loads(Path(truth_json).read_text(encoding='utf-8'))
    found = json.loads(Path(found_json).read_text(encoding='utf-8'))
    predictions = {entry['image_id']: entry for entry in found['annotations']}
    require(len(predictions) == len(found['annotations']), 'an image has two predictions')
    total = Totals()
    for entry in truth['annotations']:
        prediction = predictions.get(entry['image_id'])
        if prediction is None:
            continue
        gt_map = read_ids(Path(truth_folder) / entry['file_name'])
        pred_map = read_ids(Path(found_folder) / prediction['file_name'])
        require(gt_map.shape == pred_map.shape, f'{prediction["file_name"]}: another size')
        check_segments(prediction, pred_map)
        total.add(entry['segments_info'], gt_map, prediction['segments_info'], pred_map)
    return {category['name']: total.of(category['id']) for category in truth['categories']}


def require(fine: bool, fault: str) -> None:
    """Raise a ValueError that names a fault, unless all is fine."""
    if not fine:
        raise ValueError(fault)


def check_segments(prediction: dict[str, Any], ids: np.ndarray) -> None:
    """Check that the segments of a prediction are those of its PNG, with their areas and boxes.

    Raises:
        ValueError: If they are not.
    """
    name = prediction['file_name']
    listed = {segment['id']: segment for segment in prediction['segments_info']}
    require(len(listed) == len(prediction['segments_info']), f'{name}: a segment is listed twice')
    require(set(np.unique(ids)) - {0} == set(listed), f'{name}: other segments are listed')
    for number, segment in listed.items():
        rows, columns = np.nonzero(ids == number)
        require(segment['area'] == len(rows), f'{name}: segment {number} has another area')
        box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
        require(list(segment['bbox']) == box, f'{name}: segment {number} has another box')


class Totals:
    """True positives, their IoU, false positives and false negatives of each category."""

    def __init__(self) -> None:
        self.tp: Counter[int] = Counter()
        self.fp: Counter[int] = Counter()
        self.fn: Counter[int] = Counter()
        self.iou: dict[int, float] = defaultdict(float)

    def add(
        self,
        truth: list[dict[str, Any]],
        gt_map: np.ndarray,
        found: list[dict[str, Any]],
        pred_map: np.ndarray,
    ) -> None:
        """Count an image."""
        gt = {segment['id']: segment for segment in truth}
        pred = {segment['id']: segment for segment in found}
        areas = Counter(pred_map.ravel().tolist())
        gt_areas = Counter(gt_map.ravel().tolist())
        both = Counter(zip(gt_map.ravel().tolist(), pred_map.ravel().tolist(), strict=True))
        matched: set[tuple[str, int]] = set()
        for (g, p), shared in both.items():
            if g not in gt or p not in pred or gt[g].get('iscrowd'):
                continue
            category = gt[g]['category_id']
            iou = shared / (areas[p] + gt_areas[g] - shared - both[(0, p)])
            if category == pred[p]['category_id'] and iou > 0.5:
                self.tp[category] += 1
                self.iou[category] += iou
                matched |= {('gt', g), ('pred', p)}
        crowds = {x['category_id']: g for g, x in gt.items() if x.get('iscrowd')}
        for g, segment in gt.items():
            if not segment.get('iscrowd') and ('gt', g) not in matched:
                self.fn[segment['category_id']] += 1
        for p, segment in pred.items():
            ignored = both[(0, p)] + both[(crowds.get(segment['category_id']), p)]
            if ('pred', p) not in matched and ignored / areas[p] <= 0.5:
                self.fp[segment['category_id']] += 1

    def of(self, category: int) -> dict[str, float] | None:
        """Return the qualities of a category in percent, or None."""
        tp, iou = self.tp[category], self.iou[category]
        count = tp + 0.5 * self.fp[category] + 0.5 * self.fn[category]
        if count == 0:
            return None
        sq = iou / tp if tp else 0.0
        return {'PQ': 100 * iou / count, 'SQ': 100 * sq, 'RQ': 100 * tp / count}


def main() -> int:
    """Print the qualities as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('truth_json', type=Path, help='annotations, COCO panoptic')
    parser.add_argument('truth_folder', type=Path, help='folder of their PNGs')
    parser.add_argument('found_json', type=Path, help='panoptic.json of the predictions')
    parser.add_argument('found_folder', type=Path, help='folder of their PNGs')
    args = parser.parse_args()
    try:
        found = quality(args.truth_json, args.truth_folder, args.found_json, args.found_folder)
    except (OSError, ValueError, KeyError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    print(json.dumps(found, indent=1))
    return 0


if __name__ == '__main__':
    sys.exit(main())
