"""Classification that is not misled by what stored images leave unlabelled."""

from __future__ import annotations

from typing import ClassVar

import torch
from mmdet.utils import reduce_mean
from torch import Tensor, nn

from ...registry import MODELS


def balanced_cross_entropy(
    cls_score: Tensor, labels: Tensor, from_memory: Tensor, *, no_object_weight: float = 0.1
) -> Tensor:
    r"""Return the cross-entropy in which unmatched queries of stored images do not count.

    A stored image shows the labels of the steps at which it was stored for; a query that sees
    something else there is not wrong. The current images take over the weight that no-object would
    have had (BalConpas, "balanced anti-misguidance losses"). With U_m and U_c the numbers of
    unmatched queries in stored and in current images, M that of matched ones and w the weight of
    no-object, queries weigh

    - 1 where they are matched,
    - 0 where they are not, in a stored image,
    - :math:`w (U_m + U_c) / U_c` where they are not, in a current image,

    and the sum is divided by :math:`w (U_m + U_c) + M`. Without an unmatched query in a stored
    image this is Mask2Former's weighted mean. The numbers are averaged over processes, so that two
    of them train as one does with the images of both; all of them have to call.

    Note:
        The released program divides by 0.1 and 0.9 whatever the weight of no-object is, and counts
        within each process.

    Args:
        cls_score: Class logits, (N, K + 1), no-object last.
        labels: Shape (N,), int64; K says unmatched.
        from_memory: Whether each query is of a stored image, (N,), bool.
        no_object_weight: w, above 0.

    Returns:
        A scalar.
    """
    unmatched = labels == cls_score.shape[-1] - 1
    stored, current = unmatched & from_memory, unmatched & ~from_memory
    counts = torch.stack([~unmatched, stored, current]).sum(-1).to(cls_score.dtype)
    matched, num_stored, num_current = reduce_mean(counts)
    num_unmatched = num_stored + num_current
    # where no current query is unmatched nobody has this weight
    weight = no_object_weight * num_unmatched / torch.where(num_current > 0, num_current, 1)
    weights = torch.where(current, weight, 1).masked_fill(stored, 0)
    loss = -cls_score.log_softmax(-1).gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    return (weights * loss).sum() / (no_object_weight * num_unmatched + matched)


@MODELS.register_module()
class BalancedClassLoss(nn.Module):
    """See :func:`balanced_cross_entropy`.

    Args:
        no_object_weight: See there.
        loss_weight: Factor of the loss.

    Raises:
        ValueError: If the weight of no-object is not positive.
    """

    expects_classes: ClassVar[str] = 'softmax'
    reads_memory: ClassVar[bool] = True

    def __init__(self, no_object_weight: float = 0.1, loss_weight: float = 2.0) -> None:
        super().__init__()
        if no_object_weight <= 0:
            raise ValueError(
                f'BalancedClassLoss.no_object_weight: expected above 0, got {no_object_weight}'
            )
        self.no_object_weight = no_object_weight
        self.loss_weight = loss_weight

    def forward(self, pred: Tensor, target: Tensor, from_memory: Tensor) -> Tensor:
        """Return the scalar loss.

        Args:
            pred: Class logits, shape (N, K + 1), float32.
            target: Shape (N,), int64; K is no-object.
            from_memory: Whether each query is of an image from memory, shape (N,), bool.
        """
        return self.loss_weight * balanced_cross_entropy(
            pred, target, from_memory, no_object_weight=self.no_object_weight
        )
