"""What the fusion heads of detectors have in common."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from mmdet.models.seg_heads.panoptic_fusion_heads import MaskFormerFusionHead
from mmdet.structures import SampleList
from mmengine.structures import BaseDataElement
from torch import Tensor

from ..registry import MODELS
from ..scenario import Scenario


class QueryFusionHead(MaskFormerFusionHead):
    """Turn the queries of each image into results of one kind.

    A derived class names the kind and makes the result of an image.

    Args:
        scenario: The scenario, as a config dict.
        mask_activation: ``dict(type='QuerySoftmax')`` or ``dict(type='QuerySigmoid')``; the same
            as the head's.
        class_activation: The same as the head's; ``dict(type='ClassSoftmax')`` by default.
        test_cfg: The model's test settings.

    Raises:
        TypeError: If ``test_cfg`` has a key that nothing reads.
        ValueError: If it asks for results of another kind.
    """

    results: ClassVar[str]
    """Key of its results, as mmdet's detector reads them."""
    kind: ClassVar[str]
    """What it gives, in words."""
    own_keys: ClassVar[tuple[str, ...]]
    """Keys of ``test_cfg`` that it reads."""
    other_keys: ClassVar[tuple[str, ...]]
    """Keys of ``test_cfg`` that ask for other results."""

    def __init__(
        self,
        scenario: dict | Scenario,
        mask_activation: dict[str, Any],
        class_activation: dict[str, Any] | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        scenario = Scenario.from_config(scenario)
        super().__init__(scenario.num_things, scenario.num_stuff, test_cfg or {}, init_cfg=init_cfg)
        self.mask_activation = MODELS.build(mask_activation)
        self.class_activation = MODELS.build(class_activation or dict(type='ClassSoftmax'))
        for key in self.other_keys:
            if self.test_cfg.get(key):
                raise ValueError(
                    f'model.test_cfg.{key}: {type(self).__name__} gives {self.kind} only; set '
                    f'model.panoptic_fusion_head too, as the models of configs/_base_ do'
                )
        unread = sorted(set(self.test_cfg) - {*self.own_keys, *self.other_keys})
        if unread:
            raise TypeError(
                f'model.test_cfg: {type(self).__name__}, which gives {self.kind}, does not read '
                f'{unread}; it reads {sorted(self.own_keys)}'
            )
        self.check_scenario(scenario)

    @abstractmethod
    def check_scenario(self, scenario: Scenario) -> None:
        """Raise a ValueError if there are no such results for a scenario."""

    @abstractmethod
    def of_image(
        self, mask_cls: Tensor, mask_pred: Tensor, size: tuple[int, int] | None = None
    ) -> BaseDataElement:
        """Return the result of an image.

        Args:
            mask_cls: Class logits, (Q, K + 1).
            mask_pred: Mask logits, (Q, h, w).
            size: Height and width (H, W) of the result, pixels; that of the logits if None.
        """

    def predict(
        self,
        mask_cls_results: Tensor,
        mask_pred_results: Tensor,
        batch_data_samples: SampleList,
        rescale: bool = False,
        **kwargs: Any,
    ) -> list[dict[str, Any]]:
        """Return the results of a batch, each under the key :attr:`results`.

        Args:
            mask_cls_results: Class logits, (B, Q, K + 1).
            mask_pred_results: Mask logits at padded input size, (B, Q, H, W).
            batch_data_samples: Samples with ``img_shape`` and ``ori_shape``.
            rescale: Whether the results get the size of ``ori_shape`` instead of ``img_shape``.
            **kwargs: Not read, as in mmdet.
        """
        results = []
        for mask_cls, mask_pred, sample in zip(
            mask_cls_results, mask_pred_results, batch_data_samples, strict=True
        ):
            height, width = sample.img_shape[:2]
            # padding is cut off before resizing
            mask_pred = mask_pred[:, :height, :width]
            size = tuple(sample.ori_shape[:2]) if rescale else (height, width)
            results.append({self.results: self.of_image(mask_cls, mask_pred, size)})
        return results
