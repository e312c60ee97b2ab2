"""Which classes each image of a dataset holds."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..scenario import Scenario


@dataclass(frozen=True)
class ClassIndex:
    """The dataset labels of every image, in compressed rows.

    The labels of image ``i`` are ``labels[offsets[i]:offsets[i + 1]]``, ascending and distinct.
    Where the labels come from is left to the constructors; there is one for annotations that list
    their segments, which takes one pass over data in memory and therefore needs no cache file.

    Args:
        labels: Dataset labels, int64, shape (N,), image after image.
        offsets: Where the labels of each image start, int64, shape (M + 1,) for M images.

    Example:
        >>> index = ClassIndex.from_segments(
        ...     [[dict(label=2), dict(label=0), dict(label=2)], []], num_classes=3
        ... )
        >>> len(index), index[0].tolist(), index[1].tolist()
        (2, [0, 2], [])
        >>> index.images_per_class(num_classes=3).tolist()
        [1, 0, 1]
    """

    labels: np.ndarray
    offsets: np.ndarray

    @classmethod
    def from_segments(
        cls, segments: Iterable[Sequence[Mapping[str, Any]]], *, num_classes: int
    ) -> ClassIndex:
        """Build the index from the segments of each image.

        Crowds are left out: a class that an image shows only as a crowd cannot be trained on it.

        Args:
            segments: For each image its segments, with the keys ``label`` and optionally
                ``iscrowd``.
            num_classes: Number of classes of the dataset.
        """
        counts: list[int] = []
        flat: list[int] = []
        for image in segments:
            labels = [entry['label'] for entry in image if not entry.get('iscrowd', False)]
            counts.append(len(labels))
            flat.extend(labels)
        images = np.repeat(np.arange(len(counts)), counts)
        # one key per image and class, so that np.unique sorts by image and then by label
        keys = np.unique(images * num_classes + np.asarray(flat, dtype=np.int64))
        per_image = np.bincount(keys // num_classes, minlength=len(counts))
        return cls(keys % num_classes, np.concatenate([[0], np.cumsum(per_image)]))

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.offsets) - 1

    def __getitem__(self, image: int) -> np.ndarray:
        """Return the labels of an image, int64, ascending."""
        return self.labels[self.offsets[image] : self.offsets[image + 1]]

    def kept_images(self, scenario: Scenario) -> np.ndarray:
        """Return which images belong to the scenario's step, bool, shape (M,)."""
        bounds = self.offsets.tolist()
        labels = self.labels.tolist()
        return np.fromiter(
            (
                scenario.keeps_image(labels[first:last])
                for first, last in itertools.pairwise(bounds)
            ),
            dtype=bool,
            count=len(self),
        )

    def images_per_class(self, num_classes: int) -> np.ndarray:
        """Return how many images hold each class, int64, shape (num_classes,)."""
        return np.bincount(self.labels, minlength=num_classes)
