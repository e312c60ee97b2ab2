"""The head for semantic segmentation: the same queries and losses, with mmseg's ins and outs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from mmseg.structures import SegDataSample
from torch import Tensor
from torch.nn import functional

from ..datasets.label_maps import IGNORE_LABEL
from ..registry import MODELS
from .inference_settings import InferenceSetting, check_threshold
from .query_head import IncrementalQueryHead
from .semantic_fusion import MaskBasedFusion
from .targets import ImageTargets, to_device


@MODELS.register_module()
class SemanticQueryHead(IncrementalQueryHead):
    """The head of queries as decode head of mmseg's ``EncoderDecoder``.

    The ground truth is a label map; each class in it is one segment, and 255 is not labelled.
    The scores that it predicts have a channel for every class of the dataset, and one for nothing:
    the background class if the scenario has one, else an additional channel at the end.

    Args:
        semantic_fusion: How queries become scores: ``dict(type='MaskBasedFusion')`` (CoMFormer) or
            ``dict(type='ScoreSumFusion')`` (Mask2Former).
        **kwargs: See :class:`IncrementalQueryHead`.

    Raises:
        ValueError: If the dataset has more than 255 classes, which a label map cannot hold.
    """

    config_key: ClassVar[str] = 'model.decode_head'
    align_corners = False
    """How mmseg resizes its scores."""

    def __init__(
        self,
        *args: Any,
        semantic_fusion: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        scenario = self.scenario
        if scenario.num_classes > IGNORE_LABEL:
            raise ValueError(
                f'scenario: expected at most {IGNORE_LABEL} classes, which a label map can hold, '
                f'got {scenario.num_classes}'
            )
        self.semantic_fusion = MODELS.build(semantic_fusion or dict(type='MaskBasedFusion'))
        self.out_channels = scenario.num_classes + (scenario.background is None)

    def inference_settings(self) -> dict[str, InferenceSetting]:
        """Return the settings of the head, and the thresholds of its fusion if that has any."""
        names = ('object_mask_thr', 'iou_thr')
        mask_based = isinstance(self.semantic_fusion, MaskBasedFusion)
        thresholds = {name: self._threshold(name) for name in names} if mask_based else {}
        return {**super().inference_settings(), **thresholds}

    def _threshold(self, name: str) -> InferenceSetting:
        key = f'{self.config_key}.semantic_fusion.{name}'

        def assign(value: Any) -> None:
            setattr(self.semantic_fusion, name, check_threshold(key, value))

        return InferenceSetting(key, assign)

    def build_targets(self, batch_data_samples: Sequence[SegDataSample]) -> list[ImageTargets]:
        """Return the ground truth of a batch, with classes in learning order.

        Args:
            batch_data_samples: Samples with ``gt_sem_seg.data``, a label map (1, H, W) padded
                with 255. The metadata ``gt_labels``, the labels that occur in it, save reading
                them from the device; ``from_memory`` is as in :class:`.IncrementalQueryHead`.
        """
        return [self._image_targets(sample) for sample in batch_data_samples]

    def _image_targets(self, sample: SegDataSample) -> ImageTargets:
        label_map = sample.gt_sem_seg.data.squeeze(0).long()
        present = sample.metainfo.get('gt_labels')
        if present is None:
            present = label_map.unique().tolist()
        present = [label for label in present if label != IGNORE_LABEL]
        position = torch.full((IGNORE_LABEL + 1,), -1)
        position[present] = torch.arange(len(present))
        labels = to_device(torch.tensor(present, dtype=torch.long), label_map.device)
        owner = to_device(position, label_map.device)[label_map]
        from_memory = sample.metainfo.get('from_memory', False)
        return ImageTargets.from_map(self.label_to_learning[labels], owner, from_memory)

    def predict(  # type: ignore[override]  # mmseg's decode heads are called otherwise
        self,
        x: Sequence[Tensor],
        batch_img_metas: Sequence[dict[str, Any]],
        test_cfg: dict[str, Any] | None = None,
    ) -> Tensor:
        """Return scores at the size of the input.

        Args:
            x: Multi-scale features, each (B, C_i, h_i, w_i).
            batch_img_metas: Metadata; ``pad_shape`` is the size (H, W) of the input.
            test_cfg: Not read: what the fusion needs is in its own config.

        Returns:
            Shape (B, C, H, W), float, at least 0; C as ``out_channels``.
        """
        cls_scores, mask_preds = self(x, batch_img_metas)
        size = tuple(batch_img_metas[0]['pad_shape'][:2])
        by_label = self.to_dataset_labels(cls_scores[-1].float())
        # one image at a time: the maps of a batch at input size may not fit
        scores = [
            self._scores(of_image, functional.interpolate(logits[None], size, mode='bilinear')[0])
            for of_image, logits in zip(by_label, mask_preds[-1].float(), strict=True)
        ]
        return torch.stack(scores)

    def _scores(self, cls_score: Tensor, logits: Tensor) -> Tensor:
        masks = self.mask_activation.probability(logits)
        scores = self.semantic_fusion(cls_score, masks, self.class_activation)
        background = self.scenario.background_label
        if background is not None:
            scores[background] = scores[-1]
            return scores[:-1]
        if self.semantic_fusion.fills:
            scores[-1] = 0
        return scores

    def mark_nothing(self, labels: Tensor) -> Tensor:
        """Replace the channel of nothing by 255 in a map of channels, int64, any shape."""
        return labels.masked_fill(labels == self.num_classes, IGNORE_LABEL)
