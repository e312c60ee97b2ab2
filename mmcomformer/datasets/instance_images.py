"""The images of an instance dataset, their classes, and which of their instances a step sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from mmdet.datasets import CocoDataset, CocoPanopticDataset
from mmengine import fileio
from mmengine.dataset import BaseDataset

from ..scenario import Scenario
from .instance_annotations import read_instance_annotations
from .listed_segments import ListedSegments


@dataclass(frozen=True)
class InstanceImages(ListedSegments):
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
    nothing: ClassVar[str] = 'no instance'

    @classmethod
    def accepts(cls, inner: type[BaseDataset]) -> bool:
        """Accept mmdet's COCO datasets but the panoptic ones."""
        return issubclass(inner, CocoDataset) and not issubclass(inner, CocoPanopticDataset)

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
                f'scenario.stuff_classes: expected none, because {type(inner).__name__} is a '
                f'dataset for instance segmentation, got {list(scenario.stuff_classes)[:5]}'
            )
        return cls(scenario, options.get('category_aliases'), show_all=show_all)

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
        # which backend a folder needs is found once, not for every file
        folder = inner.data_prefix['img']
        join = fileio.get_file_backend(folder).join_path
        return [
            {
                'img_path': join(folder, image.file_name),
                'img_id': image.img_id,
                'height': image.height,
                'width': image.width,
                'file_name': image.file_name,
                'segments': image.instances,
            }
            for image in images
        ]
