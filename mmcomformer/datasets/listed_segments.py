"""What datasets have in common whose annotation file lists the segments of each image."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from mmengine.dataset import BaseDataset

from ..scenario import Scenario
from .class_index import ClassIndex


@dataclass(frozen=True)
class ListedSegments:
    """Classes and visible segments of images whose ``segments`` are known.

    Args:
        scenario: The scenario with its current step.
        category_aliases: Class name of each category that the annotation file spells differently.
        show_all: Whether every segment is visible, crowds included.
    """

    options: ClassVar[tuple[str, ...]] = ('category_aliases',)
    reads_maps: ClassVar[bool] = False

    scenario: Scenario
    category_aliases: Mapping[str, str] | None
    show_all: bool

    def left_out(self, inner: BaseDataset, images: Sequence[Mapping[str, Any]]) -> list[str]:
        """Return nothing: an annotation file says which images there are."""
        return []

    def index(self, images: Sequence[Mapping[str, Any]]) -> ClassIndex:
        """Return the classes of each image."""
        return ClassIndex.from_segments(
            (info['segments'] for info in images), num_classes=self.scenario.num_classes
        )

    def show(
        self, info: Mapping[str, Any], labels: Collection[int] | None = None
    ) -> dict[str, Any]:
        """Return what the pipeline receives of an image: ``visible`` is added to its segments.

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
