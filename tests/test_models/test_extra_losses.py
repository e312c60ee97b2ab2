"""What losses of methods need of the hooks of a run."""

import pytest
from torch import nn

from mmcomformer.engine.hooks import PreviousStepHook, PseudoLabelHook, TeacherHook
from mmcomformer.models.extra_losses import check_needs


class Alone(nn.Module):
    needs_teacher = False


class Past(nn.Module):
    needs_pseudo_labels = True


@pytest.mark.parametrize(
    ('loss', 'hook', 'fault'),
    [
        (Alone(), PreviousStepHook, None),
        # a loss that says nothing needs a teacher, and no pseudo-labels
        (nn.Identity(), PreviousStepHook, 'a teacher'),
        (nn.Identity(), TeacherHook, None),
        (Past(), PreviousStepHook, 'a teacher'),
        (Past(), TeacherHook, 'pseudo-labels'),
        (Past(), PseudoLabelHook, None),
    ],
)
def test_needs(loss, hook, fault):
    losses = nn.ModuleDict({'first': Alone(), 'mine': loss})
    if fault is None:
        check_needs(losses, hook.gives, hook.__name__)
        return
    message = (
        rf'model.extra_losses.mine: {type(loss).__name__} needs {fault}, and custom_hooks have '
        rf'{hook.__name__}, which gives none; use .*PseudoLabelHook instead, or set'
    )
    with pytest.raises(ValueError, match=message):
        check_needs(losses, hook.gives, hook.__name__)
