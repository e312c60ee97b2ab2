"""The detector: Mask2Former with a slot for the teacher."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

from mmdet.models.data_preprocessors import BatchFixedSizePad
from mmdet.models.detectors import Mask2Former
from mmdet.structures import SampleList
from torch import Tensor

from ..registry import MODELS
from .continual_model import ContinualModel
from .extra_losses import former_losses


@MODELS.register_module()
class ContinualMaskFormer(ContinualModel, Mask2Former):
    """Mask2Former whose loss may listen to a teacher.

    ``scenario`` and the activations of the head are passed on to the fusion head. The head pads
    the ground truth to the size of the batch, so that ``pad_mask`` of mmdet's data preprocessor and
    of its ``BatchFixedSizePad`` may be left out; the latter's is turned off where it is on, because
    it expects masks in every sample.

    Args:
        backbone: See mmdet's ``Mask2Former``.
        panoptic_head: See there.
        panoptic_fusion_head: See there.
        extra_losses: See :func:`.build_extra_losses`.
        freeze: See :func:`.frozen_parameters`.
        loss_feature: Former place of ``extra_losses.feature``.
        **kwargs: Other arguments of mmdet's ``Mask2Former``.
    """

    head_name: ClassVar[str] = 'panoptic_head'

    def __init__(
        self,
        backbone: dict[str, Any],
        panoptic_head: dict[str, Any],
        panoptic_fusion_head: dict[str, Any],
        extra_losses: dict[str, Any] | None = None,
        freeze: dict[str, Any] | None = None,
        loss_feature: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        config = copy.deepcopy(
            dict(
                backbone=backbone,
                panoptic_head=panoptic_head,
                panoptic_fusion_head=panoptic_fusion_head,
                extra_losses=extra_losses,
                freeze=freeze,
                loss_feature=loss_feature,
                **kwargs,
            )
        )
        head, losses = former_losses(panoptic_head, extra_losses, loss_feature)
        fusion = panoptic_fusion_head.copy()
        for key in ('scenario', 'mask_activation', 'class_activation'):
            if key in head:
                fusion.setdefault(key, head[key])
        super().__init__(
            backbone=backbone, panoptic_head=head, panoptic_fusion_head=fusion, **kwargs
        )
        if 'class_activation' not in fusion:
            # a head may have another default than the fusion head
            fusion_head: Any = self.panoptic_fusion_head
            fusion_head.class_activation = self.mask_head.class_activation
        for augment in getattr(self.data_preprocessor, 'batch_augments', None) or ():
            if isinstance(augment, BatchFixedSizePad):
                augment.pad_mask = False
        self.prepare_steps(losses, freeze, config)

    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> dict[str, Tensor]:
        """Return the losses of a preprocessed batch.

        Args:
            batch_inputs: Shape (B, 3, H, W).
            batch_data_samples: Samples with the ground truth that the head's ``build_targets``
                reads.
        """
        losses, _ = self.continual_losses(batch_inputs, batch_data_samples)
        return losses
