"""Give the student a teacher and its pseudo-labels."""

from __future__ import annotations

from typing import Any, ClassVar

from mmengine.runner import BaseLoop, Runner

from ...models.continual_model import PseudoLabeller
from ...registry import HOOKS, TASK_UTILS
from .previous_step_hook import unwrap_model
from .teacher_hook import TeacherHook


@HOOKS.register_module()
class PseudoLabelHook(TeacherHook):
    """Load and freeze the teacher, and let it label what the step leaves unlabelled.

    Args:
        score_thr: A query of the teacher counts when its class probability is larger than this,
            in [0, 1]; 0 by default.
        overlap_thr: A query gives a pseudo-label when it owns more than this share of its mask,
            in [0, 1]; 0.5 by default.
        teacher_ckpt: See :class:`PreviousStepHook`.
        labeller: Config of what makes the pseudo-labels, ``dict(type='MaskPseudoLabels')`` by
            default, which gets the thresholds. It is called with targets and teacher output, and
            built with the teacher's ``mask_activation`` and ``class_activation``, what
            ``labeller_settings`` of the teacher's head say where it does not say it itself, and
            ``over_truth=True`` in instance segmentation.

    Raises:
        ValueError: If a threshold is outside [0, 1], or is given beside a labeller.
    """

    gives: ClassVar[frozenset[str]] = frozenset({'teacher', 'pseudo-labels'})

    def __init__(
        self,
        score_thr: float | None = None,
        overlap_thr: float | None = None,
        teacher_ckpt: str | None = None,
        labeller: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(teacher_ckpt)
        thresholds = {'score_thr': score_thr, 'overlap_thr': overlap_thr}
        given = {name: value for name, value in thresholds.items() if value is not None}
        for name, value in given.items():
            if not 0 <= value <= 1:
                raise ValueError(f'PseudoLabelHook.{name}: expected 0 to 1, got {value}')
        if given and labeller is not None:
            raise ValueError(f'PseudoLabelHook: {sorted(given)} belong into its labeller')
        self.labeller = labeller or dict(type='MaskPseudoLabels', **given)

    def build_labeller(self, teacher_head: Any) -> PseudoLabeller:
        """Return the maker of pseudo-labels for a teacher with this head.

        Raises:
            ValueError: If the labeller has a wrong value, or lets pseudo-labels lie over ground
                truth that is one map.
        """
        settings = {
            'mask_activation': teacher_head.mask_activation,
            'class_activation': teacher_head.class_activation,
            **teacher_head.labeller_settings,
        }
        if teacher_head.targets_overlap:
            settings['over_truth'] = True
        labeller: PseudoLabeller = TASK_UTILS.build(self.labeller, default_args=settings)
        if getattr(labeller, 'over_truth', False) and not teacher_head.targets_overlap:
            raise ValueError(
                f'{type(self).__name__}.labeller.over_truth: expected False, because the ground '
                f'truth of this model is one map, in which a pixel belongs to one target only, got '
                f'True; leave it out, or train on instance masks (model.test_cfg.instance_on)'
            )
        return labeller

    def before_run(self, runner: Runner) -> None:
        """Also check, at any step, that pseudo-labels can be made in the later ones.

        Raises:
            ValueError: If the labeller has a wrong value, or does not fit the model.
        """
        super().before_run(runner)
        if isinstance(runner._train_loop, BaseLoop) and self.scenario.num_steps > 1:
            # that of the teacher is built from the same config
            self.build_labeller(unwrap_model(runner.model).mask_head)

    def before_train(self, runner: Runner) -> None:
        """Set the teacher and the maker of pseudo-labels."""
        super().before_train(runner)
        student = unwrap_model(runner.model)
        if student.teacher is not None:
            student.pseudo_labeller = self.build_labeller(student.teacher.model.mask_head)

    def after_train(self, runner: Runner) -> None:
        """Empty both slots."""
        super().after_train(runner)
        unwrap_model(runner.model).pseudo_labeller = None
