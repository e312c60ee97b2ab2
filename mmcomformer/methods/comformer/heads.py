"""CoMFormer's heads."""

from __future__ import annotations

from ...models.query_head import IncrementalQueryHead
from ...models.semantic_query_head import SemanticQueryHead
from ...registry import MODELS


@MODELS.register_module()
class ComFormerHead(IncrementalQueryHead):
    """Mask2Former's head as CoMFormer changes it (section 3)."""


@MODELS.register_module()
class ComFormerSemanticHead(SemanticQueryHead):
    """CoMFormer's head as decode head of mmseg's ``EncoderDecoder``."""
