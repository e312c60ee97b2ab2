"""The images of a dataset with label maps, their classes, and which labels a step sees."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

from mmengine import fileio
from mmengine.dataset import BaseDataset
from mmseg.datasets import BaseSegDataset

from ..scenario import Scenario
from .array_cache import CACHE_FOLDER
from .class_index import ClassIndex
from .label_maps import HIDDEN_LABEL, IGNORE_LABEL

_REDUCE = 'reduce_zero_label'


@dataclass
class SemanticImages:
    """What :class:`~mmcomformer.datasets.IncrementalDataset` asks of an mmseg dataset.

    Args:
        scenario: The scenario with its current step.
        inner_label_map: Dataset label of each label in the maps, or 255 for a class that the
            dataset leaves out.
        reduce_zero_label: Whether 0 means no class and ``k`` the label ``k - 1``.
        root: Folder in which the class index is kept if ``index_cache`` is None.
        index_cache: File that keeps the class index.
        show_all: Whether every label is visible.
        mark_hidden: Whether what the step hides has a value of its own in the maps.
    """

    task: ClassVar[str] = 'semantic'
    options: ClassVar[tuple[str, ...]] = ('index_cache', 'ignore_values', 'mark_hidden')
    nothing: ClassVar[str] = 'no class'
    reads_maps: ClassVar[bool] = True

    scenario: Scenario
    inner_label_map: Mapping[int, int]
    reduce_zero_label: bool
    root: str | None
    index_cache: str | None
    show_all: bool
    mark_hidden: bool = False

    @classmethod
    def accepts(cls, inner: type[BaseDataset]) -> bool:
        """Tell whether a dataset has label maps, as mmseg's have."""
        return issubclass(inner, BaseSegDataset)

    @classmethod
    def of(
        cls, inner: BaseDataset, scenario: Scenario, options: Mapping[str, Any], *, show_all: bool
    ) -> SemanticImages:
        """Take over the rules of a lazily built dataset.

        Args:
            inner: The dataset.
            scenario: The scenario with its current step.
            options: ``index_cache``, the file that keeps the class index; ``ignore_values``,
                values in the maps that stand for no class, as 255 does; and ``mark_hidden``.
            show_all: Whether every label is visible.

        Raises:
            TypeError: If ``ignore_values`` is no list of integers.
            ValueError: If they contradict each other or the scenario; the message names the key.
        """
        _check_reduce_zero_label(inner, scenario)
        mark_hidden = bool(options.get('mark_hidden'))
        _check_limits(inner, scenario, mark_hidden)
        if not show_all:
            _check_local(inner)
        label_map = inner.label_map
        if label_map is None:
            label_map = {label: label for label in range(scenario.num_classes)}
        ignored = _ignored_labels(
            options.get('ignore_values') or (), label_map, inner.reduce_zero_label
        )
        return cls(
            scenario=scenario,
            inner_label_map={**label_map, **ignored},
            reduce_zero_label=inner.reduce_zero_label,
            root=inner.data_root,
            index_cache=options.get('index_cache'),
            show_all=show_all,
            mark_hidden=mark_hidden,
        )

    def load(self, inner: BaseSegDataset) -> list[dict[str, Any]]:
        """Return the paths of every image of a lazily built dataset.

        Raises:
            FileNotFoundError: If the list of images, their folder or that of the label maps does
                not exist.
            ValueError: If there is no image, or ``data_prefix`` lacks a folder.
        """
        _check_paths(inner)
        try:
            inner.full_init()
        except UnicodeDecodeError as error:
            raise ValueError(
                f'dataset: {inner.ann_file} is not in UTF-8 ({error.reason} at byte '
                f'{error.start}); save the list as UTF-8, one name per line'
            ) from error
        prefix = inner.data_prefix['img_path']
        images = [_describe(info, prefix) for info in inner.data_list]
        if inner.ann_file:
            images = list(_cleaned(images, inner))
        if not images:
            raise ValueError(
                f'dataset: {inner.ann_file or inner.data_prefix["img_path"]} names no image; '
                f'expected files that end in {inner.img_suffix!r}; check img_suffix'
                f'{"; ".join(["", *left_out(inner, images)])}'
            )
        return images

    def left_out(self, inner: BaseSegDataset, images: Sequence[Mapping[str, Any]]) -> list[str]:
        """Return in words which files in the folders of a dataset are not used."""
        return left_out(inner, images)

    def index(self, images: Sequence[Mapping[str, Any]]) -> ClassIndex:
        """Return the classes of each image: all maps are read, unless the index is in its file.

        Raises:
            FileNotFoundError: If a label map does not exist.
            ValueError: If one cannot be read, or holds a value that is no label.
        """
        paths = [info['seg_map_path'] for info in images]
        return ClassIndex.from_label_maps(
            paths,
            num_classes=self.scenario.num_classes,
            reduce_zero_label=self.reduce_zero_label,
            label_map=self.inner_label_map,
            cache=self.index_cache or (self._default_cache(paths) if paths else None),
        )

    def _default_cache(self, paths: Sequence[str]) -> Path:
        """Return a file beside the data, another one for other images or other rules."""
        root = self.root or os.path.dirname(paths[0]) or '.'
        # relative paths, so that a set that was moved replaces its file
        names = [os.path.relpath(path, root) for path in paths]
        rule = [sorted(self.inner_label_map.items()), self.reduce_zero_label, names]
        digest = hashlib.sha256(json.dumps(rule).encode()).hexdigest()
        return Path(root) / CACHE_FOLDER / f'class_index_{digest[:16]}.npz'

    def show(
        self, info: Mapping[str, Any], labels: Collection[int] | None = None
    ) -> dict[str, Any]:
        """Return what the pipeline receives of an image.

        Args:
            info: What is known of it.
            labels: The dataset labels to show; None shows those of the step.
        """
        return {
            **{key: info[key] for key in ('img_path', 'img_id', 'seg_map_path')},
            'label_map': self.label_map if labels is None else self._label_map(labels),
            'reduce_zero_label': self.reduce_zero_label,
            'hidden_label': self.hidden_label,
            'seg_fields': [],
        }

    @property
    def hidden_label(self) -> int:
        """What the label of a class becomes that the step must not see."""
        return HIDDEN_LABEL if self.mark_hidden else IGNORE_LABEL

    @cached_property
    def label_map(self) -> dict[int, int]:
        """Dataset label of each label in the maps, and what stands for those that are hidden."""
        labels = set(self.inner_label_map.values())
        shown = labels if self.show_all else set(filter(self.scenario.shows_label, labels))
        return self._label_map(shown)

    def _label_map(self, shown: Collection[int]) -> dict[int, int]:
        # what is no class of the dataset is not hidden
        seen = {*shown, IGNORE_LABEL}
        return {
            label: new if new in seen else self.hidden_label
            for label, new in self.inner_label_map.items()
        }


def _describe(info: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    img_path = info['img_path']
    file_name = os.path.relpath(img_path, prefix) if prefix else img_path
    return {
        'img_path': img_path,
        'img_id': info.get('img_id', os.path.splitext(file_name)[0]),
        'seg_map_path': info['seg_map_path'],
        'file_name': file_name,
    }


def _check_limits(inner: BaseSegDataset, scenario: Scenario, mark_hidden: bool) -> None:
    if inner.ignore_index != IGNORE_LABEL:
        raise ValueError(
            f'dataset.ignore_index: expected {IGNORE_LABEL}, which marks the pixels without a '
            f'label everywhere in this package, got {inner.ignore_index}; leave it out, and name '
            f'other values in ignore_values=[...]'
        )
    most = IGNORE_LABEL - inner.reduce_zero_label
    if scenario.num_classes > most:
        raise ValueError(
            f'scenario: expected at most {most} classes, because {IGNORE_LABEL} marks the pixels '
            f'without a label in 8-bit label maps, got {scenario.num_classes}'
        )
    if mark_hidden and scenario.num_classes > HIDDEN_LABEL:
        raise ValueError(
            f'mark_hidden: expected at most {HIDDEN_LABEL} classes, because {HIDDEN_LABEL} marks '
            f'the pixels whose class is hidden, got {scenario.num_classes}; leave it out'
        )


def _ignored_labels(
    values: Sequence[int], label_map: Mapping[int, int], reduce_zero_label: bool
) -> dict[int, int]:
    """Return what makes values of the maps stand for no class, as a part of a label map."""
    if isinstance(values, (str, bytes, set, frozenset, Mapping)) or not isinstance(
        values, Sequence
    ):
        raise TypeError(f'ignore_values: expected a list of values such as [11], got {values!r}')
    for value in values:
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f'ignore_values: expected integers, got {value!r}')
        if not 0 <= value <= IGNORE_LABEL:
            raise ValueError(f'ignore_values: expected values from 0 to 255, got {value}')
    labels = {value - int(reduce_zero_label) for value in values} - {-1}
    classes = sorted(label for label in labels if label_map.get(label, IGNORE_LABEL) < IGNORE_LABEL)
    if classes:
        raise ValueError(
            f'ignore_values: expected values that stand for no class, got '
            f'{[label + int(reduce_zero_label) for label in classes]}, which stand for classes; '
            f'leave classes out of the scenario with metainfo=dict(classes=...) of the dataset'
        )
    return {
        label: IGNORE_LABEL for label in labels if label + int(reduce_zero_label) < IGNORE_LABEL
    }


def _cleaned(images: Sequence[dict[str, Any]], inner: BaseSegDataset) -> Iterator[dict[str, Any]]:
    """Yield the images of a list, without blank lines and a byte order mark.

    Raises:
        ValueError: If the names of the list have a suffix already.
    """
    for info in images:
        name = info['file_name'].removeprefix(_MARK)
        if name in (inner.img_suffix, os.curdir):
            continue
        if inner.img_suffix and name.endswith(inner.img_suffix * 2):
            raise ValueError(
                f'dataset: {inner.ann_file}: expected names without {inner.img_suffix!r}, which '
                f'img_suffix adds, got {name.removesuffix(inner.img_suffix)!r}; take it away, or '
                f"set img_suffix=''"
            )
        paths = {key: info[key].replace(_MARK, '', 1) for key in ('img_path', 'seg_map_path')}
        yield {**info, **paths, 'file_name': name, 'img_id': info['img_id'].replace(_MARK, '', 1)}


_MARK = '\ufeff'
"""The byte order mark, with which some editors begin a file."""
_PICTURES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp', '.ppm', '.jp2', '.gif')


def left_out(inner: BaseSegDataset, images: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return in words which files in the folders of a dataset without a list are not used.

    Args:
        inner: The dataset.
        images: Its images, with ``img_path`` and ``seg_map_path``.
    """
    if inner.ann_file:
        return []
    folder, maps = inner.data_prefix['img_path'], inner.data_prefix['seg_map_path']
    read = partial(_pictures_in, backend_args=inner.backend_args)
    others = [name for name in read(folder) if not name.endswith(inner.img_suffix)]
    found = read(maps)
    if os.path.normpath(folder) == os.path.normpath(maps):
        others = [name for name in others if not name.endswith(inner.seg_map_suffix)]
        found = [name for name in found if not name.endswith(inner.img_suffix)]
    used = {os.path.normpath(info['seg_map_path']) for info in images}
    matching = [name for name in found if name.endswith(inner.seg_map_suffix)]
    lonely = [name for name in matching if os.path.normpath(os.path.join(maps, name)) not in used]
    # a suffix such as _labelIds.png tells maps apart from other files on purpose
    plain = inner.seg_map_suffix.startswith('.')
    strange = [name for name in found if plain and not name.endswith(inner.seg_map_suffix)]
    return [
        *_counted(others, f'images in {folder} do not end in img_suffix {inner.img_suffix!r}'),
        *_counted(strange, f'maps in {maps} do not end in seg_map_suffix {inner.seg_map_suffix!r}'),
        *_counted(lonely, f'label maps in {maps} have no image'),
    ]


def _counted(names: Sequence[str], what: str) -> list[str]:
    return [f'{len(names)} {what} and are left out, such as {min(names)}'] if names else []


def _pictures_in(folder: str, backend_args: dict[str, Any] | None) -> list[str]:
    """Return the pictures in a folder and below it, by their paths in it."""
    try:
        names = fileio.list_dir_or_file(
            folder, list_dir=False, recursive=True, backend_args=backend_args
        )
        return [name for name in names if name.lower().endswith(_PICTURES)]
    except (OSError, NotImplementedError):
        return []


def _check_local(inner: BaseSegDataset) -> None:
    backend = (inner.backend_args or {}).get('backend')
    if backend not in (None, 'local'):
        raise ValueError(
            f'dataset.backend_args: label maps have to be local files, because training reads all '
            f"of them to choose the images of a step; expected None or dict(backend='local'), got "
            f'{inner.backend_args!r}; copy the dataset to a local folder and leave backend_args out'
        )


def _check_reduce_zero_label(inner: BaseSegDataset, scenario: Scenario) -> None:
    found, declared = inner.reduce_zero_label, _declared_reduce_zero_label(type(inner))
    if not isinstance(found, bool):
        raise TypeError(f'dataset.reduce_zero_label: expected True or False, got {found!r}')
    name = type(inner).__name__
    if declared is not None and found != declared:
        first = 'no class' if declared else 'the first class'
        raise ValueError(
            f'dataset.reduce_zero_label: expected {declared}, because 0 stands for {first} in the '
            f'maps of {name}, got {found}; leave it out. If your maps number the classes in '
            f'another way, use BaseSegDataset with metainfo=dict(classes=...) instead of {name}'
        )
    first_class = (type(inner).METAINFO.get('classes') or scenario.classes)[0]
    named = first_class.strip().lower() == 'background' or first_class == scenario.background
    if found and declared is None and named:
        raise ValueError(
            f'dataset.reduce_zero_label: expected False, because class 0 of {name} is '
            f'{first_class!r}, which reduce_zero_label=True takes for no class at all, got True; '
            f'leave it out'
        )


def _declared_reduce_zero_label(kind: type[BaseSegDataset]) -> bool | None:
    """Return the default of a class that has its own; None for one that leaves it to mmseg's."""
    for base in kind.__mro__:
        if base is BaseSegDataset:
            break
        if '__init__' in vars(base):
            parameter = inspect.signature(vars(base)['__init__']).parameters.get(_REDUCE)
            if parameter is not None and isinstance(parameter.default, bool):
                return parameter.default
    return None


def _check_paths(inner: BaseSegDataset) -> None:
    for key in ('img_path', 'seg_map_path'):
        if inner.data_prefix.get(key) is None:
            raise ValueError(
                f'dataset: data_prefix has no {key!r}; expected '
                f'data_prefix=dict(img_path=IMAGE_FOLDER, seg_map_path=LABEL_MAP_FOLDER)'
            )
    paths = {
        'ann_file': inner.ann_file,
        "data_prefix['img_path']": inner.data_prefix['img_path'],
        "data_prefix['seg_map_path']": inner.data_prefix['seg_map_path'],
    }
    for key, path in paths.items():
        if path and not fileio.exists(path, backend_args=inner.backend_args):
            raise FileNotFoundError(f'dataset: {path} does not exist; check data_root and {key}')
