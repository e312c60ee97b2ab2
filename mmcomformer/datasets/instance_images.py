"""The images of an instance dataset, their classes, and which of their instances a step sees."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from mmdet.datasets import CocoDataset, CocoPanopticDataset
from mmengine import fileio
from mmengine.dataset import BaseDataset

from ..scenario import Scenario
from .class_index import ClassIndex
from .instance_annotations import read_instance_annotations


@dataclass(frozen=True)
class InstanceImages:
    """What :class:`~mmcomformer.datasets.IncrementalDataset` asks of an instance dataset.

    The annotation file of mmdet's ``CocoDataset`` and of classes derived from it is read directly,
    see :mod:`~mmcomformer.datasets.instance_annotations`: mmdet leaves out instances that are
    small or whose boxes are odd.

    Args:
        scenario: The scenario with its current step; all its classes are things.
        category_aliases: Class name of each category that the annotation file spells differently.
        show_all: Whether every instance is visible, crowds included.
    """

    task: ClassVar[str] = 'instance'
    options: ClassVar[tuple[str, ...]] = ('category_aliases',)
    nothing: ClassVar[str] = 'no instance'
    reads_maps: ClassVar[bool] = False

    scenario: Scenario
    category_aliases: Mapping[str, str] | None
    show_all: bool

    @classmethod
    def accepts(cls, inner: BaseDataset) -> bool:
        """Accept mmdet's COCO datasets but the panoptic ones."""
        return isinstance(inner, CocoDataset) and not isinstance(inner, CocoPanopticDataset)

    @classmethod
    def of(
        cls, inner: BaseDataset, scenario: Scenario, options: Mapping[str, Any], *, show_all: bool
    ) -> InstanceImages:
        """Return the source of a lazily built dataset, with its category aliases.

        Raises:
            ValueError: If the scenario has stuff.
        """
        if scenario.stuff_classes:
            raise ValueError(
                f'scenario.stuff_classes: expected none, because {type(inner).__name__} is an '
                f'instance dataset, got {list(scenario.stuff_classes)[:5]}'
            )
        return cls(scenario, options.get('category_aliases'), show_all=show_all)

    def left_out(self, inner: BaseDataset, images: Sequence[Mapping[str, Any]]) -> list[str]:
        """Return nothing: an annotation file says which images there are."""
        return []

    def load(self, inner: BaseDataset) -> list[dict[str, Any]]:
        """Return what the annotations of a lazily built dataset say about every image.

        Raises:
            ValueError: If an annotation is wrong; the message names file and value.
            FileNotFoundError: If the annotation file does not exist.
        """
        if not inner.data_prefix.get('img'):
            raise ValueError(
                "dataset: data_prefix has no 'img'; expected data_prefix=dict(img=IMAGE_FOLDER)"
            )
        images = read_instance_annotations(
            inner.ann_file,
            classes=self.scenario.classes,
            category_aliases=self.category_aliases,
            backend_args=inner.backend_args,
        )
        return [
            {
                'img_path': fileio.join_path(inner.data_prefix['img'], image.file_name),
                'img_id': image.img_id,
                'height': image.height,
                'width': image.width,
                'file_name': image.file_name,
                'segments': image.instances,
            }
            for image in images
        ]

    def index(self, images: Sequence[Mapping[str, Any]]) -> ClassIndex:
        """Return the classes of each image."""
        return ClassIndex.from_segments(
            (info['segments'] for info in images), num_classes=self.scenario.num_classes
        )

    def show(
        self, info: Mapping[str, Any], labels: Collection[int] | None = None
    ) -> dict[str, Any]:
        """Return what the pipeline receives of an image: ``visible`` is added to its instances.

        Args:
            info: What is known of it.
            labels: The dataset labels to show; None shows those of the step.
        """
        shows = self.scenario.shows_label if labels is None else labels.__contains__
        segments = [
            dict(
                segment,
                visible=self.show_all or (not segment['iscrowd'] and shows(segment['label'])),
            )
            for segment in info['segments']
        ]
        return {**{key: info[key] for key in info if key != 'file_name'}, 'segments': segments}
