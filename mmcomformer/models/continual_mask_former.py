"""The detector: Mask2Former with a slot for the teacher."""

from __future__ import annotations

from typing import Any, ClassVar

from mmdet.models.detectors import Mask2Former
from mmdet.structures import SampleList
from torch import Tensor

from ..registry import MODELS
from .continual_model import ContinualModel


@MODELS.register_module()
class ContinualMaskFormer(ContinualModel, Mask2Former):
    """Mask2Former whose loss may listen to a teacher.

    ``scenario`` and ``mask_activation`` of the head are passed on to the fusion head.

    Args:
        backbone: See mmdet's ``Mask2Former``.
        panoptic_head: See there.
        panoptic_fusion_head: See there.
        loss_feature: See :meth:`.ContinualModel.open_slots`.
        **kwargs: Other arguments of mmdet's ``Mask2Former``.
    """

    head_name: ClassVar[str] = 'panoptic_head'

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
        self.open_slots(loss_feature)

    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> dict[str, Tensor]:
        """Return the losses of a preprocessed batch.

        Args:
            batch_inputs: Shape (B, 3, H, W).
            batch_data_samples: Samples with ``gt_instances`` (labels and masks).
        """
        losses, _ = self.continual_losses(batch_inputs, batch_data_samples)
        return losses
