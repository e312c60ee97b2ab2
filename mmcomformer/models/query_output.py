"""What a model of queries says of a batch."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from torch import Tensor

OPTIONAL = frozenset({'levels', 'tokens', 'mask_features', 'feats'})
"""What an extra loss can ask for; see :attr:`.ContinualLoss.reads`."""

Output = TypeVar('Output', bound='QueryOutput')


@dataclass(frozen=True)
class QueryOutput:
    """What student or teacher says of a batch of B images, with Q queries of width C.

    Level 0 is what is predicted before the first decoder layer, level l after layer l. A method
    that says more derives a class from this one, which its head then returns.

    Attributes:
        cls_scores: Class logits of each level in learning order, (B, Q, K) or, where the class
            activation has a no-object, (B, Q, K + 1), no-object last.
        mask_preds: Mask logits of each level, (B, Q, h, w).
        tokens: Queries of every level as they leave a decoder layer, before the norm that precedes
            the predictions, (B, Q, C).
        mask_features: The map with which the queries' embeddings are multiplied, (B, C, h, w).
        feats: Multi-scale features of the backbone, each (B, C_i, h_i, w_i).
    """

    cls_scores: tuple[Tensor, ...]
    mask_preds: tuple[Tensor, ...]
    tokens: tuple[Tensor, ...] | None = None
    mask_features: Tensor | None = None
    feats: tuple[Tensor, ...] | None = None

    @property
    def cls_score(self) -> Tensor:
        """Class logits of the last level."""
        return self.cls_scores[-1]

    @property
    def mask_pred(self) -> Tensor:
        """Mask logits of the last level."""
        return self.mask_preds[-1]

    def only(self: Output, wanted: Collection[str]) -> Output:
        """Return the output without the optional parts that nobody wants, which frees them.

        Args:
            wanted: Some of :data:`OPTIONAL`; without ``levels`` the last level alone is kept.
        """
        parts = ('tokens', 'mask_features', 'feats')
        kept: dict[str, Any] = {
            name: getattr(self, name) if name in wanted else None for name in parts
        }
        if 'levels' not in wanted:
            kept |= {'cls_scores': self.cls_scores[-1:], 'mask_preds': self.mask_preds[-1:]}
        return replace(self, **kept)
