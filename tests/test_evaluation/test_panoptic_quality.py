"""Panoptic quality against hand-computed cases and a brute-force form of the definition."""

import numpy as np
import pytest

from mmcomformer.evaluation.panoptic_quality import (
    PanopticStats,
    SegmentOverlaps,
    panoptic_stats,
)


def brute_force(gt_ids, gt_labels, gt_iscrowd, pred_ids, pred_labels, num_classes):
    """The definition, pixel by pixel and segment by segment."""
    pixels = list(zip(gt_ids.ravel().tolist(), pred_ids.ravel().tolist(), strict=True))
    shared, gt_area, pred_area = {}, {}, {}
    for pair in pixels:
        shared[pair] = shared.get(pair, 0) + 1
        gt_area[pair[0]] = gt_area.get(pair[0], 0) + 1
        pred_area[pair[1]] = pred_area.get(pair[1], 0) + 1
    predicted = {i: label for i, label in pred_labels.items() if i in pred_area}
    result = {key: [0] * num_classes for key in ('iou', 'tp', 'fp', 'fn')}
    matched_gt, matched_pred, last_crowd = set(), set(), {}
    for k, (label, crowd) in enumerate(zip(gt_labels, gt_iscrowd, strict=True), start=1):
        if crowd:
            last_crowd[label] = k
            continue
        for i, pred_label in predicted.items():
            if pred_label != label or (k, i) not in shared:
                continue
            inter = shared[k, i]
            iou = inter / (gt_area[k] + pred_area[i] - inter - shared.get((0, i), 0))
            if iou > 0.5:
                result['iou'][label] += iou
                result['tp'][label] += 1
                matched_gt.add(k)
                matched_pred.add(i)
        if k not in matched_gt:
            result['fn'][label] += 1
    for i, label in predicted.items():
        excused = shared.get((0, i), 0) + shared.get((last_crowd.get(label), i), 0)
        if i not in matched_pred and excused / pred_area[i] <= 0.5:
            result['fp'][label] += 1
    return result


def overlaps_of(gt_ids, gt_labels, gt_iscrowd, pred_ids, pred_labels, num_classes, **kwargs):
    """The overlaps of an image whose predicted segments are listed in a dict."""

    def label_of(ids):
        return np.array([pred_labels.get(i, -1) for i in ids.tolist()], dtype=np.int64)

    return SegmentOverlaps.of_image(
        gt_ids, gt_labels, gt_iscrowd, pred_ids, label_of, num_classes=num_classes, **kwargs
    )


def random_case(rng):
    """A small image in which matches, near misses, crowds and VOID are all frequent."""
    num_classes = int(rng.integers(1, 4))
    num_gt = int(rng.integers(0, 7))
    height, width = rng.integers(2, 9, size=2)
    blocks = rng.integers(0, num_gt + 1, size=(height, width))
    gt_ids = np.kron(blocks, np.ones((2, 3), dtype=np.int32)).astype(np.int32)
    gt_labels = rng.integers(0, num_classes, size=num_gt)
    gt_iscrowd = rng.random(num_gt) < 0.4
    ids = rng.permutation(5000)[: num_gt + 3]
    names = ids[rng.integers(0, len(ids), size=num_gt + 1) if rng.random() < 0.3 else ...][
        : num_gt + 1
    ]
    pred_ids = names[gt_ids]
    noise = rng.random(pred_ids.shape) < rng.choice([0.0, 0.2, 0.5])
    pred_ids = np.where(noise, rng.choice(ids, size=pred_ids.shape), pred_ids).astype(np.int32)
    pred_labels = {
        int(i): int(rng.integers(num_classes)) for i in ids[: rng.integers(0, len(ids) + 1)]
    }
    for k, label in enumerate(gt_labels, start=1):
        if int(names[k]) in pred_labels and rng.random() < 0.8:
            pred_labels[int(names[k])] = int(label)
    return gt_ids, gt_labels, gt_iscrowd, pred_ids, pred_labels, num_classes


def test_equals_brute_force_on_random_cases():
    rng = np.random.default_rng(0)
    seen = dict.fromkeys(('tp', 'fp', 'fn', 'crowds of one class', 'excused', 'empty'), 0)
    for _ in range(400):
        *inputs, num_classes = random_case(rng)
        stats = panoptic_stats([overlaps_of(*inputs, num_classes)], num_classes)
        expected = brute_force(*inputs, num_classes)
        np.testing.assert_allclose(stats.iou_sum, expected['iou'], rtol=0, atol=1e-9)
        for name in ('tp', 'fp', 'fn'):
            assert getattr(stats, name).tolist() == expected[name]
            seen[name] += sum(expected[name])
        _, labels, crowd, pred_ids, pred_labels = inputs
        seen['crowds of one class'] += len(labels[crowd]) > len(set(labels[crowd].tolist()))
        present = sum(i in pred_labels for i in np.unique(pred_ids).tolist())
        seen['empty'] += present == 0
        seen['excused'] += present > sum(expected['tp']) + sum(expected['fp'])
    assert min(seen.values()) >= 10, seen


def test_pq_of_the_whole_set_equals_brute_force():
    rng = np.random.default_rng(1)
    totals = {key: np.zeros(3) for key in ('iou', 'tp', 'fp', 'fn')}
    images = []
    for _ in range(50):
        *inputs, _ = random_case(rng)
        images.append(overlaps_of(*inputs, 3))
        for key, values in brute_force(*inputs, 3).items():
            totals[key] += values
    stats = panoptic_stats(images, 3)
    np.testing.assert_allclose(stats.iou_sum, totals['iou'], rtol=0, atol=1e-9)
    assert [c.tolist() for c in (stats.tp, stats.fp, stats.fn)] == [
        totals[name].tolist() for name in ('tp', 'fp', 'fn')
    ]
    pq = totals['iou'] / (totals['tp'] + 0.5 * totals['fp'] + 0.5 * totals['fn'])
    np.testing.assert_allclose(stats.quality()['PQ'], pq, rtol=0, atol=1e-9)


def test_no_image():
    stats = panoptic_stats([], 3)
    assert all(np.array_equal(c, np.zeros(3)) for c in vars(stats).values())
    assert (stats.iou_sum.dtype, stats.tp.dtype) == (np.float64, np.int64)


def test_images_without_pixels_or_segments():
    nothing = np.zeros((0, 4), np.int32)
    empty = overlaps_of(nothing, [1], [0], nothing, {}, 2)
    void = overlaps_of(np.zeros((1, 3), int), [], [], np.array([[7, 7, 8]]), {7: 0}, 2)
    both = panoptic_stats([empty, void], 2)
    assert (both.tp.tolist(), both.fp.tolist(), both.fn.tolist()) == ([0, 0], [0, 0], [0, 1])


def test_the_same_ids_in_two_images_are_two_segments():
    gt, pred = np.array([[1, 1, 1]]), np.array([[5, 5, 5]])
    image = overlaps_of(gt, [0], [0], pred, {5: 0}, 1)
    crowd = overlaps_of(gt, [0], [1], pred, {5: 0}, 1)
    stats = panoptic_stats([image, crowd, image], 1)
    # a crowd of one image excuses nothing in another
    other = panoptic_stats([crowd, overlaps_of(gt * 0 + [0, 1, 1], [0], [1], pred, {5: 0}, 1)], 1)
    assert (stats.iou_sum.tolist(), stats.tp.tolist()) == ([2.0], [2])
    assert (stats.fp.tolist(), stats.fn.tolist(), other.fp.tolist()) == ([0], [0], [0])
    lone = overlaps_of(np.array([[1, 0, 0]]), [0], [0], np.array([[5, 6, 6]]), {6: 0}, 1)
    assert panoptic_stats([crowd, lone], 1).fn.tolist() == [1]


def one_row(gt, gt_labels, gt_iscrowd, pred, pred_labels, num_classes=2):
    image = overlaps_of(
        np.array([gt]), gt_labels, gt_iscrowd, np.array([pred]), pred_labels, num_classes
    )
    stats = panoptic_stats([image], num_classes)
    return stats.iou_sum.tolist(), stats.tp.tolist(), stats.fp.tolist(), stats.fn.tolist()


def test_iou_of_exactly_one_half_is_no_match():
    result = one_row([1, 1, 1, 1], [0], [0], [5, 5, 9, 9], {5: 0})
    assert result == ([0, 0], [0, 0], [1, 0], [1, 0])


def test_union_leaves_out_void_under_the_prediction():
    # 3 shared, 1 on VOID: 3 / 3; the VOID pixels would have made it 3 / 7
    result = one_row([1, 1, 1, 0, 0, 0, 0], [0], [0], [5] * 7, {5: 0})
    assert result == ([1, 0], [1, 0], [0, 0], [0, 0])


def test_overlap_with_another_class_is_no_match():
    result = one_row([1, 1], [0], [0], [5, 5], {5: 1})
    assert result == ([0, 0], [0, 0], [0, 1], [1, 0])


@pytest.mark.parametrize(('void', 'false_positives'), [(2, 1), (3, 0)])
def test_prediction_mostly_on_void_is_no_false_positive(void, false_positives):
    # half of it is not enough
    gt = [0] * void + [1] * (4 - void) + [1] * 10
    assert one_row(gt, [1], [0], [5] * 4 + [6] * 10, {5: 0})[2] == [false_positives, 0]


@pytest.mark.parametrize(('crowd_label', 'false_positives'), [(0, 0), (1, 1)])
def test_only_a_crowd_of_the_same_class_excuses(crowd_label, false_positives):
    result = one_row([1, 1, 1, 0], [crowd_label], [1], [5, 5, 5, 5], {5: 0})
    assert result == ([0, 0], [0, 0], [false_positives, 0], [0, 0])


@pytest.mark.parametrize(('order', 'false_positives'), [([1, 1, 1, 2], 1), ([2, 2, 2, 1], 0)])
def test_last_crowd_of_a_class_counts(order, false_positives):
    assert one_row(order, [0, 0], [1, 1], [5] * 4, {5: 0})[2] == [false_positives, 0]


def test_crowd_never_matches_and_is_never_missed():
    assert one_row([1, 1], [0], [1], [5, 5], {5: 0}) == ([0, 0], [0, 0], [0, 0], [0, 0])


def test_empty_prediction_misses_every_segment():
    result = one_row([1, 2, 3, 0], [0, 1, 1], [0, 0, 1], [7, 7, 7, 7], {})
    assert result == ([0, 0], [0, 0], [0, 0], [1, 1])


def test_ground_truth_without_segments():
    result = one_row([0, 0, 0], [], [], [7, 7, 8], {7: 0})
    assert result == ([0, 0], [0, 0], [0, 0], [0, 0])


def test_quality_of_classes_by_hand():
    stats = PanopticStats(
        iou_sum=np.array([1.5, 0.0, 0.0]),
        tp=np.array([2, 0, 0]),
        fp=np.array([1, 0, 3]),
        fn=np.array([1, 0, 0]),
    )
    quality = stats.quality()
    np.testing.assert_allclose(quality['PQ'], [0.5, np.nan, 0.0])
    np.testing.assert_allclose(quality['SQ'], [0.75, np.nan, 0.0])
    np.testing.assert_allclose(quality['RQ'], [2 / 3, np.nan, 0.0])


def test_ignored_labels_become_void():
    pred_ids, pred_labels = np.array([[5, 5, 5, 6, 6]]), {5: 1, 6: 2}
    image = overlaps_of(np.array([[1, 1, 2, 3, 0]]), [0, 1, 2], [0, 1, 0], pred_ids, pred_labels, 3)
    hidden = image.ignore({0})
    expected = overlaps_of(np.array([[0, 0, 1, 2, 0]]), [1, 2], [1, 0], pred_ids, pred_labels, 3)
    assert hidden.gt_labels.tolist() == [1, 2]
    assert hidden.gt_iscrowd.tolist() == [True, False]
    assert image.gt.tolist() == [-1, 0, 1, 2]
    assert hidden.gt.tolist() == [-1, -1, 0, 1]
    for field in ('iou_sum', 'tp', 'fp', 'fn'):
        assert np.array_equal(
            getattr(panoptic_stats([hidden], 3), field),
            getattr(panoptic_stats([expected], 3), field),
        )
    nothing = image.ignore({0, 1, 2})
    assert (nothing.gt_labels.size, nothing.gt.tolist()) == (0, [-1] * 4)
    assert panoptic_stats([nothing], 3).fn.tolist() == [0, 0, 0]


def test_raw_ids():
    rng = np.random.default_rng(2)
    for _ in range(30):
        gt_ids, *inputs, num_classes = random_case(rng)
        names = np.concatenate([[0], 4001 * rng.permutation(4000)[: len(inputs[0])] + 1])
        compact = overlaps_of(gt_ids, *inputs, num_classes)
        raw = overlaps_of(names[gt_ids], *inputs, num_classes, gt_segment_ids=names[1:])
        for field in ('iou_sum', 'tp', 'fp', 'fn'):
            np.testing.assert_allclose(
                getattr(panoptic_stats([raw], num_classes), field),
                getattr(panoptic_stats([compact], num_classes), field),
                rtol=1e-12,
            )


def test_labels_of_another_shape():
    ids = np.zeros((2, 2), int)
    with pytest.raises(ValueError, match=r'label_of: expected 1 labels, .* shape \(2,\)'):
        SegmentOverlaps.of_image(ids, [], [], ids, lambda _: np.zeros(2, int), num_classes=3)


@pytest.mark.parametrize(
    ('arguments', 'error', 'message'),
    [
        ({'gt_ids': np.zeros((2, 2))}, TypeError, 'expected a map of integers, got dtype float64'),
        ({'pred_ids': np.zeros((2, 2), bool)}, TypeError, 'a map of integers, got dtype bool'),
        ({'gt_ids': np.zeros((2, 3), int)}, ValueError, r'maps of one shape, got \(2, 3\)'),
        ({'gt_ids': np.full((2, 2), 2)}, ValueError, 'from 0 .* to 1 .*got 2 to 2'),
        ({'gt_ids': np.full((2, 2), -1)}, ValueError, 'got -1 to -1'),
        ({'gt_labels': [3]}, ValueError, r'gt_labels: expected labels from 0 to 2, got \[3\]'),
        ({'gt_labels': [-1]}, ValueError, 'gt_labels: expected labels from 0 to 2'),
        ({'pred_labels': {0: 3}}, ValueError, r'pred_labels: .* from -1 to 2, got \[3\]'),
        ({'gt_iscrowd': [0, 0]}, ValueError, 'gt_labels and gt_iscrowd: expected one value'),
        (
            {'gt_segment_ids': [5], 'gt_ids': np.full((2, 2), 7)},
            ValueError,
            r'gt_segment_ids: .* holds others: \[7\]',
        ),
        ({'gt_segment_ids': [5, 6]}, ValueError, 'the ids of 1 segments, got 2'),
        (
            {'gt_segment_ids': [], 'gt_ids': np.full((2, 2), 7)},
            ValueError,
            r'the ids of 1 segments, got 0; .* holds others: \[7\]',
        ),
    ],
)
def test_bad_input(arguments, error, message):
    good = {
        'gt_ids': np.zeros((2, 2), int),
        'gt_labels': [0],
        'gt_iscrowd': [0],
        'pred_ids': np.zeros((2, 2), int),
        'pred_labels': {},
    }
    with pytest.raises(error, match=message):
        overlaps_of(**{**good, **arguments}, num_classes=3)
