"""How good the teacher's pseudo-labels are, measured with the labels that a step hides.

The hidden labels are in the annotations. They are read for this diagnosis only, never in training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from numpy.typing import NDArray
from torch.nn import functional

from ..datasets import IncrementalDataset
from ..evaluation.panoptic_quality import (
    VOID_LABEL,
    SegmentOverlaps,
    label_counts,
    panoptic_stats,
)
from ..evaluation.seen_class_metric import number
from ..models.extra_losses import parts_read
from ..models.targets import ImageTargets
from ..random_state import kept_host_generators, seed_host_generators
from ..report.collected import NOTHING, KeptPicture, PseudoLabelQuality
from ..scenario import Scenario
from ..tasks import Task

MOST_IMAGES = 200
PICTURES = 4
_OFFSET = 1000

Segments = list[tuple[np.ndarray, int]]
"""Mask, (H, W), bool, and dataset label of each segment."""


def diagnose(
    dataset: IncrementalDataset, model: Any, task: Task, *, most: int = MOST_IMAGES
) -> PseudoLabelQuality:
    """Compare the pseudo-labels of a step's teacher with the labels that the step hides.

    The images pass the training pipeline once, with random numbers of their own; those of the
    training stay as they are.

    Args:
        dataset: The training images of the step.
        model: The student with its teacher and its maker of pseudo-labels.
        task: The task.
        most: How many images to look at, evenly spread over the data.
    """
    scenario = dataset.scenario
    # images from memory are the last ones
    total = len(dataset) - getattr(dataset, 'num_from_memory', 0)
    count = min(most, total)
    indices = [position * total // count for position in range(count)]
    things = set(range(scenario.num_things)) if task.has_instances else set()
    overlaps: list[SegmentOverlaps] = []
    pictures: list[tuple[int, KeptPicture]] = []
    with torch.no_grad(), kept_host_generators():
        # the same crops each time
        seed_host_generators(0, scenario.step)
        for info in dataset.in_full(indices):
            packed = dataset.pipeline(info)
            # a pipeline may refuse an image
            if packed is None:
                continue
            truth = task.ground_truth(packed['data_samples'], scenario.num_classes)
            shown = [segment for segment in truth if scenario.shows_label(segment[1])]
            hidden = [segment for segment in truth if not scenario.shows_label(segment[1])]
            pseudo = _pseudo_labels(model, packed, shown, scenario)
            size = packed['inputs'].shape[-2:]
            codes = _code_map(pseudo, size, things)
            overlaps.append(_overlaps(hidden, codes, scenario))
            of_old = [segment for segment in hidden if _is_old(segment[1], scenario)]
            kinds = {'shown': shown, 'pseudo': pseudo, 'hidden': of_old}
            variety = len({label for _, label in of_old})
            if len(pictures) < PICTURES or variety > pictures[-1][0]:
                pictures.append((variety, _picture(packed, kinds)))
                pictures = sorted(pictures, key=lambda pair: -pair[0])[:PICTURES]
    return PseudoLabelQuality(
        classes=scenario.classes,
        palette=dataset.metainfo['palette'],
        per_class=_per_class(overlaps, scenario),
        images=len(overlaps),
        pictures=[picture for _, picture in pictures],
    )


def _is_old(label: int, scenario: Scenario) -> bool:
    return label in scenario.seen_labels and label not in scenario.current_labels


def _pseudo_labels(
    model: Any, packed: dict[str, Any], shown: Segments, scenario: Scenario
) -> Segments:
    """Return the segments that the teacher adds to those that the step shows."""
    height, width = packed['inputs'].shape[-2:]
    batch = model.data_preprocessor(pseudo_collate([packed]), True)
    inputs = batch['inputs']
    masks = torch.from_numpy(np.array([mask for mask, _ in shown]).reshape(-1, height, width))
    padding = (0, inputs.shape[-1] - width, 0, inputs.shape[-2] - height)
    labels = [scenario.label_to_learning[label] for _, label in shown]
    targets = ImageTargets.from_masks(
        torch.tensor(labels, dtype=torch.int64, device=inputs.device),
        functional.pad(masks.float(), padding).to(inputs.device),
    )
    wanted = parts_read(model.extra_losses) | model.mask_head.reads_of_teacher
    output = model.teacher(inputs, batch['data_samples'], wanted)
    (completed,) = model.pseudo_labeller([targets], output)
    found = torch.nonzero(completed.is_pseudo & completed.valid)[:, 0].tolist()
    segments = [
        (
            completed.mask_of(index)[:height, :width].cpu().numpy(),
            scenario.seen_learning_to_label[int(completed.labels[index])],
        )
        for index in found
    ]
    return [(mask, label) for mask, label in segments if mask.any()]


def _overlaps(hidden: Segments, codes: NDArray[np.int32], scenario: Scenario) -> SegmentOverlaps:
    """Return what hidden labels and pseudo-labels share.

    What the step shows is void. Hidden are later classes too: a pseudo-label there is wrong.
    """
    labels = [label for _, label in hidden]
    ids = np.zeros(codes.shape, dtype=np.int32)
    for position, (mask, _) in enumerate(hidden, start=1):
        ids[mask] = position
    return SegmentOverlaps.of_image(
        ids,
        labels,
        [False] * len(labels),
        codes,
        lambda values: np.where(values == NOTHING, VOID_LABEL, values % _OFFSET),
        num_classes=scenario.num_classes,
    )


def _code_map(
    segments: Segments, size: Sequence[int], things: set[int] | None = None
) -> NDArray[np.int32]:
    """Paint segments into a map of label and number; what is no thing is one segment per class."""
    codes = np.full(size, NOTHING, dtype=np.int32)
    for position, (mask, label) in enumerate(segments):
        number_of = position if things is None or label in things else 0
        codes[mask] = label + _OFFSET * number_of
    return codes


def _picture(packed: dict[str, Any], kinds: dict[str, Segments]) -> KeptPicture:
    # the data preprocessor turns the channels round later
    image = np.ascontiguousarray(packed['inputs'].permute(1, 2, 0).numpy()[..., ::-1])
    size = image.shape[:2]
    name = '/'.join(packed['data_samples'].img_path.split('/')[-2:])
    maps = {kind: _code_map(segments, size) for kind, segments in kinds.items()}
    return KeptPicture.of(name, image, maps)


def _per_class(
    overlaps: Sequence[SegmentOverlaps], scenario: Scenario
) -> dict[str, dict[str, float | None]]:
    classes = scenario.num_classes
    # without the pixels that are void
    pixels = label_counts(overlaps, classes)[:classes].astype(np.float64)
    right = np.diagonal(pixels)
    with np.errstate(invalid='ignore', divide='ignore'):
        measures = {
            'precision': 100 * right / pixels[:, :classes].sum(axis=0),
            'recall': 100 * right / pixels.sum(axis=1),
            'PQ': 100 * panoptic_stats(overlaps, classes).quality()['PQ'],
        }
    labels = {name: scenario.classes.index(name) for name in scenario.old_classes}
    return {
        name: {measure: number(values[label]) for measure, values in measures.items()}
        for name, label in labels.items()
    }
