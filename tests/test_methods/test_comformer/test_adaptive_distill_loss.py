"""Distillation of classes: golden numbers, gradients, options and the case of no weight at all."""

import golden
import pytest
import torch
from mmengine.registry import MODELS

from mmcomformer.methods.comformer.adaptive_distill_loss import adaptive_distill_loss
from mmcomformer.models.hidden_classes import restricted_log_prob, unbiased_log_prob
from mmcomformer.models.query_output import QueryOutput

RELEASED = {'unbiased_kd': unbiased_log_prob, 'plain_kd': restricted_log_prob}
GOLDEN = {name: golden.Golden(name) for name in RELEASED}


def released_loss(kind, case, dtype):
    """Return student logits and loss of a recorded case."""
    numbers = GOLDEN[kind]
    student = numbers[case['case'] + '__student_logits'].to(dtype).transpose(1, 2).requires_grad_()
    loss = adaptive_distill_loss(
        RELEASED[kind](student, case['K_old']),
        numbers[case['case'] + '__teacher_logits'].to(dtype).transpose(1, 2),
        gamma=case['gamma'] if case['reweight'] else None,
        temperature=1 / case['temperature'],
    )
    loss.backward()
    return student, loss


@pytest.mark.parametrize(('dtype', 'tolerance'), golden.PRECISIONS)
@pytest.mark.parametrize(
    ('kind', 'case'),
    [(name, case) for name, numbers in GOLDEN.items() for case in numbers.cases],
    ids=lambda value: value if isinstance(value, str) else value['key_prefix'],
)
def test_released_loss_and_gradient(kind, case, dtype, tolerance):
    student, loss = released_loss(kind, case, dtype)
    # to 60 digits where float64 cancels in the released program
    released = case.get('loss_exact', case['loss_f64'])
    if released is None:
        # NaN in the released program: the teacher is sure of no-object everywhere
        assert loss.item() == 0
        assert torch.equal(student.grad, torch.zeros_like(student))
        return
    golden.assert_agrees(loss, released, tolerance)
    gradient = GOLDEN[kind][case['key_prefix'] + '__grad_student_f64'].transpose(1, 2)
    # where the released weights cancel, its gradient has half the digits only
    golden.assert_agrees(student.grad, gradient, 1e-6 if 'loss_exact' in case else tolerance)


@pytest.mark.parametrize('kind', RELEASED)
def test_differs_only_where_the_released_program_divides_by_nothing(kind):
    guarded = [
        case['case'] for case in GOLDEN[kind].cases if case['loss_f64'] is None or case.get('nan')
    ]
    # with weights, and with (1 - p)^2 of 0 in float64 or in float32
    assert guarded == ['c9b_teacher_noobj_f32_saturated', 'c9_teacher_all_noobj_saturated']


def test_unbiased_distribution_by_hand():
    prob = torch.tensor([[0.1, 0.2, 0.3, 0.15, 0.25]])
    old_2 = unbiased_log_prob(prob.log() + 3, 2).exp()
    torch.testing.assert_close(old_2, torch.tensor([[0.1, 0.2, 0.7]]))
    torch.testing.assert_close(
        restricted_log_prob(prob.log() + 3, 2).exp(),
        torch.tensor([[0.1, 0.2, 0.25]]) / 0.55,
    )
    torch.testing.assert_close(unbiased_log_prob(prob.log(), 4), prob.log())


def test_loss_by_hand():
    student = torch.tensor([[0.5, 0.2, 0.3], [0.1, 0.6, 0.3]]).double()
    teacher = torch.tensor([[0.6, 0.3, 0.1], [0.1, 0.1, 0.8]]).double()
    kl = (teacher * (teacher / student).log()).sum(-1)
    for gamma, weight in ((2.0, [0.81, 0.04]), (1.0, [0.9, 0.2]), (0.0, [1, 1]), (None, [1, 1])):
        weight = torch.tensor(weight).double()
        loss = adaptive_distill_loss(student.log(), teacher.log() + 2, gamma=gamma)
        torch.testing.assert_close(loss, (weight * kl).sum() / weight.sum())


def build(**changes):
    """Return the loss as a function of the logits of student and teacher."""
    loss = MODELS.build({'type': 'AdaptiveDistillLoss', **changes})

    def of_logits(student, teacher):
        # the last level counts
        outputs = (QueryOutput((2 * logits, logits), ()) for logits in (student, teacher))
        return loss(*outputs, [], [])['loss_distill']

    return of_logits


def logits(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    student = torch.randn(2, 5, 7, generator=generator, dtype=dtype)
    return student, torch.randn(2, 5, 5, generator=generator, dtype=dtype)


def test_defaults_are_those_of_the_released_program():
    student, teacher = logits()
    expected = adaptive_distill_loss(
        unbiased_log_prob(student, 4), teacher, gamma=2.0, temperature=1.0
    )
    torch.testing.assert_close(build()(student, teacher), 10 * expected)


def test_every_option_changes_the_result():
    student, teacher = logits()
    options = [
        {},
        {'unbiased': False},
        {'adaptive': False},
        {'gamma': 1.0},
        {'temperature': 2.0},
        {'loss_weight': 5.0},
    ]
    values = [build(**option)(student, teacher).item() for option in options]
    assert len({round(value, 4) for value in values}) == len(options)
    assert values[5] == pytest.approx(values[0] / 2)


def test_temperature_divides_the_logits_of_the_teacher_alone():
    student, teacher = logits()
    torch.testing.assert_close(
        build(temperature=4.0)(student, teacher), build()(student, teacher / 4)
    )


def test_gamma_counts_only_when_adaptive():
    student, teacher = logits()
    assert torch.equal(
        build(adaptive=False, gamma=1.0)(student, teacher),
        build(adaptive=False, gamma=3.0)(student, teacher),
    )


def test_weights_are_normalised_over_the_whole_batch():
    student, teacher = logits()
    teacher[1, :, -1] += 8
    together = build()(student, teacher)
    apart = torch.stack([build()(s[None], t[None]) for s, t in zip(student, teacher, strict=True)])
    torch.testing.assert_close(together, apart[0], rtol=1e-3, atol=1e-3)
    assert abs(together - apart.mean()) > 0.1


@pytest.mark.parametrize('options', [{}, {'unbiased': False}, {'adaptive': False}, {'gamma': 0.5}])
def test_gradcheck(options):
    student, teacher = logits(torch.float64)
    num_old = teacher.shape[-1] - 1
    log_prob = restricted_log_prob if options.get('unbiased') is False else unbiased_log_prob
    gamma = None if options.get('adaptive') is False else options.get('gamma', 2.0)
    assert torch.autograd.gradcheck(
        lambda x: adaptive_distill_loss(log_prob(x, num_old), teacher, gamma=gamma),
        student.requires_grad_(),
    )


def test_teacher_sure_of_no_object_everywhere():
    student, teacher = logits()
    teacher[..., -1] += 900
    student.requires_grad_()
    loss = build()(student, teacher)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(student.grad, torch.zeros_like(student))


def test_teacher_sure_of_no_object_to_single_precision():
    # 1 - p(0) is 0 in float32, and the released program divides by it
    numbers = GOLDEN['unbiased_kd']
    case = next(case for case in numbers.cases if 'loss_exact' in case)
    student = numbers[case['case'] + '__student_logits'].transpose(1, 2)
    teacher = numbers[case['case'] + '__teacher_logits'].transpose(1, 2)
    loss = build(loss_weight=1.0)(student, teacher)
    assert loss.item() == pytest.approx(case['loss_exact'], rel=1e-5)


def test_a_student_that_agrees_has_no_loss():
    _, teacher = logits()
    # new classes and no-object share what the teacher gives to no-object
    third = teacher[..., -1:] - torch.log(torch.tensor(3.0))
    student = torch.cat([teacher[..., :-1], third, third, third], -1)
    assert build()(student, teacher).item() == pytest.approx(0, abs=1e-5)
    assert build(unbiased=False)(student, teacher).item() > 0.1


def test_half_precision_is_computed_in_single():
    student, teacher = (x.half() for x in logits())
    loss = build()(student, teacher)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, build()(student.float(), teacher.float()))


@pytest.mark.parametrize(
    ('student', 'teacher'), [((2, 5, 4), (2, 5, 5)), ((2, 5, 7), (2, 6, 5)), ((2, 5, 7), (1, 5, 5))]
)
def test_shapes_that_do_not_fit(student, teacher):
    message = rf'expected a teacher with the queries of the student.*{teacher[1]}.*{student[1]}'
    with pytest.raises(ValueError, match=message):
        build()(torch.zeros(student), torch.zeros(teacher))


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        ({'temperature': 0}, 'temperature: expected above 0, got 0'),
        ({'temperature': -1.0}, r'temperature: expected above 0, got -1\.0'),
        ({'gamma': -1}, 'gamma: expected at least 0, got -1'),
    ],
)
def test_wrong_options(option, message):
    with pytest.raises(ValueError, match=message):
        build(**option)
