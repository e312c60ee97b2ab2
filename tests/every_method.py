"""Students of every method, as the configs of Shapes build them, and batches for them."""

from pathlib import Path

import tiny
import torch
from mmengine.registry import HOOKS, DefaultScope

from mmcomformer.engine.hooks import PseudoLabelHook, TeacherHook
from mmcomformer.engine.request import Request, load_config
from mmcomformer.engine.scenario_config import model_at_step
from mmcomformer.models import FrozenTeacher, MaskPseudoLabels
from mmcomformer.registry import MODELS

CONFIGS = Path(__file__).parents[1] / 'configs'
METHODS = sorted(path.stem for path in (CONFIGS / '_base_' / 'methods').glob('*.py'))
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
