"""What a task is, and which one a name or a model's config means."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import numpy as np
    from mmengine.config import Config
    from mmengine.structures import InstanceData
    from torch import Tensor

TASKS: dict[str, Task] = {}
"""The tasks by name, in the order of reports."""


class Task(ABC):
    """What a model predicts, how that is scored, and what a library does with it.

    Attributes:
        name: Name of the task in summaries and in ``SummaryHook(task=...)``.
        measures: What its metric computes per class; ``final`` of a summary holds the first.
        metric: Registered name of the metric, a ``SeenClassMetric``.
        head: Key of the model's config that holds the head.
        test_key: Key of the model's ``test_cfg`` that asks for this task; it decides among tasks
            whose ``head`` is the same.
        default_scope: Library whose registries a config of the task looks into first.
        score_thr: Score above which a segment that may overlap others is shown and returned; None
            where segments do not overlap.
        has_instances: Whether two segments of an image can have the same class.
        averages: Whether the predictions for several variants of an image can be averaged.
    """

    name: ClassVar[str]
    measures: ClassVar[tuple[str, ...]]
    metric: ClassVar[str]
    head: ClassVar[str]
    test_key: ClassVar[str | None] = None
    default_scope: ClassVar[str]
    score_thr: ClassVar[float | None] = None
    has_instances: ClassVar[bool] = True
    averages: ClassVar[bool] = False

    @abstractmethod
    def load_model(self, cfg: Config, checkpoint: str, device: str) -> Any:
        """Build the model of a config and load a checkpoint, with the library's own function."""

    @abstractmethod
    def predict(self, model: Any, image: str | np.ndarray) -> Any:
        """Return the data sample that a model of :meth:`load_model` predicts for an image.

        Args:
            model: The model.
            image: Path of a file, or pixels, (H, W, 3), uint8, BGR.
        """

    @abstractmethod
    def segment_map(self, sample: Any) -> Tensor:
        """Return where the segments of a prediction are.

        Returns:
            Shape (1, H, W), integers: a value for each segment, which is its dataset label plus
            1000 times its number in that class; a label of no class where there is none.
        """

    def segment_scores(self, sample: Any) -> dict[int, float] | None:
        """Return the scores of segments by value of :meth:`segment_map`; None if it has none."""
        return None

    def instances(self, sample: Any, score_thr: float) -> InstanceData | None:
        """Return what a prediction holds of masks that may overlap; None if its are a map.

        Args:
            sample: The data sample.
            score_thr: Those with a higher score are returned.
        """
        return None

    @abstractmethod
    def truth_map(self, sample: Any, num_classes: int) -> Tensor:
        """Return where the segments of the ground truth of an evaluated sample are.

        Returns:
            Shape (1, H, W), integers, as of :meth:`segment_map`.
        """

    @abstractmethod
    def ground_truth(self, sample: Any, num_classes: int) -> list[tuple[np.ndarray, int]]:
        """Return mask, (H, W), bool, and dataset label of each segment of a training sample."""


def register_task(task: Task) -> None:
    """Make a task known under its name.

    Raises:
        ValueError: If there is one of that name.
    """
    if task.name in TASKS:
        raise ValueError(f'task {task.name!r}: there is one of that name, {TASKS[task.name]!r}')
    TASKS[task.name] = task


def task_named(name: str) -> Task:
    """Return the task of a name.

    Raises:
        ValueError: If it is unknown.
    """
    if name not in TASKS:
        raise ValueError(f'task: expected one of {sorted(TASKS)}, got {name!r}')
    return TASKS[name]


def task_of(model: Mapping[str, Any] | None) -> Task:
    """Return the task of a model's config: that of its head.

    Raises:
        ValueError: If no task has such a head; or several have, and ``test_cfg`` asks for more
            than one of them. Where it asks for none, the first one registered is meant.

    Example:
        >>> task_of({'type': 'ContinualEncoderDecoder', 'decode_head': {}}).name
        'semantic'
    """
    model = model or {}
    found = [task for task in TASKS.values() if task.head in model]
    if not found:
        heads = ', '.join(f'{task.head!r} ({task.name})' for task in TASKS.values())
        raise ValueError(
            f'model: it has none of the heads {heads}, only the keys {sorted(model)}; inherit a '
            f'model of configs/_base_/models, or register the task that the head belongs to'
        )
    if len(found) == 1:
        return found[0]
    settings = model.get('test_cfg') or {}
    asked = [task for task in found if settings.get(task.test_key)]
    if not asked and not any(task.test_key in settings for task in found):
        return found[0]
    if len(asked) != 1:
        keys = ', '.join(f'{task.test_key!r} ({task.name})' for task in found)
        raise ValueError(
            f'model.test_cfg: {found[0].head} is the head of several tasks; set exactly one of '
            f'{keys} to True, got {[task.test_key for task in asked]}'
        )
    return asked[0]
