"""How class logits become scores of classes: over all classes, or each class on its own."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..registry import MODELS


class ClassActivation(Protocol):
    """What everything that reads class logits needs to know of them.

    Logits have the shape (..., K + 1) with no-object last, or (..., K) where there is none; by
    dataset label they always have a last column for it. A logit of -inf is that of a class which
    the model cannot predict.
    """

    has_no_object: bool
    """Whether the classifier has a no-object."""

    def probability(self, cls_score: Tensor) -> Tensor:
        """Return probabilities in [0, 1], float32, of the shape of the logits."""

    def object_probability(self, cls_score: Tensor) -> Tensor:
        """Return how probable an object of each class is, (..., K) in [0, 1], float32.

        Args:
            cls_score: Shape (..., K + 1), no-object last, -inf where there is none.
        """

    def decide(
        self, cls_score: Tensor, score_thr: float, num_classes: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Find each query's class, and which queries count.

        Args:
            cls_score: Shape (..., Q, K) or (..., Q, K + 1).
            score_thr: A query is kept when its probability is larger than this.
            num_classes: K; a column after it is that of no-object.

        Returns:
            Scores (..., Q) in [0, 1], classes (..., Q) int64, and kept (..., Q) bool: not
            no-object, and probability above the threshold.
        """

    def check_loss(self, loss: nn.Module, key: str) -> None:
        """Refuse a loss of class logits that are activated in another way.

        Args:
            loss: Its ``expects_classes``, if it has one, is ``softmax`` or ``sigmoid``.
            key: Its key in the config.

        Raises:
            ValueError: If it does not fit.
        """


class _Activation:
    name: str

    def check_loss(self, loss: nn.Module, key: str) -> None:
        """Refuse a loss that does not fit; see :class:`ClassActivation`."""
        expected = getattr(loss, 'expects_classes', self.name)
        if expected != self.name:
            raise ValueError(
                f'{key}: {type(loss).__name__} expects classes with a {expected}, but '
                f'class_activation is {type(self).__name__}'
            )


@MODELS.register_module()
class ClassSoftmax(_Activation):
    """Softmax over the classes and no-object (Mask2Former, CoMFormer, BalConpas)."""

    name = 'softmax'
    has_no_object = True

    def probability(self, cls_score: Tensor) -> Tensor:
        """Return the softmax, float32, of the shape of the logits."""
        return cls_score.float().softmax(-1)

    def object_probability(self, cls_score: Tensor) -> Tensor:
        """Return the softmax without the column of no-object; see :class:`ClassActivation`."""
        return self.probability(cls_score)[..., :-1]

    def decide(
        self, cls_score: Tensor, score_thr: float, num_classes: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return scores, classes and which queries count; see :class:`ClassActivation`."""
        scores, classes = self.probability(cls_score).max(-1)
        return scores, classes, (classes != num_classes) & (scores > score_thr)


SOFTMAX = ClassSoftmax()
"""What configs that say nothing have."""


@MODELS.register_module()
class ClassSigmoid(_Activation):
    """Sigmoid of each class, with a no-object (ECLIPSE) or without (SimCIS).

    Args:
        no_object: Whether the classifier has a no-object.
        temperature: Where given, the score of a query is the largest softmax of its probabilities
            divided by this, while the threshold still holds for the probability (SimCIS' panoptic
            inference with 0.06); None takes the probability.

    Raises:
        ValueError: If the temperature is not positive.
    """

    name = 'sigmoid'

    def __init__(self, no_object: bool = True, temperature: float | None = None) -> None:
        if temperature is not None and temperature <= 0:
            raise ValueError(f'ClassSigmoid.temperature: expected above 0, got {temperature}')
        self.has_no_object = no_object
        self.temperature = temperature

    def probability(self, cls_score: Tensor) -> Tensor:
        """Return the sigmoid, float32, of the shape of the logits."""
        return cls_score.float().sigmoid()

    def object_probability(self, cls_score: Tensor) -> Tensor:
        """Return the sigmoid of a class times one minus that of no-object."""
        prob = self.probability(cls_score)
        return prob[..., :-1] * (1 - prob[..., -1:])

    def decide(
        self, cls_score: Tensor, score_thr: float, num_classes: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return scores, classes and which queries count; see :class:`ClassActivation`."""
        prob = self.probability(cls_score)
        scores, classes = prob.max(-1)
        kept = (classes != num_classes) & (scores > score_thr)
        if self.temperature is not None:
            # a class that cannot be predicted has no share
            shares = (prob / self.temperature).masked_fill(cls_score == -torch.inf, -torch.inf)
            # a query that predicts nothing scores NaN otherwise
            scores = functional.softmax(shares, -1).amax(-1).nan_to_num()
        return scores, classes, kept
