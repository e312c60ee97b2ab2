"""A training step under autocast: what is computed in float32, and how near the losses stay."""

import every_method
import pytest
import tiny
import torch
from every_method import Replay, copies_that_agree

from mmcomformer.models import FrozenTeacher, MaskPseudoLabels, query_head

SETTINGS = {
    'softmax': dict(),
    'sigmoid': dict(tiny.SIGMOID, match_cost='WeightedMatchCost'),
}


def build(kind, step):
    """Build a student, at step 1 with a teacher and its pseudo-labels."""
    model = tiny.build_model(step, **SETTINGS[kind]).train()
    # with few points the losses depend on which of them are the uncertain ones
    model.panoptic_head.num_points = 2000
    if step:
        teacher = tiny.build_model(step - 1, **SETTINGS[kind])
        # it sees something
        teacher.panoptic_head.cls_embed.no_object.bias.data.fill_(-5)
        model.teacher = FrozenTeacher(teacher)
        model.pseudo_labeller = MaskPseudoLabels(teacher.panoptic_head.mask_activation)
    return model


def losses_of(model, dtype):
    """Return the losses of one batch, always at the same random points."""
    generator = torch.Generator().manual_seed(4)
    images = torch.randn(2, 3, 64, 64, generator=generator)
    samples = tiny.samples([tiny.SKY, tiny.CAT], [tiny.CAT])
    torch.manual_seed(1)
    with torch.autocast('cpu', dtype=dtype or torch.bfloat16, enabled=dtype is not None):
        return model.loss(images, samples)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('step', [0, 1])
@pytest.mark.parametrize('kind', SETTINGS)
def test_a_step_is_near_that_of_single_precision(monkeypatch, kind, step, dtype):
    model = build(kind, step)
    monkeypatch.setattr(query_head, 'match', Replay(query_head.match))
    if step:
        model.pseudo_labeller = Replay(model.pseudo_labeller)
    # a batch norm that counts would differ at the second pass
    state = {name: value.clone() for name, value in model.state_dict().items()}
    expected = losses_of(model, None)
    model.load_state_dict(state)
    found = losses_of(model, dtype)
    assert set(found) == set(expected)
    for name, loss in found.items():
        assert loss.dtype == torch.float32
        near = pytest.approx(expected[name].item(), rel=0.02, abs=1e-3)
        assert loss.item() == near, name
    sum(found.values()).backward()
    without = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not parameter.grad.isfinite().all()
    ]
    assert without == []


# what a method adds is in one of these; CoMFormer's own is tried above
METHODS = [
    *(('eclipse', 0), ('per_pixel', 0), ('simcis', 0)),
    *(('balconpas_replay', 1), ('eclipse', 1), ('mib', 1), ('per_pixel_mib', 1)),
    *(('per_pixel_plop', 1), ('plop', 1), ('simcis', 1)),
]


@pytest.mark.parametrize(('method', 'step'), METHODS)
def test_every_method_is_near_single_precision(method, step, monkeypatch):
    student, semantic = every_method.build(method, step, monkeypatch)
    samples = every_method.batches(semantic)[0]
    for sample in samples:
        sample.set_metainfo({'hidden_label': 254})
    models = copies_that_agree(student, 3, monkeypatch)
    expected = every_method.losses(models[0], samples)
    values = {name: loss.item() for name, loss in expected.items()}
    for model, dtype in zip(models[1:], (torch.float16, torch.bfloat16), strict=True):
        found = every_method.losses(model, samples, dtype=dtype)
        assert {name: loss.dtype for name, loss in found.items()} == dict.fromkeys(
            expected, torch.float32
        )
        every_method.check_near(found, values, dtype)


def test_the_pixel_decoder_computes_in_single_precision():
    model = build('softmax', 0)
    dtypes = {}

    def record(name):
        def hook(_module, _args, output):
            if isinstance(output, torch.Tensor):
                dtypes[name] = output.dtype

        return hook

    for name, module in model.named_modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            module.register_forward_hook(record(name))
    losses_of(model, torch.bfloat16)
    decoder = {name: kind for name, kind in dtypes.items() if '.pixel_decoder.' in name}
    assert len(decoder) > 10
    assert set(decoder.values()) == {torch.float32}
    # and autocast is on elsewhere
    assert dtypes['backbone.layer1.0.conv1'] == torch.bfloat16
    assert torch.bfloat16 in {
        kind for name, kind in dtypes.items() if '.transformer_decoder.' in name
    }
