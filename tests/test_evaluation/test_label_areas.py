"""Areas of labels: counting in one pass, reading them off, summing, dividing."""

import numpy as np
import pytest
import torch

from mmcomformer.evaluation.label_areas import (
    LabelAreas,
    check_labels,
    class_counts,
    from_rows,
    pair_counts,
    to_rows,
)

GT = torch.tensor([[0, 0, 1, 1], [2, 2, 255, 255]])
PRED = torch.tensor([[0, 1, 1, 255], [2, 0, 2, 255]])


def areas(**kwargs):
    result = LabelAreas.from_counts(pair_counts(GT, PRED), 3, **kwargs)
    return [result.intersection.tolist(), result.pred.tolist(), result.gt.tolist()]


@pytest.mark.parametrize('gt_dtype', [torch.uint8, torch.int32, torch.int64])
@pytest.mark.parametrize('pred_dtype', [torch.uint8, torch.int64])
def test_every_pair_of_values_is_counted(gt_dtype, pred_dtype):
    gt, pred = torch.randint(256, (2, 40, 50))
    counts = pair_counts(gt.to(gt_dtype), pred.to(pred_dtype))
    expected = np.zeros((256, 256), dtype=np.int64)
    np.add.at(expected, (gt.numpy().ravel(), pred.numpy().ravel()), 1)
    assert counts.dtype == np.int64
    np.testing.assert_array_equal(counts, expected)


@pytest.mark.parametrize('dtype', [torch.int32, torch.int64])
def test_inputs_are_not_changed(dtype):
    gt, pred = GT.to(dtype), PRED.to(dtype)
    pair_counts(gt, pred)
    assert torch.equal(gt, GT.to(dtype))
    assert torch.equal(pred, PRED.to(dtype))


def test_map_without_pixels():
    assert pair_counts(GT[:0], PRED[:0]).sum() == 0


@pytest.mark.parametrize(
    ('gt', 'pred', 'message'),
    [
        (torch.tensor([[0, -1]]), torch.tensor([[0, 0]]), 'ground truth holds values from -1 to 0'),
        (torch.tensor([[0, 0]]), torch.tensor([[0, 256]]), 'prediction holds values from 0 to 256'),
        (torch.tensor([[0, 0]]), torch.tensor([[0.0, 1.0]]), r'prediction holds torch\.float32'),
        (torch.tensor([[True]]), torch.tensor([[0]]), r'ground truth holds torch\.bool'),
    ],
)
def test_values_that_no_map_holds(gt, pred, message):
    with pytest.raises(ValueError, match=message):
        pair_counts(gt, pred)


def test_unknown_labels():
    counts = pair_counts(GT, PRED)
    check_labels(counts, 3)
    with pytest.raises(ValueError, match=r'ground truth holds the values \[2\].* labels 0 to 1'):
        check_labels(counts, 2)
    with pytest.raises(ValueError, match=r'the prediction holds the values \[1, 2\]'):
        check_labels(pair_counts(torch.zeros_like(GT), PRED), 1)


def test_unlabelled_pixels_are_left_out():
    assert areas() == [[1, 1, 1], [2, 2, 1], [2, 2, 2]]


def test_unlabelled_pixels_are_a_class_of_their_own():
    assert areas(unlabelled=3) == [[1, 1, 1, 1], [2, 2, 2, 2], [2, 2, 2, 2]]


def test_unlabelled_pixels_are_a_class_of_the_dataset():
    assert areas(unlabelled=0) == [[2, 1, 1], [4, 2, 2], [4, 2, 2]]


def test_ignored_class_takes_its_pixels_out_of_the_predictions():
    assert areas(ignored=[2]) == [[1, 1, 0], [1, 2, 0], [2, 2, 0]]
    assert areas(unlabelled=3, ignored=[2]) == [[1, 1, 0, 1], [1, 2, 1, 2], [2, 2, 0, 2]]


def test_counts_are_not_changed():
    counts = pair_counts(GT, PRED)
    before = counts.copy()
    LabelAreas.from_counts(counts, 3, unlabelled=0, ignored=[1])
    np.testing.assert_array_equal(counts, before)


def test_rows_hold_the_pairs_that_occur():
    rows = to_rows(pair_counts(GT[:1, :1], PRED[:1, 1:2]))
    assert rows.dtype == np.int64
    assert rows.tolist() == [[int(GT[0, 0]), int(PRED[0, 1]), 1]]


def test_sums_are_exact_beyond_float32():
    rows = np.array([[1, 1, 2**24 + 1], [1, 0, 2**53 + 1]])
    counts = from_rows([rows, np.array([[1, 1, 1], [255, 0, 5]])])
    assert counts[1, :2].tolist() == [2**53 + 1, 2**24 + 2]
    assert counts[255, 0] == 5
    assert counts.sum() == 2**53 + 2**24 + 8


def test_sum_of_nothing():
    iou, acc = LabelAreas.from_counts(from_rows([]), 2).quality()
    assert np.isnan(iou).all()
    assert np.isnan(acc).all()


def test_counts_of_classes():
    counts = pair_counts(GT, PRED)
    table = class_counts(counts, 3)
    assert table.shape == (4, 4)
    assert table.sum() == GT.numel()
    assert table[3].sum() == (GT == 255).sum()
    folded = class_counts(counts, 3, unlabelled=0)
    assert folded[3].sum() == folded[:, 3].sum() == 0
    assert folded[0].sum() == ((GT == 255) | (GT == 0)).sum()
