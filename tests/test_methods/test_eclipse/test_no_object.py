"""The logit of no-object at inference, against the released program."""

import math

import pytest
import torch
from golden import PRECISIONS, Golden, assert_agrees

from mmcomformer.methods.eclipse.no_object import manipulate_no_object, parse_deltas

GOLDEN = Golden('logit_manipulation', 'eclipse')


@pytest.mark.parametrize(('dtype', 'tolerance'), PRECISIONS)
@pytest.mark.parametrize('case', GOLDEN.cases, ids=lambda case: case['case'])
def test_as_released(case, dtype, tolerance):
    logits = GOLDEN[f'{case["key_prefix"]}__logits'].to(dtype)
    before = logits.clone()
    result = manipulate_no_object(
        logits, case['group_queries'], case['classes'], case['delta_used']
    )
    assert_agrees(result, GOLDEN[f'{case["key_prefix"]}__out_f64'], tolerance)
    assert torch.equal(logits, before)


@pytest.mark.parametrize('case', GOLDEN.cases, ids=lambda case: case['case'])
def test_deltas_as_released(case):
    given, num_steps = case['delta'], len(case['classes'])
    if isinstance(given, list) and len(given) > num_steps:
        # the released program would silently cut it
        with pytest.raises(ValueError, match='expected at most one number for each of the 2 steps'):
            parse_deltas(given, num_steps, 'deltas')
        given = given[:num_steps]
    assert parse_deltas(given, num_steps, 'deltas') == tuple(case['delta_used'])


@pytest.mark.parametrize(
    ('deltas', 'error', 'message'),
    [
        (
            '0.4',
            TypeError,
            "model.head.deltas: expected a number, a list of numbers or None, got '",
        ),
        ([0.4, '0.6'], TypeError, r"deltas: expected a number, .* got \[0.4, '0.6'\]"),
        (True, TypeError, 'deltas: expected a number'),
        ([], ValueError, 'deltas: expected finite numbers, at least one'),
        ([math.nan], ValueError, 'deltas: expected finite numbers'),
        ([0.1] * 4, ValueError, 'deltas: expected at most one number for each of the 3 steps, got'),
    ],
)
def test_bad_deltas(deltas, error, message):
    with pytest.raises(error, match=message):
        parse_deltas(deltas, 3, 'model.head.deltas')
