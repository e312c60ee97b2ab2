"""Give the student a teacher and its pseudo-labels."""

from __future__ import annotations

from mmengine.runner import Runner

from ...models.pseudo_labels import MaskPseudoLabels
from ...registry import HOOKS
from .previous_step_hook import unwrap_model
from .teacher_hook import TeacherHook


@HOOKS.register_module()
class PseudoLabelHook(TeacherHook):
    """Load and freeze the teacher, and let it label what the step leaves unlabelled.

    Args:
        score_thr: A query of the teacher counts when its class probability is larger than this,
            in [0, 1].
        overlap_thr: A query gives a pseudo-label when it owns more than this share of its mask,
            in [0, 1].
        teacher_ckpt: See :class:`PreviousStepHook`.

    Raises:
        ValueError: If a threshold is outside [0, 1].
    """

    def __init__(
        self,
        score_thr: float = 0.0,
        overlap_thr: float = 0.5,
        teacher_ckpt: str | None = None,
    ) -> None:
        super().__init__(teacher_ckpt)
        for name, value in (('score_thr', score_thr), ('overlap_thr', overlap_thr)):
            if not 0 <= value <= 1:
                raise ValueError(f'PseudoLabelHook.{name}: expected 0 to 1, got {value}')
        self.score_thr = score_thr
        self.overlap_thr = overlap_thr

    def before_train(self, runner: Runner) -> None:
        """Set the teacher and the maker of pseudo-labels."""
        super().before_train(runner)
        student = unwrap_model(runner.model)
        if student.teacher is not None:
            student.pseudo_labeller = MaskPseudoLabels(
                student.teacher.model.mask_head.mask_activation,
                score_thr=self.score_thr,
                overlap_thr=self.overlap_thr,
            )

    def after_train(self, runner: Runner) -> None:
        """Empty both slots."""
        super().after_train(runner)
        unwrap_model(runner.model).pseudo_labeller = None
