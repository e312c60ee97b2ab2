"""How mask logits become mask probabilities: over the queries, or each query on its own."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from ..registry import MODELS


class MaskActivation(Protocol):
    """What the head, the pseudo-labels and the fusion need to know of a mask activation.

    The query axis is the third from last everywhere: (..., Q, h, w).
    """

    #: what the mask loss and the dice loss sample: log_probability, probability or logit
    map_kinds: tuple[str, str]

    def probability(self, mask_pred: Tensor) -> Tensor:
        """Return probabilities in [0, 1] of the shape of the logits."""

    def loss_maps(self, mask_pred: Tensor) -> tuple[Tensor, Tensor]:
        """Return the maps that the mask loss and the dice loss sample, each (..., Q, h, w)."""

    def uncertainty(self, samples: Tensor) -> Tensor:
        """Return how uncertain sampled values of the dice map are; larger is less certain."""


@MODELS.register_module()
class QuerySoftmax:
    """Softmax over the queries at each pixel: queries compete (CoMFormer, section 3.2).

    The mask loss samples log-probabilities and the dice loss probabilities; both come from one
    log-softmax over all Q queries at feature resolution, before queries are selected or sampled.
    """

    map_kinds = ('log_probability', 'probability')

    def probability(self, mask_pred: Tensor) -> Tensor:
        """Return the softmax over queries; shape (..., Q, h, w), float32."""
        return mask_pred.float().softmax(dim=-3)

    def loss_maps(self, mask_pred: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-probabilities and probabilities, each (..., Q, h, w), float32."""
        log_prob = mask_pred.log_softmax(dim=-3)
        return log_prob, log_prob.exp()

    def uncertainty(self, samples: Tensor) -> Tensor:
        """Return ``-|2 m - 1|`` of sampled probabilities m."""
        return -(2 * samples - 1).abs()


@MODELS.register_module()
class QuerySigmoid:
    """Sigmoid of each query: Mask2Former's masks, and the paper's ablation.

    Both losses sample logits.
    """

    map_kinds = ('logit', 'logit')

    def probability(self, mask_pred: Tensor) -> Tensor:
        """Return the sigmoid; shape (..., Q, h, w), float32."""
        return mask_pred.float().sigmoid()

    def loss_maps(self, mask_pred: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits twice."""
        return mask_pred, mask_pred

    def uncertainty(self, samples: Tensor) -> Tensor:
        """Return ``-|z|`` of sampled logits z."""
        return -samples.abs()
