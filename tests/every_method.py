"""Students of every method, as the configs of Shapes build them, and batches for them."""

import copy
from pathlib import Path

import pytest
import tiny
import torch
from mmengine.registry import HOOKS, DefaultScope

from mmcomformer.engine.hooks import PseudoLabelHook, TeacherHook
from mmcomformer.engine.request import Request, load_config
from mmcomformer.engine.scenario_config import model_at_step
from mmcomformer.methods.simcis import heads as simcis_heads
from mmcomformer.models import FrozenTeacher, MaskPseudoLabels, query_head
from mmcomformer.registry import MODELS

CONFIGS = Path(__file__).parents[1] / 'configs'
METHODS = sorted(path.stem for path in (CONFIGS / '_base_' / 'methods').glob('*.py'))
# all classes at once are one step
AT_ONCE = ('joint', 'joint_semantic', 'mask2former')
STEPS = [
    (method, step) for method in METHODS for step in (0, 1) if not (step and method in AT_ONCE)
]
# labels of Shapes
SEEN, UNSEEN = [0, 1, 2, 8], [11]


def has_hook(cfg, kind):
    with DefaultScope.overwrite_default_scope('mmcomformer'):
        found = [HOOKS.get(hook['type']) for hook in cfg.get('custom_hooks', [])]
    return any(issubclass(one, kind) for one in found)


def build(method, step, monkeypatch):
    """Build the student of a step, with teacher and pseudo-labels as its config asks for."""
    semantic = method.endswith('_semantic') or method.startswith('per_pixel')
    monkeypatch.setenv('METHOD', method.removesuffix('_semantic'))
    name = 'comformer_shapes_semantic_6-3.py' if semantic else 'comformer_shapes_6-3.py'
    cfg = load_config(Request(config=str(CONFIGS / name)), step)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        student = MODELS.build(cfg.model).train()
        if step and has_hook(cfg, TeacherHook):
            teacher = MODELS.build(model_at_step(cfg.model, step - 1))
            student.teacher = FrozenTeacher(teacher)
        if step and has_hook(cfg, PseudoLabelHook):
            student.pseudo_labeller = MaskPseudoLabels(student.mask_head.mask_activation)
    return student, semantic


def batches(semantic):
    """Return batches with images that have targets, and that have none."""
    if not semantic:
        return [tiny.samples([0, 8], []), tiny.samples([], [])]
    full = torch.full((64, 64), 255)
    shown = full.clone()
    shown[:32], shown[40:] = 0, 1
    return [tiny.label_samples(shown, full), tiny.label_samples(full, full)]


class Replay:
    """Calls a function the first time, and returns the same result ever after.

    An untrained model decides between near equals, which rounding may turn round.
    """

    def __init__(self, function):
        self.function, self.result = function, None

    def __call__(self, *args, **kwargs):
        if self.result is None:
            self.result = self.function(*args, **kwargs)
        # what it would have drawn does not count
        torch.manual_seed(2)
        return self.result


def copies_that_agree(student, number, monkeypatch):
    """Return copies that match, label and select what the first that is asked does."""
    for module in (query_head, simcis_heads):
        monkeypatch.setattr(module, 'match', Replay(module.match))
    copies = [copy.deepcopy(student) for _ in range(number)]
    of_students = [model.mask_head for model in copies]
    for heads in (of_students, [student.teacher.model.mask_head] if student.teacher else []):
        if heads and hasattr(heads[0], '_select'):
            select = Replay(heads[0]._select)
            for head in heads:
                head._select = select
    labeller = student.pseudo_labeller and Replay(student.pseudo_labeller)
    for model in copies:
        model.pseudo_labeller = labeller
    return copies


def losses(model, samples, device='cpu', dtype=None):
    """Return the losses of a batch of noise, always at the same random points; under autocast."""
    images = torch.randn(len(samples), 3, 64, 64, generator=torch.Generator().manual_seed(4))
    torch.manual_seed(1)
    with torch.autocast(device, dtype=dtype or torch.bfloat16, enabled=dtype is not None):
        found = model.loss(images.to(device), [sample.to(device) for sample in samples])
    return {name: loss for name, loss in found.items() if 'loss' in name}


# seen beyond the bounds where sums are rounded otherwise: tokens 2.8 %, distilled pixels 4.0 %
WIDER = {(torch.float16, 'token'): 0.03, (torch.bfloat16, 'decode.loss_distill'): 0.05}


def check_near(losses, values, dtype, *, least=1e-3):
    """Check that losses under autocast are near those in single precision."""
    assert set(losses) == set(values)
    relative = {torch.float16: 0.02, torch.bfloat16: 0.03}[dtype]
    # bfloat16 has seven bits: pixel scores, sums over all queries, move losses of 0.1 by 0.014
    absolute = {torch.float16: least, torch.bfloat16: 0.1}[dtype]
    far = {}
    for name, loss in losses.items():
        seen = [bound for (kind, part), bound in WIDER.items() if kind == dtype and part in name]
        near = pytest.approx(values[name], rel=max([relative, *seen]), abs=absolute)
        if loss.item() != near:
            far[name] = loss.item(), values[name]
    assert far == {}
