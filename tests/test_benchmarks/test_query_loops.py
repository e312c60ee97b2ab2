"""The loops against the slower ones in NumPy, and the package against the loops on larger maps."""

import numpy as np
import oracles
import pytest
import query_loops
import torch

from mmcomformer.models import mask_pseudo_labels
from mmcomformer.models.mask_activation import QuerySigmoid, QuerySoftmax
from mmcomformer.models.panoptic_fusion import fuse_panoptic
from mmcomformer.models.segments import MaskLogits


@pytest.mark.parametrize('kind', oracles.KINDS)
@pytest.mark.parametrize('threshold', [0.0, 0.5])
def test_loops_in_torch_and_numpy(kind, threshold):
    rng = np.random.default_rng(4)
    for _ in range(40):
        cls_score, masks, covered = oracles.random_queries(rng, kind)
        prob = torch.from_numpy(cls_score).softmax(-1).numpy()
        kept = query_loops.keep(torch.from_numpy(cls_score), torch.from_numpy(masks), 0.3)
        found = query_loops.label_in_a_loop(kept, torch.from_numpy(covered), threshold)
        expected = oracles.pseudo_labels(prob, masks, covered, 0.3, threshold)
        assert list(found) == [query for query, _, _ in expected]
        for mask, (_, _, other) in zip(found.values(), expected, strict=True):
            np.testing.assert_array_equal(mask.numpy(), other)
        num_classes = cls_score.shape[1] - 1
        result = query_loops.fuse_in_a_loop(kept, 2, num_classes, threshold)
        np.testing.assert_array_equal(
            result.numpy(), oracles.panoptic(prob, masks, 2, 0.3, threshold)
        )


@pytest.mark.parametrize('activation', [QuerySoftmax(), QuerySigmoid()])
@pytest.mark.parametrize('size', [(128, 160), (100, 211)])
@pytest.mark.parametrize('values', ['smooth', 'few'])
def test_package_and_loops(activation, size, values):
    """From logits, with several blocks; few values make ties common."""
    logits = 6 * torch.randn(30, 32, 40)
    if values == 'few':
        logits = 9.0 * (torch.rand(30, 4, 5) < 0.05).float().repeat(1, 8, 8)
    cls_score = 3 * torch.randn(30, 6)
    cls_score[20:] = cls_score[:10]
    covered = torch.rand(size) < 0.3
    masks = MaskLogits(logits, activation, size)
    full = torch.cat(list(masks.blocks()), 1).view(30, *size)
    kept = query_loops.keep(cls_score, full, 0.4)
    found = query_loops.label_in_a_loop(kept, covered, 0.02)
    owner, _, valid = mask_pseudo_labels(cls_score, masks, covered, score_thr=0.4, overlap_thr=0.02)
    assert valid.nonzero()[:, 0].tolist() == list(found) != []
    assert all(torch.equal(owner == query, mask) for query, mask in found.items())
    result = fuse_panoptic(cls_score, masks, num_things=2, score_thr=0.4, iou_thr=0.1)
    assert torch.equal(result, query_loops.fuse_in_a_loop(kept, 2, 5, 0.1))
