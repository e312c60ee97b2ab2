"""From the predictions of queries to scores of classes at each pixel."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ...models.class_activation import SOFTMAX, ClassActivation
from ...models.mask_activation import MaskActivation, QuerySigmoid
from ...models.query_output import QueryOutput
from ...registry import MODELS


def pixel_scores(cls_score: Tensor, masks: Tensor) -> Tensor:
    """Return the sum over queries of class logit x mask, which are the class logits of a pixel.

    Also under autocast in the precision of what it is given: a sum over all queries.

    Args:
        cls_score: Class logits of the queries, (B, Q, K + 1): classes, and background last.
        masks: Mask probabilities, (B, Q, h, w).

    Returns:
        Shape (B, h, w, K + 1).
    """
    with torch.autocast(masks.device.type, enabled=False):
        return torch.einsum('bqk,bqhw->bhwk', cls_score, masks)


@dataclass(frozen=True)
class PixelOutput(QueryOutput):
    """What a :class:`.PerPixelHead` says of a batch.

    Attributes:
        mask_activation: That of the head.
    """

    mask_activation: MaskActivation = field(default_factory=QuerySigmoid)

    def scores(self, level: int = -1) -> Tensor:
        """Return the class logits of each pixel at a level, (B, h, w, K + 1), float32."""
        masks = self.mask_activation.probability(self.mask_preds[level].float())
        return pixel_scores(self.cls_scores[level].float(), masks)


@MODELS.register_module()
class PixelScoreFusion:
    """Semantic inference of the per-pixel baseline: class probabilities of each pixel.

    What the queries call no-object is the background here, a class among the others.
    """

    fills = False

    def __call__(
        self, cls_score: Tensor, masks: Tensor, class_activation: ClassActivation = SOFTMAX
    ) -> Tensor:
        """Return the probabilities; see :class:`.SemanticFusion`."""
        # a logit of -inf is that of a class not learned, and a mask may be 0
        unknown = cls_score == -torch.inf
        scores = pixel_scores(cls_score.masked_fill(unknown, 0)[None], masks[None])[0]
        scores = scores.masked_fill(unknown.any(0), -torch.inf)
        # (H, W, K + 1) -> (K + 1, H, W)
        return class_activation.probability(scores).permute(2, 0, 1)
