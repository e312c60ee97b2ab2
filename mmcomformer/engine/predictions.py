"""What a model finds in an image: segments with their class, score, area and box."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects


@dataclass(frozen=True)
class Segment:
    """A segment of an image.

    Attributes:
        id: Its number in :attr:`Prediction.ids`, from 1.
        name: Name of its class.
        label: Label of its class in the dataset.
        is_thing: Whether it is one instance of a class; else it is all that is of its class.
        score: Probability of its class, in [0, 1], of stuff the highest of its parts; of an
            instance times the mean mask probability in its mask. None for a semantic model, which
            decides for pixels.
        area: Its pixels.
        box: Left, top, width and height of the smallest box around it, pixels.
    """

    id: int
    name: str
    label: int
    is_thing: bool
    score: float | None
    area: int
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class Prediction:
    """What a model finds in an image.

    Attributes:
        ids: Shape (H, W) of the image, int32: the ``id`` of the segment of each pixel, 0 where
            there is none. Of instances that overlap, the one with the highest score.
        segments: The segments, the largest first.
        data_sample: The ``DetDataSample`` or ``SegDataSample`` of the library, for its visualiser.
        masks: Masks of the segments, in their order, where they may overlap: (N, H, W), bool;
            None where each pixel is of one segment at most.
        score_thr: Score that such segments are above; those below it are in the data sample.
    """

    ids: NDArray[np.int32]
    segments: tuple[Segment, ...]
    data_sample: Any
    masks: NDArray[np.bool_] | None = None
    score_thr: float | None = None

    def mask(self, segment: Segment) -> NDArray[np.bool_]:
        """Return the pixels of a segment, (H, W), bool."""
        mask: NDArray[np.bool_] = (
            self.ids == segment.id if self.masks is None else self.masks[segment.id - 1]
        )
        return mask


def instances_of(
    masks: NDArray[np.bool_],
    labels: Sequence[int],
    scores: Sequence[float],
    *,
    names: Sequence[str],
    data_sample: Any = None,
    score_thr: float | None = None,
) -> Prediction:
    """Return instances, which may overlap, as segments.

    Args:
        masks: Shape (N, H, W), bool, none of them empty.
        labels: Dataset label of each.
        scores: Score of each.
        names: Class names by dataset label.
        data_sample: See :class:`Prediction`.
        score_thr: See there.
    """
    areas = masks.sum((1, 2))
    order = np.argsort(-areas, kind='stable')
    ids = np.zeros(masks.shape[1:], np.int32)
    for number, i in sorted(enumerate(order, start=1), key=lambda pair: scores[pair[1]]):
        ids[masks[i]] = number
    segments = [
        Segment(
            id=number,
            name=names[labels[i]],
            label=int(labels[i]),
            is_thing=True,
            score=float(scores[i]),
            area=int(areas[i]),
            box=_boxes(masks[i].astype(np.int32))[0],
        )
        for number, i in enumerate(order, start=1)
    ]
    return Prediction(ids, tuple(segments), data_sample, masks[order], score_thr)


def segments_of(
    codes: NDArray[Any],
    *,
    names: Sequence[str],
    num_things: int,
    scores: Mapping[int, float] | None = None,
    data_sample: Any = None,
) -> Prediction:
    """Return the segments in a map of values.

    Args:
        codes: Shape (H, W), integers: dataset label + 1000 * instance; a label of no class where
            there is no segment.
        names: Class names by dataset label.
        num_things: Labels below this are things.
        scores: Scores by value; None where there are none.
        data_sample: See :class:`Prediction`.
    """
    from mmdet.evaluation.functional import INSTANCE_OFFSET

    values, inverse, areas = np.unique(codes, return_inverse=True, return_counts=True)
    order = [
        i for i in np.argsort(-areas, kind='stable') if values[i] % INSTANCE_OFFSET < len(names)
    ]
    numbers = np.zeros(len(values), np.int32)
    numbers[order] = np.arange(1, len(order) + 1)
    ids = numbers[inverse].reshape(codes.shape)
    boxes = _boxes(ids)
    segments = []
    for number, i in enumerate(order, start=1):
        code = int(values[i])
        label = code % INSTANCE_OFFSET
        segments.append(
            Segment(
                id=number,
                name=names[label],
                label=label,
                is_thing=label < num_things,
                score=None if scores is None else scores.get(code),
                area=int(areas[i]),
                box=boxes[number - 1],
            )
        )
    return Prediction(ids, tuple(segments), data_sample)


def _boxes(ids: NDArray[np.int32]) -> list[tuple[int, int, int, int]]:
    """Return left, top, width and height of each segment; ids count from 1 without a gap."""
    return [
        (columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
        for rows, columns in find_objects(ids)
    ]
