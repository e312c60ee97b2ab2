"""Give the student a teacher: the frozen model of the step before."""

from __future__ import annotations

from typing import ClassVar

from mmengine.runner import Runner

from ...models.teacher import FrozenTeacher
from ...registry import HOOKS, MODELS
from ..scenario_config import model_at_step
from .previous_step_hook import PreviousStepHook, unwrap_model


@HOOKS.register_module()
class TeacherHook(PreviousStepHook):
    """Put the frozen model of step t-1 into the student's ``teacher`` slot.

    The teacher is built from the config of the run with the step set back by one. It comes after
    the student has been wrapped, given its optimizer and loaded, so that no checkpoint, optimizer,
    moving average or gradient exchange ever sees it.

    Args:
        teacher_ckpt: See :class:`PreviousStepHook`.
    """

    gives: ClassVar[frozenset[str]] = frozenset({'teacher'})

    def before_train(self, runner: Runner) -> None:
        """Build, load and freeze the teacher; initialise the student unless it was resumed."""
        if self.scenario.step > 0:
            model = MODELS.build(model_at_step(runner.cfg.model, self.scenario.step - 1))
            model.load_state_dict(self._state_dict, strict=True)
            student = unwrap_model(runner.model)
            model.to(next(student.parameters()).device)
            student.teacher = FrozenTeacher(model)
        super().before_train(runner)

    def after_train(self, runner: Runner) -> None:
        """Release the teacher: validation and test need none."""
        unwrap_model(runner.model).teacher = None
