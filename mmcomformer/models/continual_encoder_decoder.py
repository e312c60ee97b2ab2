"""The segmentor: mmseg's encoder and decoder with a slot for the teacher."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from mmengine.structures import PixelData
from mmseg.models.segmentors import EncoderDecoder, SegTTAModel
from mmseg.structures import SegDataSample
from mmseg.utils import add_prefix
from torch import Tensor

from ..registry import MODELS
from .continual_model import ContinualModel
from .extra_losses import former_losses

_TEST_KEYS = {'mode', 'crop_size', 'stride'}


@MODELS.register_module()
class ContinualEncoderDecoder(ContinualModel, EncoderDecoder):
    """mmseg's ``EncoderDecoder`` whose loss may listen to a teacher.

    Whole and slide inference are mmseg's (``test_cfg``). A pixel that no segment covers gets the
    label of the scenario's background, or 255 where the dataset has no background class.

    Args:
        backbone: See mmseg's ``EncoderDecoder``.
        decode_head: A head of queries such as ``ComFormerSemanticHead``; it also gets
            ``train_cfg``.
        extra_losses: See :func:`.build_extra_losses`.
        freeze: See :func:`.frozen_parameters`.
        loss_feature: Former place of ``extra_losses.feature``.
        train_cfg: Settings of the head's training.
        test_cfg: ``mode``, and ``crop_size`` and ``stride`` of slide inference.
        **kwargs: Other arguments of mmseg's ``EncoderDecoder``.

    Raises:
        TypeError: If ``test_cfg`` has an unknown key.
    """

    head_name: ClassVar[str] = 'decode_head'
    decode_head: Any
    _auxiliary_head_forward_train: Callable[..., dict[str, Tensor]]

    def __init__(
        self,
        backbone: dict[str, Any],
        decode_head: dict[str, Any],
        extra_losses: dict[str, Any] | None = None,
        freeze: dict[str, Any] | None = None,
        loss_feature: dict[str, Any] | None = None,
        train_cfg: dict[str, Any] | None = None,
        test_cfg: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        unread = sorted(set(test_cfg or {}) - _TEST_KEYS)
        if unread:
            raise TypeError(
                f'model.test_cfg: unknown keys {unread}; expected {sorted(_TEST_KEYS)}. The '
                f'thresholds of mask-based inference belong to model.decode_head.semantic_fusion'
            )
        config = copy.deepcopy(
            dict(
                backbone=backbone,
                decode_head=decode_head,
                extra_losses=extra_losses,
                freeze=freeze,
                loss_feature=loss_feature,
                train_cfg=train_cfg,
                test_cfg=test_cfg,
                **kwargs,
            )
        )
        head, losses = former_losses(decode_head, extra_losses, loss_feature)
        head.setdefault('train_cfg', train_cfg)
        super().__init__(
            backbone=backbone, decode_head=head, train_cfg=train_cfg, test_cfg=test_cfg, **kwargs
        )
        self.prepare_steps(losses, freeze, config)

    def loss(self, inputs: Tensor, data_samples: Sequence[SegDataSample]) -> dict[str, Tensor]:
        """Return the losses of a preprocessed batch, those of the head with prefix ``decode.``.

        Args:
            inputs: Shape (B, 3, H, W).
            data_samples: Samples with ``gt_sem_seg``.
        """
        losses, student = self.continual_losses(inputs, data_samples)
        losses = add_prefix(losses, 'decode')
        if self.with_auxiliary_head:
            losses.update(self._auxiliary_head_forward_train(student.feats, data_samples))
        return losses

    def _forward(
        self, inputs: Tensor, data_samples: Sequence[SegDataSample] | None = None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return class and mask logits of each level (``mode='tensor'``)."""
        # mmseg's heads take the features alone
        output = self.query_output(inputs, data_samples or [])
        return list(output.cls_scores), list(output.mask_preds)

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict[str, Any]]) -> Tensor:
        """Return scores of a batch of images, or of windows of them.

        Args:
            inputs: Shape (B, 3, H, W).
            batch_img_metas: Metadata of the images.

        Returns:
            Shape (B, C, H, W), in [0, 1], C as the head's ``out_channels``.
        """
        # the metadata say the size of the image, also where a window of it is asked for
        height, width = inputs.shape[-2:]
        metas = [{**meta, 'pad_shape': (height, width)} for meta in batch_img_metas]
        return super().encode_decode(inputs, metas)

    def postprocess_result(
        self, seg_logits: Tensor, data_samples: Sequence[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """Resize scores to the images' own sizes and take the best label of each pixel.

        Args:
            seg_logits: Scores, shape (B, C, H, W).
            data_samples: Samples of the batch; None for images without metadata.

        Returns:
            The samples with ``seg_logits`` (C, h, w) and ``pred_sem_seg`` (1, h, w), int64.
        """
        samples = super().postprocess_result(seg_logits, data_samples)
        for sample in samples:
            sample.pred_sem_seg.data = self.decode_head.mark_nothing(sample.pred_sem_seg.data)
        return samples


@MODELS.register_module()
class ContinualSegTTAModel(SegTTAModel):
    """mmseg's test-time augmentation for a :class:`ContinualEncoderDecoder`."""

    def merge_preds(
        self, data_samples_list: Sequence[Sequence[SegDataSample]]
    ) -> list[SegDataSample]:
        """Average the scores of each image's variants and take the best label of each pixel.

        Args:
            data_samples_list: Per image the predictions of its variants.

        Returns:
            Per image a sample with ``seg_logits`` (C, h, w) and ``pred_sem_seg`` (1, h, w), int64.
        """
        samples = []
        for variants in data_samples_list:
            # mmseg takes a softmax before, which distorts what is a score in [0, 1] already
            scores = torch.zeros_like(variants[0].seg_logits.data)
            for variant in variants:
                scores += variant.seg_logits.data / len(variants)
            labels = self.module.decode_head.mark_nothing(scores.argmax(0, keepdim=True))
            sample = variants[0]
            sample.seg_logits = PixelData(data=scores)
            sample.pred_sem_seg = PixelData(data=labels)
            samples.append(sample)
        return samples
