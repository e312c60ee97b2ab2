"""Semantic segmentation, with mmseg's segmentors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from .task import Task

if TYPE_CHECKING:
    import numpy as np
    from mmengine.config import Config
    from torch import Tensor


class SemanticTask(Task):
    """Every pixel has a class; what is of one class is one segment."""

    name: ClassVar[str] = 'semantic'
    measures: ClassVar[tuple[str, ...]] = ('mIoU', 'mAcc')
    metric: ClassVar[str] = 'IncrementalIoUMetric'
    head: ClassVar[str] = 'decode_head'
    default_scope: ClassVar[str] = 'mmseg'
    has_instances: ClassVar[bool] = False
    averages: ClassVar[bool] = True

    def load_model(self, cfg: Config, checkpoint: str, device: str) -> Any:
        """Build the model of a config and load a checkpoint; see :class:`.Task`."""
        from mmseg.apis import init_model

        return init_model(cfg, checkpoint, device=device)

    def predict(self, model: Any, image: str | np.ndarray) -> Any:
        """Return the ``SegDataSample`` of an image; see :class:`.Task`."""
        from mmseg.apis import inference_model

        return inference_model(model, image)

    def segment_map(self, sample: Any) -> Tensor:
        """Return the map of labels."""
        return sample.pred_sem_seg.data

    def truth_map(self, sample: Any, num_classes: int) -> Tensor:
        """Return the map of labels."""
        return sample.gt_sem_seg.data

    def ground_truth(self, sample: Any, num_classes: int) -> list[tuple[np.ndarray, int]]:
        """Return one segment for each class in the label map."""
        import numpy as np

        label_map = sample.gt_sem_seg.data[0].numpy()
        # the label of hidden pixels is of no class
        labels = np.unique(label_map[label_map < num_classes]).tolist()
        return [(label_map == label, label) for label in labels]
