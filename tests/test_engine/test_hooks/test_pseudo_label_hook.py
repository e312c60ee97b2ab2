"""What the hook gives to the maker of pseudo-labels."""

from types import SimpleNamespace

import pytest
import small_runs
import torch

from mmcomformer.engine import driver
from mmcomformer.engine.hooks import PseudoLabelHook
from mmcomformer.engine.request import Request
from mmcomformer.models.class_activation import SOFTMAX
from mmcomformer.models.mask_activation import QuerySoftmax
from mmcomformer.models.query_output import QueryOutput
from mmcomformer.models.targets import ImageTargets

HEAD = SimpleNamespace(
    mask_activation=QuerySoftmax(),
    class_activation=SOFTMAX,
    labeller_settings={},
    targets_overlap=False,
)


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


def test_settings_of_the_head():
    """They hold where the config does not say it itself."""
    activation = {'type': 'ClassSigmoid', 'no_object': False}
    settings = dict(score_thr=0.3, overlap_thr=0.6, class_activation=activation)
    head = SimpleNamespace(**{**vars(HEAD), 'labeller_settings': settings})
    config = {'type': 'MaskPseudoLabels', 'overlap_thr': 0.9}
    labeller = PseudoLabelHook(labeller=config).build_labeller(head)
    assert (labeller.score_thr, labeller.overlap_thr) == (0.3, 0.9)
    assert not labeller.class_activation.has_no_object


def test_pseudo_labels_of_instances_may_lie_over_ground_truth():
    instances = SimpleNamespace(**{**vars(HEAD), 'targets_overlap': True})
    kind = {'type': 'MaskPseudoLabels'}
    for head, config, expected in (
        (HEAD, kind, False),
        (instances, kind, True),
        (instances, {**kind, 'over_truth': False}, False),
    ):
        assert PseudoLabelHook(labeller=config).build_labeller(head).over_truth == expected


def test_one_map_cannot_be_shared():
    hook = PseudoLabelHook(labeller={'type': 'MaskPseudoLabels', 'over_truth': True})
    with pytest.raises(ValueError, match='PseudoLabelHook.labeller.over_truth: expected False, be'):
        hook.build_labeller(HEAD)


@pytest.mark.families
def test_a_labeller_that_cannot_be_is_found_at_step_0(shapes_root, tmp_path):
    """Not at step 1, which is the first that has pseudo-labels, after step 0 was trained."""
    hook = {'type': 'PseudoLabelHook', 'labeller': {'type': 'MaskPseudoLabels', 'over_truth': True}}
    options = small_runs.small_options(shapes_root, custom_hooks=[hook])
    asked = Request(config=small_runs.CONFIG, work_dir=str(tmp_path), cfg_options=options)
    with pytest.raises(ValueError, match='labeller.over_truth: expected False, because the ground'):
        driver.run(asked)
    assert not list(tmp_path.rglob('*.pth'))


@pytest.mark.parametrize('memory', [None, True, False])
def test_images_from_memory(memory):
    """Labelled as current ones are, or left as they are; the current one is labelled always."""
    options = {} if memory is None else {'memory': memory}
    hook = PseudoLabelHook(labeller={'type': 'MaskPseudoLabels', **options})
    labeller = hook.build_labeller(HEAD)
    owner = torch.full((4, 4), -1)
    owner[:2] = 0
    truth = [
        ImageTargets.from_map(torch.tensor([0]), owner, from_memory=stored)
        for stored in (True, False, True)
    ]
    # the teacher is sure of class 1 in the lower half, where nothing is labelled
    cls_score = torch.tensor([[0.0, 9.0, 0.0], [0.0, 0.0, 9.0]]).expand(3, 2, 3)
    mask = torch.full((3, 2, 4, 4), -9.0)
    mask[:, 0, 2:] = mask[:, 1, :2] = 9
    found = labeller(truth, QueryOutput((cls_score,), (mask,), (), None))
    pseudo = [target.labels[target.is_pseudo & target.valid].tolist() for target in found]
    of_memory = [] if memory is False else [1]
    assert pseudo == [of_memory, [1], of_memory]
    assert [target.from_memory for target in found] == [True, False, True]
    for target, before in zip(found, truth, strict=True):
        assert target.mask_of(0).equal(before.mask_of(0))
