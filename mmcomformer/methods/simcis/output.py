"""What a SimCIS model says of a batch."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from torch import Tensor

from ...models.query_output import QueryOutput


@dataclass(frozen=True)
class SimCISOutput(QueryOutput):
    """Predictions of queries that come from the cells of the feature maps.

    Level 0 is what the cells predict that become queries.

    Attributes:
        positions: Cells that became queries, best first, (B, Q), int64.
        selected_scores: Class logits there of all columns of the classifier, (B, Q, K).
        boxes: Centre x, centre y, width and height of each level, (B, Q, 4), in [0, 1].
        scores_at_teacher: The student's class logits at the teacher's cells, (B, Q, K); None
            without a teacher.
        decode_at_teacher: Returns the class logits of the last level, (B, Q, K), of the student's
            queries at the teacher's cells; see :class:`.DecoderDistillLoss`.
        virtual_scores: Class logits of V virtual queries of each image at each level, (B, V, K);
            empty without any.
        virtual_labels: Their learning indices, (B, V), int64.
    """

    positions: Tensor | None = None
    selected_scores: Tensor | None = None
    boxes: tuple[Tensor, ...] = ()
    scores_at_teacher: Tensor | None = None
    decode_at_teacher: Callable[[str], Tensor] | None = None
    virtual_scores: tuple[Tensor, ...] = ()
    virtual_labels: Tensor | None = None

    def only(self, wanted: Collection[str]) -> SimCISOutput:
        """Return the output without the parts that nobody wants; see :meth:`.QueryOutput.only`."""
        return replace(super().only(wanted), boxes=())
