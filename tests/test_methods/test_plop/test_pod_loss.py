"""Pooled features: golden numbers, windows by hand, and what each argument does."""

import golden
import numpy as np
import pytest
import torch
from mmengine.registry import MODELS

from mmcomformer.methods.plop import PodLoss, pod_loss, pooled_windows
from mmcomformer.models.extra_losses import build_extra_losses, parts_read
from mmcomformer.models.query_output import QueryOutput

GOLDEN = golden.Golden('pod')
# windows of w // s cells along both axes: they leave rows out, or the map
TALL_OR_WIDE = {'p1_nonsquare', 'p5_taller_than_wide'}


def recorded(case, dtype):
    layers = range(len(case['shapes']))
    student = [GOLDEN[f'{case["case"]}__new{i}'].to(dtype).requires_grad_() for i in layers]
    return student, [GOLDEN[f'{case["case"]}__old{i}'].to(dtype) for i in layers]


def loss_of(case, student, teacher):
    return pod_loss(student, teacher, scales=case['scales'], normalize=case['normalize'])


@pytest.mark.parametrize(('dtype', 'tolerance'), golden.PRECISIONS)
@pytest.mark.parametrize(
    'case',
    [case for case in GOLDEN.cases if case['case'] not in TALL_OR_WIDE],
    ids=lambda case: case['case'],
)
def test_released_loss_and_gradient(case, dtype, tolerance):
    student, teacher = recorded(case, dtype)
    loss = loss_of(case, student, teacher)
    loss.backward()
    golden.assert_agrees(loss, case['loss_f64'], tolerance)
    for i, feature in enumerate(student):
        golden.assert_agrees(feature.grad, GOLDEN[f'{case["case"]}__grad_new{i}_f64'], tolerance)


@pytest.mark.parametrize('name', sorted(TALL_OR_WIDE))
def test_differs_for_maps_that_are_not_square(name):
    (case,) = [case for case in GOLDEN.cases if case['case'] == name]
    assert any(h != w for _, _, h, w in case['shapes'])
    student, teacher = recorded(case, torch.float64)
    loss = loss_of(case, student, teacher)
    assert loss.isfinite()
    if case['loss_f64'] is None:
        return
    assert loss.item() != pytest.approx(case['loss_f64'], rel=1e-3)
    # the released program's windows, 2 x 2 cells at scale 4, and so on, of the first rows only
    (ours,), (theirs,) = student, teacher
    released = [
        torch.cat([pooled_windows(x[:, :, : x.shape[-1]], [scale]) for scale in case['scales']], 1)
        for x in (ours, theirs)
    ]
    distance = (released[0] - released[1]).norm(dim=1).mean()
    assert distance.item() == pytest.approx(case['loss_f64'], rel=1e-9)


def by_hand(feature, scales):
    """Means of each window of one image, in any order."""
    values = []
    for channel in feature:
        for scale in scales:
            rows, columns = channel.shape[0] // scale, channel.shape[1] // scale
            for i in range(scale):
                for j in range(scale):
                    window = channel[i * rows : (i + 1) * rows, j * columns : (j + 1) * columns]
                    values += [*window.mean(0), *window.mean(1)]
    return np.sort(values)


@pytest.mark.parametrize('size', [(8, 8), (6, 10), (9, 5)])
def test_windows_by_hand(size):
    feature = torch.randn(2, 3, *size, dtype=torch.float64)
    pooled = pooled_windows(feature, (1, 2, 4))
    for image, values in zip(feature, pooled, strict=True):
        expected = by_hand(image.numpy(), (1, 2, 4))
        np.testing.assert_allclose(np.sort(values.numpy()), expected, rtol=1e-12)


def test_maps_smaller_than_a_scale_have_no_windows_of_it():
    feature = torch.randn(2, 3, 3, 5)
    assert torch.equal(pooled_windows(feature, (1, 2, 4)), pooled_windows(feature, (1, 2)))
    assert pooled_windows(feature, (4,)).shape == (2, 0)
    loss = pod_loss([feature.requires_grad_()], [torch.randn(2, 3, 3, 5)], scales=(4,))
    assert loss.item() == 0


def features(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2, c, n, n, generator=generator) for c, n in ((4, 8), (8, 4))]


def distance(student, teacher, loss=None):
    """Return the loss of features of student and teacher, the last of which are mask features."""
    outputs = (
        QueryOutput((), (), feats=tuple(feats[:-1]), mask_features=feats[-1])
        for feats in (student, teacher)
    )
    return (loss or PodLoss())(*outputs, [], [])['loss_feature']


def test_every_argument_changes_the_result():
    options = [
        {},
        {'scales': (1, 2)},
        {'normalize': True},
        {'loss_weight': 0.01},
        {'mask_features': False},
    ]
    student, teacher = features(0), features(1)
    values = [
        distance(student, teacher, MODELS.build({'type': 'PodLoss', **option})).item()
        for option in options
    ]
    assert len({round(value, 7) for value in values}) == len(options)
    assert values[3] == pytest.approx(10 * values[0])
    assert values[0] == pytest.approx(0.001 * pod_loss(student, teacher).item())
    assert values[4] == pytest.approx(0.001 * pod_loss(student[:-1], teacher[:-1]).item())


@pytest.mark.parametrize(
    ('option', 'parts'), [({}, {'feats', 'mask_features'}), ({'mask_features': False}, {'feats'})]
)
def test_the_teacher_keeps_what_is_read(option, parts):
    loss = build_extra_losses({'feature': {'type': 'PodLoss', **option}})
    assert parts_read(loss) == parts


def test_half_precision_is_computed_in_single():
    student, teacher = ([x.half() for x in features(seed)] for seed in (0, 1))
    loss = distance(student, teacher)
    assert loss.dtype == torch.float32
    assert loss == distance([x.float() for x in student], [x.float() for x in teacher])


def test_layers_that_do_not_fit():
    with pytest.raises(ValueError, match=r'same layers.*\(2, 4, 8, 8\).*of the student'):
        pod_loss(features(), features()[:1])
    with pytest.raises(ValueError, match='same layers'):
        pod_loss([], [])


@pytest.mark.parametrize('scales', [(), (0, 1)])
def test_wrong_scales(scales):
    with pytest.raises(ValueError, match=r'PodLoss.scales: expected numbers from 1, got'):
        PodLoss(scales=scales)
