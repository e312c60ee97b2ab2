"""The detector: Mask2Former with a slot for the teacher."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mmdet.models.detectors import Mask2Former
from mmdet.structures import SampleList
from torch import Tensor

from ..registry import MODELS
from .targets import ImageTargets
from .teacher import FrozenTeacher, TeacherOutput

PseudoLabeller = Callable[[list[ImageTargets], TeacherOutput, tuple[int, int]], list[ImageTargets]]


@MODELS.register_module()
class ContinualMaskFormer(Mask2Former):
    """Mask2Former whose loss may listen to a teacher.

    A hook puts the teacher and the maker of pseudo-labels into their slots; at step 0, in
    validation and at test both are None. ``scenario`` and ``mask_activation`` of the head are
    passed on to the fusion head.

    Args:
        backbone: See mmdet's ``Mask2Former``.
        panoptic_head: See there.
        panoptic_fusion_head: See there.
        loss_feature: Loss between the backbone features of student and teacher, which takes both
            as sequences of maps; None for a method without one.
        **kwargs: Other arguments of mmdet's ``Mask2Former``.
    """

    def __init__(
        self,
        backbone: dict[str, Any],
        panoptic_head: dict[str, Any],
        panoptic_fusion_head: dict[str, Any],
        loss_feature: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        fusion = panoptic_fusion_head.copy()
        for key in ('scenario', 'mask_activation'):
            if key in panoptic_head:
                fusion.setdefault(key, panoptic_head[key])
        super().__init__(
            backbone=backbone, panoptic_head=panoptic_head, panoptic_fusion_head=fusion, **kwargs
        )
        self.loss_feature = None if loss_feature is None else MODELS.build(loss_feature)
        self.teacher: FrozenTeacher | None = None
        self.pseudo_labeller: PseudoLabeller | None = None

    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> dict[str, Tensor]:
        """Return the losses of a preprocessed batch.

        Args:
            batch_inputs: Shape (B, 3, H, W).
            batch_data_samples: Samples with ``gt_instances`` (labels and masks).
        """
        teacher_output = None
        if self.teacher is not None:
            teacher_output = self.teacher(batch_inputs, batch_data_samples)
        targets = self.panoptic_head.build_targets(batch_data_samples)
        if self.pseudo_labeller is not None and teacher_output is not None:
            height, width = batch_inputs.shape[-2:]
            targets = self.pseudo_labeller(targets, teacher_output, (height, width))
        feats = self.extract_feat(batch_inputs)
        cls_scores, mask_preds = self.panoptic_head(feats, batch_data_samples)
        losses = self.panoptic_head.loss_by_feat(cls_scores, mask_preds, targets, teacher_output)
        if self.loss_feature is not None and teacher_output is not None:
            losses['loss_feature'] = self.loss_feature(feats, teacher_output.feats)
        return losses
