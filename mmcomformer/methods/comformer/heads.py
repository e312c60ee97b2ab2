"""CoMFormer's heads."""

from __future__ import annotations

from typing import Any

from ...models.query_head import IncrementalQueryHead
from ...models.semantic_query_head import SemanticQueryHead
from ...registry import MODELS

_DEFAULTS = dict(
    mask_activation=dict(type='QuerySoftmax'),
    loss_cls=dict(type='FocalClassLoss'),
    loss_mask=dict(type='SoftmaxMaskLoss'),
    loss_dice=dict(type='SoftmaxDiceLoss'),
)


@MODELS.register_module()
class ComFormerHead(IncrementalQueryHead):
    """Mask2Former's head as CoMFormer changes it (section 3): masks compete, classes are focal.

    Args:
        *args: See :class:`.IncrementalQueryHead`.
        **kwargs: See there. By default the masks are a ``QuerySoftmax``, and the losses
            ``FocalClassLoss``, ``SoftmaxMaskLoss`` and ``SoftmaxDiceLoss``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**_DEFAULTS, **kwargs})


@MODELS.register_module()
class ComFormerSemanticHead(SemanticQueryHead, ComFormerHead):
    """CoMFormer's head as decode head of mmseg's ``EncoderDecoder``."""
