"""What the hook gives to the maker of pseudo-labels."""

from types import SimpleNamespace

import pytest

from mmcomformer.engine.hooks import PseudoLabelHook
from mmcomformer.models.class_activation import SOFTMAX
from mmcomformer.models.mask_activation import QuerySoftmax

HEAD = SimpleNamespace(mask_activation=QuerySoftmax(), class_activation=SOFTMAX)


@pytest.mark.parametrize(
    ('arguments', 'score_thr', 'overlap_thr'),
    [
        ({}, 0.0, 0.5),
        ({'score_thr': 0.3}, 0.3, 0.5),
        ({'overlap_thr': 0.8}, 0.0, 0.8),
        ({'score_thr': 0.1, 'overlap_thr': 0.9}, 0.1, 0.9),
    ],
)
def test_thresholds_of_the_config_are_used(arguments, score_thr, overlap_thr):
    """The released program reads one and uses 0.5."""
    labeller = PseudoLabelHook(**arguments).build_labeller(HEAD)
    assert (labeller.score_thr, labeller.overlap_thr) == (score_thr, overlap_thr)
