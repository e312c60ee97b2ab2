"""A dataset as one step of a continual-learning scenario sees it."""

from __future__ import annotations

import gc
import logging
import os
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

from mmengine.dataset import BaseDataset
from mmengine.logging import print_log
from mmengine.utils import is_abs

from ..palette import distinct_palette
from ..registry import DATASETS, TASK_UTILS
from ..scenario import Scenario, ordered
from .array_cache import CACHE_FOLDER
from .class_index import ClassIndex
from .instance_images import InstanceImages
from .memory import ReplayMemory, StoredImages, cached_memory
from .panoptic_images import PanopticImages
from .semantic_images import SemanticImages

# arguments of the inner dataset that would contradict the wrapper's own
_OWNED = ('pipeline', 'filter_cfg', 'indices', 'test_mode')


class _Source(Protocol):
    """What depends on how a dataset stores its labels: in segments, or in label maps.

    Attributes:
        task: Name of the task that a dataset of the kind is for.
        options: Arguments of ``IncrementalDataset`` that are for the kind alone.
        nothing: What an image without labels is said to hold.
        reads_maps: Whether only the label maps say what classes an image holds.
    """

    task: ClassVar[str]
    options: ClassVar[tuple[str, ...]]
    nothing: ClassVar[str]
    reads_maps: ClassVar[bool]

    @classmethod
    def accepts(cls, inner: type[BaseDataset]) -> bool:
        """Tell whether datasets of a class are of the kind."""

    @classmethod
    def of(
        cls, inner: BaseDataset, scenario: Scenario, options: Mapping[str, Any], *, show_all: bool
    ) -> _Source:
        """Return the source of a lazily built dataset."""

    def load(self, inner: BaseDataset) -> list[dict[str, Any]]:
        """Return what is known of every image, its ``file_name`` included.

        Where there are label maps, ``seg_map_path`` is the one of an image, or None.
        """

    def left_out(self, inner: BaseDataset, images: Sequence[Mapping[str, Any]]) -> list[str]:
        """Return in words which files in the folders of a dataset are not used."""

    def index(self, images: Sequence[Mapping[str, Any]]) -> ClassIndex:
        """Return the classes of each image."""

    def show(
        self, info: Mapping[str, Any], labels: Collection[int] | None = None
    ) -> dict[str, Any]:
        """Return what the pipeline receives of an image: some labels, or those of the step."""


SOURCES: tuple[type[_Source], ...] = (SemanticImages, InstanceImages, PanopticImages)
"""The kinds of datasets, one per task; the first one that accepts a dataset reads it."""


def source_of(inner: type[BaseDataset]) -> type[_Source]:
    """Return the kind of the datasets of a class."""
    return next(kind for kind in SOURCES if kind.accepts(inner))


@DATASETS.register_module()
class IncrementalDataset(BaseDataset):
    """Show one step of a scenario on a panoptic, semantic or instance dataset.

    For training it keeps the images that the scenario's setting gives to the step, and hides the
    labels that the step must not see. For evaluation (``test_mode``) it keeps every image and
    every label. The inner dataset gives the classes, the palette and the paths; its type decides
    what the pipeline receives per image besides ``img_path``, ``img_id`` and, where there are
    files with labels, ``seg_map_path``:

    - panoptic: ``height``, ``width`` and ``segments``, a list of dicts with ``id`` (in the PNG),
      ``label`` (dataset label), ``iscrowd`` and ``visible``. In training, crowds are not visible;
      see :class:`~mmcomformer.datasets.panoptic_images.PanopticImages`.
    - instance, mmdet's ``CocoDataset`` and classes derived from it: ``height``, ``width`` and
      ``segments`` as above, with ``segmentation`` (polygons or run lengths) in place of a PNG; see
      :class:`~mmcomformer.datasets.instance_images.InstanceImages`.
    - semantic, mmseg's ``BaseSegDataset`` and classes derived from it: ``reduce_zero_label``,
      ``label_map``, a dict from each label in the map to its dataset label, or to 255 if it is
      hidden (``hidden_label``, see ``mark_hidden``), and ``seg_fields``, as mmseg's own transforms
      expect them. The background of the scenario is hidden in training. Which classes an image
      holds is read from all label maps at the first start and kept in a file; evaluation does not
      need it.

    With a memory, images of earlier steps follow those of the step. They show what they are stored
    with, never the labels of the step, and their packed samples have the metadata
    ``from_memory=True``. An image that is both in the step and in memory is two
    samples. At step 0 the memory is empty, so that one config serves all steps.

    Built with ``lazy_init=True`` it opens no file, and ``metainfo`` is complete nevertheless: the
    inner dataset's, with ``classes``, ``thing_classes``, ``stuff_classes`` and ``scenario``.

    Args:
        dataset: Config of the inner dataset. It has no pipeline, filter or subset of its own.
        scenario: The scenario with its current step, or its config.
        images: The images to use, if not all of them: file names as in the annotation file or, of
            a semantic dataset, relative to the folder of the images, with their suffix; or the path
            of a text file with one name per line. For training, each has to belong to the step.
        held_out: Share in [0, 1) of the images that training never sees, to choose settings of
            inference by (``tools/test.py --sweep-on train``); with ``test_mode`` those alone are
            used. Which ones they are depends on their names, not on the step. 0 holds out none.
        category_aliases: Class name of each category that the annotation file of a panoptic or
            instance dataset spells differently.
        index_cache: File (``.npz``) that keeps which classes the label maps of a semantic dataset
            hold; by default one in the hidden folder ``.mmcomformer`` of the dataset's
            ``data_root``. A file that cannot be written costs a warning.
        ignore_values: Values in the label maps of a semantic dataset that stand for no class, as
            255 does; ``dataset`` may name them instead.
        mark_hidden: Whether pixels whose class a step of a semantic dataset hides become 254, so
            that a method that labels every pixel can tell them from those that belong to no class
            and from padding; by default they become 255 like these.
        memory: Config of a memory for training, such as
            ``dict(type='ClassProportionalMemory', size=300)``; None shows no image of earlier
            steps. What it chooses is kept in a file beside the data, see
            :mod:`~mmcomformer.datasets.memory`.
        pipeline: Transforms.
        test_mode: Whether the dataset is for evaluation.
        lazy_init: Whether to put off reading the annotations.
        serialize_data: Whether to keep the annotations serialised, to share them among workers.
        max_refetch: How many other images to try if the pipeline gives None for one.
        indices: Subset of the step's images (not of all images): the first ``indices``, or those
            at these positions.

    Raises:
        TypeError: If the scenario is missing or malformed, or so is the memory.
        ValueError: If the classes of scenario and dataset differ; an argument does not fit the
            kind of the dataset; an annotation is wrong (the message names file and value); the
            step has no image; an image of ``images`` is unknown, repeated or not one of the
            step's; or the memory has no sense here, or is larger than step 0.
        FileNotFoundError: If a file does not exist.
    """

    def __init__(
        self,
        dataset: Mapping[str, Any],
        scenario: Scenario | Mapping[str, Any] | None = None,
        *,
        images: Sequence[str] | str | None = None,
        held_out: float = 0.0,
        category_aliases: Mapping[str, str] | None = None,
        index_cache: str | None = None,
        ignore_values: Sequence[int] | None = None,
        mark_hidden: bool = False,
        memory: Mapping[str, Any] | None = None,
        pipeline: Sequence[dict[str, Any] | Callable] = (),
        test_mode: bool = False,
        lazy_init: bool = False,
        serialize_data: bool = True,
        max_refetch: int = 1000,
        indices: int | Sequence[int] | None = None,
    ) -> None:
        self.scenario = Scenario.from_config(scenario)
        self.images = images
        number = isinstance(held_out, (int, float)) and not isinstance(held_out, bool)
        if not number or not 0 <= held_out < 1:
            raise ValueError(f'held_out: expected a share from 0 to below 1, got {held_out!r}')
        self.held_out = held_out
        self._labels_of: dict[tuple[str, bool], list[int]] | None = None
        self.inner_config = _check_inner_config(dataset)
        self.memory = _build_memory(memory)
        if self.memory is not None:
            unfit = {'images': images, 'indices': indices, 'test_mode': test_mode}
            _check_memory_fits(self.scenario, unfit)
        self._num_from_memory = 0
        super().__init__(
            data_prefix={},
            indices=indices,
            serialize_data=serialize_data,
            pipeline=list(pipeline),
            test_mode=test_mode,
            lazy_init=True,
            max_refetch=max_refetch,
        )
        _check_pipeline(self.pipeline.transforms)
        inner = self.build_inner()
        metainfo = inner.metainfo
        _check_classes(self.scenario, metainfo, type_name=str(dataset['type']))
        self.source = self._choose_source(
            inner,
            category_aliases=category_aliases,
            index_cache=index_cache,
            ignore_values=ignore_values or _ignored_by(dataset),
            mark_hidden=mark_hidden,
        )
        self._metainfo = {
            **metainfo,
            'classes': self.scenario.classes,
            'thing_classes': self.scenario.thing_classes,
            'stuff_classes': self.scenario.stuff_classes,
            'palette': distinct_palette(metainfo.get('palette'), self.scenario.num_classes),
            'scenario': self.scenario.to_dict(),
        }
        if not lazy_init:
            self.full_init()

    def full_init(self) -> None:
        """Read the annotations and keep those of the step."""
        with _paused_collector():
            super().full_init()

    def build_inner(self) -> BaseDataset:
        """Build the inner dataset, without reading its annotations.

        Raises:
            ValueError: If its class refuses its arguments.
        """
        config = dict(
            self.inner_config,
            pipeline=[],
            filter_cfg=None,
            test_mode=True,
            lazy_init=True,
            serialize_data=False,
        )
        try:
            return DATASETS.build(config)
        except AssertionError as error:
            # mmseg's PascalVOCDataset, among others, looks for its files at once, and says nothing
            raise ValueError(
                f'dataset: {config["type"]} cannot be built ({error or "an assertion failed"}); '
                f'expected metainfo with classes unless its type has them, and that the files '
                f'exist: data_root {config.get("data_root")}, ann_file {config.get("ann_file")}, '
                f'data_prefix {config.get("data_prefix")}'
            ) from error

    def _choose_source(self, inner: BaseDataset, **options: Any) -> _Source:
        kind = source_of(type(inner))
        for key, value in options.items():
            if value and key not in kind.options:
                raise ValueError(
                    f'{key}: expected None, because {type(inner).__name__} is a dataset for '
                    f'{kind.task} segmentation, got {value!r}'
                )
        own = {key: options[key] for key in kind.options}
        return kind.of(inner, self.scenario, own, show_all=self.test_mode)

    def load_data_list(self) -> list[dict[str, Any]]:
        """Return what the annotations say about every image, what is hidden included."""
        # built for this call only, so that its data are freed afterwards
        inner = self.build_inner()
        images = self.source.load(inner)
        for message in self.source.left_out(inner, images):
            print_log(message, logger='current', level=logging.WARNING)
        return images

    def filter_data(self) -> list[dict[str, Any]]:
        """Return the images of the step as the pipeline receives them."""
        data_list, num_images = self.data_list, len(self.data_list)
        if self.images is not None:
            data_list = _select_images(data_list, self.images)
        if self.held_out:
            data_list = [
                info
                for info in data_list
                if _is_held_out(info['file_name'], self.held_out) == self.test_mode
            ]
            if not data_list:
                raise ValueError(
                    f'held_out: {self.held_out} of {num_images} images leaves none; expected a '
                    f'larger or smaller share, or 0'
                )
        stored: list[dict[str, Any]] = []
        if self.test_mode:
            _check_annotated(data_list)
            self._warn_without_truth(data_list)
        else:
            index = self.source.index(data_list)
            stored = self._show_memory(data_list, index)
            data_list = self._select_step(data_list, index)
        self._num_from_memory = len(stored)
        self._log_counts(len(data_list), num_images)
        return [*map(self.source.show, data_list), *stored]

    def _show_memory(
        self, images: Sequence[dict[str, Any]], index: ClassIndex
    ) -> list[dict[str, Any]]:
        """Return what the pipeline receives of the images in memory."""
        stored = self._memory_of(images, index)
        return [
            {**self.source.show(images[image], stored.labels(position)), 'from_memory': True}
            for position, image in enumerate(stored.images.tolist())
        ]

    def _memory_of(self, images: Sequence[dict[str, Any]], index: ClassIndex) -> StoredImages:
        if self.memory is None or not images:
            return StoredImages.none(self.scenario.num_classes)
        folder = self._cache_folder(images[0]['img_path'])
        return cached_memory(self.memory, index, _names(images), self.scenario, folder)

    def _cache_folder(self, img_path: str) -> Path | None:
        root = self.inner_config.get('data_root') or os.path.dirname(img_path) or os.curdir
        return None if '://' in root else Path(root) / CACHE_FOLDER

    def _select_step(
        self, data_list: list[dict[str, Any]], index: ClassIndex
    ) -> list[dict[str, Any]]:
        kept = index.kept_images(self.scenario, _names(data_list))
        if self.images is not None and not kept.all():
            position = int(kept.argmin())
            names = [self.scenario.classes[label] for label in index[position]]
            raise ValueError(
                f'images: {data_list[position]["file_name"]} does not belong to step '
                f'{self.scenario.step} in the {self.scenario.setting} setting: it holds '
                f'{names or self.source.nothing}, and the step teaches '
                f'{list(self.scenario.current_classes)}; remove it from the list'
            )
        if not kept.any():
            crowds = _count_segments(data_list, self.scenario.current_labels, crowds=True)
            note = f' (there are {crowds} crowds of them, which are not learned)' if crowds else ''
            raise ValueError(
                f'step {self.scenario.step} ({self.scenario.setting}) has no training image: none '
                f'of {len(data_list)} images fits its classes '
                f'{list(self.scenario.current_classes)}{note}; check the annotations, the '
                f'increments and the setting'
            )
        return [info for info, keep in zip(data_list, kept, strict=True) if keep]

    def _warn_without_truth(self, data_list: Sequence[dict[str, Any]]) -> None:
        """Tell that nothing can be scored, where annotations say so; label maps are not opened."""
        seen = self.scenario.seen_labels
        if self.source.reads_maps or _count_segments(data_list, seen, crowds=False):
            return
        crowds = _count_segments(data_list, seen, crowds=True)
        note = f' (there are {crowds} crowds of them, which are not scored)' if crowds else ''
        print_log(
            f'{self._origin()}: none of {len(data_list)} images to evaluate on shows one of the '
            f'{self.scenario.num_seen} classes seen up to step {self.scenario.step}{note}, so '
            f'that the metrics have nothing to find; check the annotations',
            logger='current',
            level=logging.WARNING,
        )

    def _origin(self) -> str:
        """Return the annotation file, or the type of a dataset without one."""
        root, path = (self.inner_config.get(key) or '' for key in ('data_root', 'ann_file'))
        return os.path.join('' if is_abs(path) else root, path) if path else self._type_name()

    def _type_name(self) -> str:
        kind = self.inner_config['type']
        return kind if isinstance(kind, str) else kind.__name__

    def _log_counts(self, num_kept: int, num_images: int) -> None:
        scenario = self.scenario
        if self.test_mode:
            purpose = f'{scenario.num_seen} classes seen so far'
        else:
            names = ', '.join(scenario.current_classes)
            shown = names if len(names) <= 200 else f'{names[:200]}...'
            purpose = f'{len(scenario.current_classes)} classes to learn: {shown}'
        replayed = '' if self.memory is None else f' and {self._num_from_memory} from memory'
        print_log(
            f'step {scenario.step} ({"evaluation" if self.test_mode else scenario.setting}): '
            f'{num_kept} of {num_images} images{replayed}, {purpose}',
            logger='current',
        )

    def in_full(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Return what the pipeline would receive of some images if the step hid no class.

        Crowds stay hidden, as in training. It is for a diagnosis of the step, never for training.

        Args:
            indices: Positions in this dataset.
        """
        source: Any = self.source
        everything = replace(source, show_all=True)
        by_path = {info['img_path']: info for info in self.load_data_list()}
        infos = [everything.show(by_path[self.get_data_info(i)['img_path']]) for i in indices]
        for info in infos:
            for segment in info.get('segments', ()):
                segment['visible'] = not segment['iscrowd']
        return infos

    @property
    def num_from_memory(self) -> int:
        """How many of the samples, the last ones, are images from memory."""
        self.full_init()
        return self._num_from_memory

    def get_cat_ids(self, idx: int) -> list[int]:
        """Return the labels of an image that the step or the memory shows, ascending.

        mmengine's ``ClassBalancedDataset`` and mmdet's samplers ask for them.
        """
        if self._labels_of is None:
            self._labels_of = self._find_labels()
        info = self.get_data_info(idx)
        return self._labels_of[info['img_path'], 'from_memory' in info]

    def _find_labels(self) -> dict[tuple[str, bool], list[int]]:
        """Return the labels of each image by its path, as the step and as the memory shows it."""
        images = self.load_data_list()
        index = self.source.index(images)
        stored = self._memory_of(images, index)
        found = {
            (info['img_path'], False): list(filter(self.scenario.shows_label, index[i].tolist()))
            for i, info in enumerate(images)
        }
        for position, i in enumerate(stored.images.tolist()):
            labels = stored.labels(position).intersection(index[i].tolist())
            found[images[i]['img_path'], True] = sorted(labels)
        return found

    def prepare_data(self, idx: int) -> Any:
        """Return an image after the pipeline.

        Raises:
            FileNotFoundError: If the image or the PNG with its labels does not exist.
            RuntimeError: If a transform of another library fails, or one whose message names
                neither the image nor its PNG.
        """
        info = self.get_data_info(idx)
        # the pipeline changes the dict
        paths = [info['img_path'], info.get('seg_map_path')]
        from_memory = info.get('from_memory', False)
        try:
            packed = self.pipeline(info)
        except Exception as error:
            # files opened by other libraries and their assertions
            foreign = isinstance(error, AssertionError) or getattr(error, 'filename', None)
            if not foreign and any(path is not None and path in str(error) for path in paths):
                raise
            kind = FileNotFoundError if isinstance(error, FileNotFoundError) else RuntimeError
            raise kind(
                f'image {paths[0]} could not be read or transformed: '
                f'{type(error).__name__}: {error}'
            ) from error
        # here, so that it holds with every packing transform and all its keys
        if from_memory and isinstance(packed, dict) and 'data_samples' in packed:
            packed['data_samples'].set_metainfo({'from_memory': True})
        return packed


@contextmanager
def _paused_collector() -> Iterator[None]:
    """Keep the garbage collector from walking a million new dicts again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _check_inner_config(config: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(config, Mapping) or 'type' not in config:
        raise TypeError(f'dataset: expected the config of a dataset with a type, got {config!r}')
    kind = DATASETS.get(config['type']) if isinstance(config['type'], str) else config['type']
    if isinstance(kind, type) and not issubclass(kind, BaseDataset):
        raise TypeError(
            f'dataset: {config["type"]} is no dataset of its own but a wrapper around one; put '
            f"IncrementalDataset inside: dict(type='{config['type']}', ..., "
            f"dict(type='IncrementalDataset', dataset=..., scenario=scenario))"
        )
    owned = [key for key in _OWNED if config.get(key)]
    if owned:
        raise ValueError(
            f'dataset: {owned} have to be left out, because IncrementalDataset chooses the images '
            f'and owns the pipeline; give it pipeline, test_mode, images or indices instead'
        )
    return {key: value for key, value in config.items() if key not in (*_OWNED, 'ignore_values')}


def _build_memory(config: Mapping[str, Any] | None) -> ReplayMemory | None:
    if config is None:
        return None
    if not isinstance(config, Mapping) or 'type' not in config:
        raise TypeError(
            f"memory: expected a dict such as dict(type='ClassProportionalMemory', size=300), or "
            f'None, got {config!r}'
        )
    memory = TASK_UTILS.build(dict(config))
    if not isinstance(memory, ReplayMemory):
        raise TypeError(f'memory.type: expected a ReplayMemory, got {config["type"]!r}')
    return memory


def _check_memory_fits(scenario: Scenario, options: Mapping[str, Any]) -> None:
    """Refuse a memory where no image could come from, or where none may be added."""
    if options['test_mode']:
        raise ValueError(
            'memory: expected None, because the dataset is for evaluation (test_mode=True); give '
            'the memory to train_dataloader.dataset alone'
        )
    if scenario.num_steps == 1:
        raise ValueError(
            f'memory: expected None, because the scenario has a single step, {scenario.increments}:'
            f' there is no earlier one to store images of; leave memory out'
        )
    for key in ('images', 'indices'):
        if options[key] is not None:
            raise ValueError(
                f'memory: expected None beside {key}, which says for one step only what images it '
                f'has, so that those of the steps before are not known; leave one of them out'
            )


def _names(images: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of images, the same on every platform."""
    return [info['file_name'].replace(os.sep, '/') for info in images]


def _ignored_by(config: Mapping[str, Any]) -> Any:
    """Return ``ignore_values`` of an inner dataset's config, which several wrappers can share."""
    return config.get('ignore_values')


def _check_pipeline(transforms: Sequence[Any]) -> None:
    for transform in transforms:
        if getattr(transform, 'ignore_empty', False):
            raise ValueError(
                f'pipeline: {type(transform).__name__}(ignore_empty=True) would silently replace '
                f'images that cannot be read; leave ignore_empty out'
            )


def _check_classes(scenario: Scenario, metainfo: Mapping[str, Any], *, type_name: str) -> None:
    """Check that scenario and dataset agree on the names of the classes and their order."""
    for key, expected in (
        ('classes', scenario.classes),
        ('thing_classes', scenario.thing_classes),
        ('stuff_classes', scenario.stuff_classes),
    ):
        found = metainfo.get(key)
        if found is None and key != 'classes':
            continue
        found = tuple(ordered(f'dataset: metainfo {key}', found or (), 'a list of class names'))
        if found == tuple(expected):
            continue
        only_scenario = [name for name in expected if name not in found]
        only_dataset = [name for name in found if name not in expected]
        if only_scenario or only_dataset:
            difference = (
                f'only the scenario has {only_scenario}, only the dataset has {only_dataset}'
            )
        else:
            pairs = zip(expected, found, strict=True)
            label, pair = next((i, pair) for i, pair in enumerate(pairs) if pair[0] != pair[1])
            difference = (
                f'the names are the same in another order: class {label} is {pair[0]!r} in the '
                f'scenario and {pair[1]!r} in the dataset'
            )
        raise ValueError(
            f'scenario: its {key} differ from those of {type_name}: {difference}; list '
            f'thing_classes and stuff_classes as the dataset does (the learning order belongs '
            f'in class_order)'
        )


def _select_images(
    data_list: list[dict[str, Any]], images: Sequence[str] | str
) -> list[dict[str, Any]]:
    """Return the named images, in the order of the list."""
    if isinstance(images, str):
        if not os.path.isfile(images):
            raise FileNotFoundError(
                f'images: {images} does not exist; expected a text file with one image name per '
                f'line, or a list of names'
            )
        with open(images, encoding='utf-8-sig') as file:
            images = [line.strip() for line in file if line.strip()]
    images = ordered('images', images, 'a list of image names, or the path of a text file')
    by_name = {info['file_name']: info for info in data_list}
    unknown = [name for name in images if name not in by_name]
    if unknown:
        raise ValueError(
            f'images: {unknown[:10]} are not in the annotations; expected file names such as '
            f'{next(iter(by_name), None)!r}'
        )
    if len(set(images)) != len(images):
        repeated = sorted({name for name in images if list(images).count(name) > 1})
        raise ValueError(f'images: {repeated[:10]} are listed more than once')
    return [by_name[name] for name in images]


def _is_held_out(file_name: str, share: float) -> bool:
    """Tell whether an image is one of a share of all, which its name alone decides."""
    return zlib.crc32(file_name.encode()) < share * 2**32


def _count_segments(
    images: Sequence[Mapping[str, Any]], labels: Collection[int], *, crowds: bool
) -> int:
    """Count the crowds of some labels, or their other segments."""
    return sum(
        segment['iscrowd'] == crowds and segment['label'] in labels
        for info in images
        for segment in info.get('segments', ())
    )


def _check_annotated(data_list: list[dict[str, Any]]) -> None:
    missing = [info['file_name'] for info in data_list if info.get('seg_map_path', '') is None]
    if missing:
        raise ValueError(
            f'{len(missing)} images to evaluate on have no annotation, such as {missing[0]}; add '
            f'annotations, or remove the images from the annotation file'
        )
    if not data_list:
        raise ValueError('there is no image to evaluate on; check the annotation file')
