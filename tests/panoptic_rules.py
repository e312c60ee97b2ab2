"""Panoptic quality as COCO defines it, from files: NumPy, and nothing of the package."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image


def read_ids(path):
    """Return the segment ids of a PNG: R + 256 G + 65536 B."""
    rgb = np.asarray(Image.open(path).convert('RGB')).astype(np.int64)
    return rgb[..., 0] + 256 * rgb[..., 1] + 65536 * rgb[..., 2]


def quality(truth_json, truth_folder, found_json, found_folder):
    """Return PQ, SQ and RQ in percent by class name; None for a class that nowhere occurs.

    Raises:
        AssertionError: If the found files contradict themselves or the format.
    """
    truth = json.loads(Path(truth_json).read_text())
    found = json.loads(Path(found_json).read_text())
    predictions = {entry['image_id']: entry for entry in found['annotations']}
    assert len(predictions) == len(found['annotations'])
    tp, fp, fn, iou_sum = Counter(), Counter(), Counter(), Counter()
    for entry in truth['annotations']:
        prediction = predictions[entry['image_id']]
        gt_map = read_ids(Path(truth_folder) / entry['file_name'])
        pred_map = read_ids(Path(found_folder) / prediction['file_name'])
        assert gt_map.shape == pred_map.shape
        gt = {segment['id']: segment for segment in entry['segments_info']}
        pred = {segment['id']: segment for segment in prediction['segments_info']}
        assert len(pred) == len(prediction['segments_info'])
        assert set(np.unique(pred_map)) - {0} == set(pred)
        areas = Counter(pred_map.ravel().tolist())
        both = Counter(zip(gt_map.ravel().tolist(), pred_map.ravel().tolist(), strict=True))
        gt_areas = Counter(gt_map.ravel().tolist())
        for number, segment in pred.items():
            assert segment['area'] == areas[number]
            rows, columns = np.nonzero(pred_map == number)
            left, top, width, height = segment['bbox']
            assert (left, top) == (columns.min(), rows.min())
            assert (width, height) == (np.ptp(columns) + 1, np.ptp(rows) + 1)
        matched_gt, matched_pred = set(), set()
        for (g, p), shared in both.items():
            if g not in gt or p not in pred or gt[g].get('iscrowd'):
                continue
            category = gt[g]['category_id']
            if category != pred[p]['category_id']:
                continue
            iou = shared / (areas[p] + gt_areas[g] - shared - both[(0, p)])
            if iou > 0.5:
                tp[category] += 1
                iou_sum[category] += iou
                matched_gt.add(g)
                matched_pred.add(p)
        crowds = {}
        for g, segment in gt.items():
            if segment.get('iscrowd'):
                crowds[segment['category_id']] = g
            elif g not in matched_gt:
                fn[segment['category_id']] += 1
        for p, segment in pred.items():
            if p in matched_pred:
                continue
            ignored = both[(0, p)] + both[(crowds.get(segment['category_id']), p)]
            if ignored / areas[p] <= 0.5:
                fp[segment['category_id']] += 1
    result = {}
    for category in truth['categories']:
        c = category['id']
        count = tp[c] + 0.5 * fp[c] + 0.5 * fn[c]
        if count == 0:
            result[category['name']] = None
            continue
        sq = iou_sum[c] / tp[c] if tp[c] else 0.0
        result[category['name']] = {
            'PQ': 100 * iou_sum[c] / count,
            'SQ': 100 * sq,
            'RQ': 100 * tp[c] / count,
        }
    return result
