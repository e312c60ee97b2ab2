"""What a detector and a segmentor that learn in steps have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from ..registry import MODELS
from .targets import ImageTargets
from .teacher import FrozenTeacher, TeacherOutput

PseudoLabeller = Callable[[list[ImageTargets], TeacherOutput, tuple[int, int]], list[ImageTargets]]


class ContinualModel:
    """A model with a head of queries whose loss may listen to a teacher.

    A hook puts the teacher and the maker of pseudo-labels into their slots; at step 0, in
    validation and at test both are None. A subclass also derives from a detector or segmentor,
    a module with ``extract_feat``, and calls :meth:`open_slots` at the end of its ``__init__``.
    """

    head_name: ClassVar[str]
    """Attribute, and config key, of the head."""

    extract_feat: Callable[[Tensor], Sequence[Tensor]]
    loss_feature: nn.Module | None
    teacher: FrozenTeacher | None
    pseudo_labeller: PseudoLabeller | None

    def open_slots(self, loss_feature: Mapping[str, Any] | None) -> None:
        """Make the slots, empty, and the feature loss.

        Args:
            loss_feature: Config of a loss between the backbone features of student and teacher,
                which takes both as sequences of maps; None for a method without one.
        """
        self.loss_feature = None if loss_feature is None else MODELS.build(loss_feature)
        self.teacher = None
        self.pseudo_labeller = None

    @property
    def mask_head(self) -> Any:
        """The head that predicts classes and masks."""
        return getattr(self, self.head_name)

    def continual_losses(
        self, batch_inputs: Tensor, batch_data_samples: Sequence[Any]
    ) -> tuple[dict[str, Tensor], Sequence[Tensor]]:
        """Return the losses of a preprocessed batch.

        Args:
            batch_inputs: Shape (B, 3, H, W).
            batch_data_samples: Samples with the ground truth that the head's ``build_targets``
                reads.

        Returns:
            The losses, and the student's features, each (B, C_i, h_i, w_i).
        """
        # first, because what it copies to the device would wait for the teacher
        targets = self.mask_head.build_targets(batch_data_samples)
        teacher_output = None
        if self.teacher is not None:
            teacher_output = self.teacher(batch_inputs, batch_data_samples)
        if self.pseudo_labeller is not None and teacher_output is not None:
            height, width = batch_inputs.shape[-2:]
            targets = self.pseudo_labeller(targets, teacher_output, (height, width))
        if batch_inputs.device.type == 'cpu':
            targets = [target.expanded() for target in targets]
        feats = self.extract_feat(batch_inputs)
        cls_scores, mask_preds = self.mask_head(feats, batch_data_samples)
        losses = self.mask_head.loss_by_feat(cls_scores, mask_preds, targets, teacher_output)
        if self.loss_feature is not None and teacher_output is not None:
            losses['loss_feature'] = self.loss_feature(feats, teacher_output.feats)
        return losses, feats
