"""What the tasks of mmdet's detectors have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from .task import Task

if TYPE_CHECKING:
    import numpy as np
    from mmengine.config import Config
    from torch import Tensor


class DetectorTask(Task):
    """A task of a detector whose ``panoptic_head`` is a head of queries.

    A derived class says what is scored, and where the segments of a prediction are.
    """

    head: ClassVar[str] = 'panoptic_head'
    default_scope: ClassVar[str] = 'mmdet'

    def load_model(self, cfg: Config, checkpoint: str, device: str) -> Any:
        """Build the model of a config and load a checkpoint; see :class:`.Task`."""
        from mmdet.apis import init_detector

        return init_detector(cfg, checkpoint, device=device)

    def predict(self, model: Any, image: str | np.ndarray) -> Any:
        """Return the ``DetDataSample`` of an image; see :class:`.Task`."""
        from mmdet.apis import inference_detector

        return inference_detector(model, image)

    def truth_map(self, sample: Any, num_classes: int) -> Tensor:
        """Return the map of the segments, each with a number of its own; crowds are left out."""
        import torch

        codes = [num_classes]
        for number, segment in enumerate(sample.segments, start=1):
            codes.append(num_classes if segment['iscrowd'] else segment['label'] + 1000 * number)
        return torch.tensor(codes)[sample.gt_panoptic_seg.sem_seg.long().cpu()]

    def ground_truth(self, sample: Any, num_classes: int) -> list[tuple[np.ndarray, int]]:
        """Return the segments of a sample, from instance masks or a map of their numbers."""
        labels = sample.gt_instances.labels.tolist()
        if 'masks' in sample.gt_instances:
            return list(zip(sample.gt_instances.masks.masks > 0, labels, strict=True))
        number = sample.gt_panoptic_seg.sem_seg[0].numpy()
        return [(number == position, label) for position, label in enumerate(labels, start=1)]
