"""Which classes each image of a dataset holds."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..scenario import Scenario
from ..version import __version__
from .array_cache import Arrays, cached_arrays, files_key
from .label_maps import (
    IGNORE_LABEL,
    check_palette,
    check_values,
    lookup_table,
    missing_label_map,
    present_values,
    read_coded_map,
)
from .parallel import parallel


@dataclass(frozen=True)
class ClassIndex:
    """The dataset labels of every image, in compressed rows.

    The labels of image ``i`` are ``labels[offsets[i]:offsets[i + 1]]``, ascending and distinct.
    Where the labels come from is left to the constructors: annotations that list their segments
    take one pass over data in memory and therefore need no cache file; label maps have to be read,
    all of them, which is worth one.

    Args:
        labels: Dataset labels, int64, shape (N,), image after image.
        offsets: Where the labels of each image start, int64, shape (M + 1,) for M images.
        segments: How many segments of each label an image has, int64, shape (N,); None stands for
            one each, as in label maps.

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
    segments: np.ndarray | None = None

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
        keys, numbers = np.unique(
            images * num_classes + np.asarray(flat, dtype=np.int64), return_counts=True
        )
        per_image = np.bincount(keys // num_classes, minlength=len(counts))
        return cls(keys % num_classes, np.concatenate([[0], np.cumsum(per_image)]), numbers)

    @classmethod
    def from_label_maps(
        cls,
        paths: Sequence[str | Path],
        *,
        num_classes: int,
        reduce_zero_label: bool = False,
        label_map: Mapping[int, int] | None = None,
        cache: str | Path | None = None,
        workers: int | None = None,
    ) -> ClassIndex:
        """Build the index from semantic label maps, one per image.

        Args:
            paths: Local PNGs of labels: one channel, or a palette, whose indices are read. Pixels
                of 255 belong to no class.
            num_classes: Number of classes of the dataset.
            reduce_zero_label: Whether 0 means no class and ``k`` the label ``k - 1``, as in ADE20K.
            label_map: Dataset label of each label in the maps, or 255 for a class that the dataset
                leaves out; None where they are the same.
            cache: File (``.npz``) that keeps the index for the next start; it is used only for the
                same files, unchanged, and the same classes, rule and version. With it, every
                process of a distributed run has to take part; one reads, and the others get the
                result.
            workers: Number of processes that read; None for one per core, or for this one alone if
                the maps are few.

        Raises:
            FileNotFoundError: If a map does not exist.
            ValueError: If a map cannot be read or holds an unknown label; the message names it.
        """
        if label_map is None:
            label_map = {label: label for label in range(num_classes)}
        table = lookup_table(label_map, reduce_zero_label=reduce_zero_label)
        read = partial(_labels_in, table=table)

        if workers is None and len(paths) <= _FEW_MAPS:
            workers = 1

        def compute() -> Arrays:
            found = list(parallel(read, paths, workers=workers, title='reading label maps'))
            offsets = np.cumsum([0, *map(len, found)], dtype=np.int64)
            return {'labels': np.concatenate([_NO_LABELS, *found]), 'offsets': offsets}

        def key() -> str:
            rule = {'num_classes': num_classes, 'table': table.tolist()}
            try:
                return files_key(paths, kind='label maps', version=__version__, **rule)
            except FileNotFoundError as error:
                raise missing_label_map(error.filename) from error

        if cache is None:
            return cls(**compute())
        accept = partial(_is_index, num_images=len(paths), num_classes=num_classes)
        return cls(**cached_arrays(cache, key=key, compute=compute, accept=accept))

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.offsets) - 1

    def __getitem__(self, image: int) -> np.ndarray:
        """Return the labels of an image, int64, ascending."""
        return self.labels[self.offsets[image] : self.offsets[image + 1]]

    def kept_images(self, scenario: Scenario, names: Sequence[str]) -> np.ndarray:
        """Return which images belong to the scenario's step, bool, shape (M,).

        Args:
            scenario: The scenario at the step.
            names: Name of each image in the dataset, with slashes.
        """
        bounds = self.offsets.tolist()
        labels = self.labels.tolist()
        return np.fromiter(
            (
                scenario.keeps_image(labels[first:last], name)
                for (first, last), name in zip(itertools.pairwise(bounds), names, strict=True)
            ),
            dtype=bool,
            count=len(self),
        )

    def images_per_class(self, num_classes: int) -> np.ndarray:
        """Return how many images hold each class, int64, shape (num_classes,)."""
        return np.bincount(self.labels, minlength=num_classes)


_FEW_MAPS = 64
"""Maps that are read by the time that other processes have started."""
_NO_LABELS: np.ndarray = np.zeros(0, dtype=np.int64)


def _labels_in(path: str | Path, *, table: np.ndarray) -> np.ndarray:
    """Return the dataset labels of a label map, int64, ascending."""
    label_map, palette = read_coded_map(path)
    values = present_values(label_map)
    check_palette(path, values, palette, table)
    check_values(path, values, table)
    labels = np.unique(table[values].astype(np.int64))
    return labels[labels != IGNORE_LABEL]


def _is_index(arrays: Arrays, *, num_images: int, num_classes: int) -> bool:
    """Tell whether arrays are an index of so many images and classes."""
    if set(arrays) != {'labels', 'offsets'}:
        return False
    labels, offsets = arrays['labels'], arrays['offsets']
    if labels.dtype != np.int64 or offsets.dtype != np.int64 or labels.ndim != 1:
        return False
    return (
        offsets.shape == (num_images + 1,)
        and offsets[0] == 0
        and offsets[-1] == len(labels)
        and bool((np.diff(offsets) >= 0).all())
        and bool(((labels >= 0) & (labels < num_classes)).all())
    )
