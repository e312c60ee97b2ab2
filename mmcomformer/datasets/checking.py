"""What the data of a scenario hold, and everything in them that training would stumble over."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from mmengine.logging import MMLogger

from ..registry import DATASETS
from ..scenario import Scenario
from .check_report import DatasetReport
from .class_index import ClassIndex
from .file_checks import (
    Finding,
    ImageFiles,
    ImageReport,
    InstanceFiles,
    LabelledImage,
    check_files,
    check_labelled_image,
)
from .incremental_dataset import IncrementalDataset
from .instance_images import InstanceImages
from .json_types import read_json
from .label_maps import IGNORE_LABEL, lookup_table
from .panoptic_images import is_coco_panoptic
from .parallel import parallel
from .semantic_images import SemanticImages
from .transforms import LoadPanopticIdMap

Images = list[dict[str, Any]]
Areas = Mapping[tuple[Any, int], int]
"""Area of each segment, by image id and segment id."""
Reports = Mapping[str, ImageReport]
"""What was found in the files of each image, by the path of its picture."""

_NEEDS_PICTURE = 'sizes differ'
"""Kind of the findings in a label map that only loading it with its picture shows."""


@dataclass(frozen=True)
class _Part:
    """The images that one step is trained on, or that one set evaluates."""

    dataset: IncrementalDataset
    images: Images
    areas: Areas
    reports: Reports | None
    """What has been found in the files of a set with label maps; None of a panoptic one."""

    @property
    def ann_file(self) -> str:
        """Path of the annotation file, empty for a dataset without one."""
        return _ann_file(self.dataset)

    def files(self) -> list[ImageFiles] | list[InstanceFiles]:
        """Return what has to be opened for each image."""
        if isinstance(self.dataset.source, InstanceImages):
            backend_args = self.dataset.inner_config.get('backend_args')
            return [_instance_files(info, backend_args) for info in self.images]
        loaders = [t for t in self.dataset.pipeline.transforms if isinstance(t, LoadPanopticIdMap)]
        allow_empty = any(loader.allow_empty_segments for loader in loaders)
        backend_args = self.dataset.inner_config.get('backend_args')
        return [
            _files_of(info, self.areas, allow_empty=allow_empty, backend_args=backend_args)
            for info in self.images
        ]


def check_scenario(
    train: Sequence[Mapping[str, Any]],
    evaluation: Mapping[str, Mapping[str, Any]],
    *,
    workers: int | None = None,
) -> DatasetReport:
    """Check the data of all steps of a scenario.

    An annotation file is read once, however many steps use it, and so is each picture and PNG.

    Args:
        train: Config of the training ``IncrementalDataset`` of each step.
        evaluation: Config of the dataset for evaluation, by split.
        workers: Number of processes that read files; None for one per core.
    """
    report = DatasetReport()
    reader = _Reader(report, workers)
    with _quiet():
        steps = [part for config in train if (part := reader.read(config, 'train')) is not None]
        others = {split: reader.read(config, split) for split, config in evaluation.items()}
    trained = _check_training(report, steps, reader)
    for split, part in others.items():
        if part is None:
            continue
        reports = reader.read_files([part], split)
        _describe_evaluation(report, split, part, list(reports.values()))
        _compare(report, trained, _Pictures.of(reports), split)
    return report


class _Reader:
    """Reads annotation files and label maps, each of them once."""

    def __init__(self, report: DatasetReport, workers: int | None) -> None:
        self._report = report
        self._workers = workers
        self._known: dict[str, tuple[Images, Areas, Reports | None] | None] = {}
        self._added: set[Finding] = set()

    def read(self, config: Mapping[str, Any], split: str) -> _Part | None:
        """Return the images of a step or a set; None after a fault in the annotations."""
        dataset: IncrementalDataset = DATASETS.build({**config, 'lazy_init': True})
        known = self._annotations(dataset, config, split)
        if known is None:
            return None
        images, areas, reports = known
        part = _Part(dataset, [], areas, reports)
        dataset.data_list = images
        if reports is not None:
            dataset.source = _KnownLabels(dataset.source, reports, self._add_once)
        try:
            part.images.extend(dataset.filter_data())
        except (ValueError, FileNotFoundError) as error:
            kind = 'images to evaluate on' if dataset.test_mode else 'images of a step'
            # a memory that is too large is so at every step
            self._add_once([Finding(kind, part.ann_file, str(error), is_fault=True)])
        if reports is not None:
            for info in part.images:
                self._add_once(reports[info['img_path']].findings)
        return part

    def _add_once(self, findings: Iterable[Finding]) -> None:
        """Add findings, each once, however many steps open its file."""
        for finding in findings:
            if finding not in self._added:
                self._added.add(finding)
                self._report.findings.append(finding)

    def _annotations(
        self, dataset: IncrementalDataset, config: Mapping[str, Any], split: str
    ) -> tuple[Images, Areas, Reports | None] | None:
        key = repr((config['dataset'], config.get('ignore_values')))
        if key not in self._known:
            try:
                images, areas = self._load(dataset), _read_areas(dataset)
                reports = (
                    self._read_maps(dataset, images, split) if dataset.source.reads_maps else None
                )
                self._known[key] = images, areas, reports
            except (ValueError, TypeError, OSError) as error:
                self._known[key] = None
                self._report.add('annotation file', _ann_file(dataset), error)
        return self._known[key]

    def _load(self, dataset: IncrementalDataset) -> Images:
        """Return what the annotations say, and add what the folders hold besides."""
        inner = dataset.build_inner()
        images = dataset.source.load(inner)
        for message in dataset.source.left_out(inner, images):
            self._report.add('files left out', _ann_file(dataset), message, is_fault=False)
        if isinstance(dataset.source, InstanceImages):
            for message in _doubt_ids(images):
                self._report.add('annotation ids', _ann_file(dataset), message, is_fault=False)
        return images

    def _read_maps(self, dataset: IncrementalDataset, images: Images, split: str) -> Reports:
        """Read the pictures and label maps of a whole set, which say what images a step has.

        What is wrong with them is not added yet, because training may open only some of them.
        """
        source: Any = dataset.source
        table = lookup_table(source.inner_label_map, reduce_zero_label=source.reduce_zero_label)
        backend_args = dataset.inner_config.get('backend_args')
        files = [
            LabelledImage(info['img_path'], info['seg_map_path'], table, backend_args)
            for info in images
        ]
        reports = self._read(check_labelled_image, files, split)
        message = _doubt_convention(reports, table, dataset)
        if message:
            self._report.add('reduce_zero_label', _ann_file(dataset), message, is_fault=False)
        message = _palettes_differ(files, reports)
        if message:
            self._report.add('palettes differ', _ann_file(dataset), message, is_fault=False)
        return {file.img_path: report for file, report in zip(files, reports, strict=True)}

    def _read(self, check: Callable[[Any], ImageReport], files: Any, split: str) -> Any:
        title = f'reading {split}'
        return list(parallel(check, files, workers=self._workers, title=title)) if files else []

    def read_files(self, parts: Sequence[_Part], split: str) -> Reports:
        """Return what the files of the images of some steps hold; each is read once."""
        known: dict[str, ImageReport] = {}
        files: dict[str, ImageFiles | InstanceFiles] = {}
        for part in parts:
            if part.reports is None:
                for of_image in part.files():
                    files.setdefault(of_image.img_path, of_image)
            else:
                known.update(
                    {info['img_path']: part.reports[info['img_path']] for info in part.images}
                )
        read = self._read(check_files, list(files.values()), split)
        for of_image in read:
            self._report.findings.extend(of_image.findings)
        return {**known, **dict(zip(files, read, strict=True))}


class _KnownLabels(SemanticImages):
    """The images of a semantic dataset whose label maps have been read already.

    What a map holds is told as a panoptic annotation is: each label in it is one segment. What is
    wrong with the maps is told when training would read them, which is when they are indexed.
    """

    def __init__(
        self, source: Any, reports: Reports, tell: Callable[[Iterable[Finding]], None]
    ) -> None:
        super().__init__(**{field.name: getattr(source, field.name) for field in fields(source)})
        self._reports = reports
        self._tell = tell

    def index(self, images: Sequence[Mapping[str, Any]]) -> ClassIndex:
        """Return the classes of each image."""
        for info in images:
            self._tell(_map_findings(info, self._reports[info['img_path']]))
        return ClassIndex.from_segments(
            (self._segments(info) for info in images), num_classes=self.scenario.num_classes
        )

    def show(
        self, info: Mapping[str, Any], labels: Collection[int] | None = None
    ) -> dict[str, Any]:
        """Return what the pipeline receives of an image, and its segments."""
        return {**super().show(info, labels), 'segments': self._segments(info, labels)}

    def _segments(
        self, info: Mapping[str, Any], labels: Collection[int] | None = None
    ) -> list[dict[str, Any]]:
        shows = self.scenario.shows_label if labels is None else labels.__contains__
        return [
            {'label': label, 'iscrowd': False, 'visible': self.show_all or shows(label)}
            for label in self._reports[info['img_path']].labels
        ]


def _map_findings(info: Mapping[str, Any], report: ImageReport) -> list[Finding]:
    """Return what is wrong with a label map alone, whatever its picture is like."""
    return [
        finding
        for finding in report.findings
        if finding.file == info['seg_map_path'] and finding.kind != _NEEDS_PICTURE
    ]


def _doubt_ids(images: Images) -> Iterator[str]:
    """Yield why pycocotools would find other numbers than ours on the file, which needs no ids."""
    ids = [segment['id'] for info in images for segment in info['segments']]
    known = [id_ for id_ in ids if id_ is not None]
    repeated = len(known) - len(set(known))
    for count, what, consequence in (
        (ids.count(0), 'the id 0', 'with which pycocotools counts a match as none'),
        (repeated, 'the id of another one', 'in whose place pycocotools takes the last one'),
        (len(ids) - len(known), 'no id', 'without which pycocotools cannot read the file'),
    ):
        if count:
            yield (
                f'{count} of {len(ids)} annotations have {what}, {consequence}; number them from 1 '
                f'to compare with it'
            )


def _doubt_convention(
    reports: Sequence[ImageReport], table: np.ndarray, dataset: IncrementalDataset
) -> str:
    """Return what makes ``reduce_zero_label`` look wrong, empty if nothing does."""
    values = {value for report in reports for value in report.values}
    known = np.flatnonzero((table >= 0) & (table < IGNORE_LABEL)).tolist()
    if not values & set(known):
        return ''
    first, last = known[0], known[-1]
    classes = dataset.scenario.classes
    if first == 0 and 0 not in values:
        return (
            f'no label map holds 0, which is {classes[table[0]]!r}; if 0 stands for no class in '
            f'your maps and 1 for the first one, set reduce_zero_label=True'
        )
    if first == 1 and 0 in values and last not in values:
        return (
            f'no label map holds {last}, which is {classes[table[last]]!r}, but some hold 0, which '
            f'is no class; if 0 is the first class in your maps, set reduce_zero_label=False'
        )
    return ''


def _palettes_differ(files: Sequence[LabelledImage], reports: Sequence[ImageReport]) -> str:
    """Return where one value has two colours, empty if nowhere.

    A program that makes a palette for each file gives a class another index in each of them.
    """
    first: dict[int, tuple[tuple[int, ...], str]] = {}
    others = 0
    example = ''
    for file, report in zip(files, reports, strict=True):
        known = [first.setdefault(v, (c, file.seg_map_path)) for v, c in report.colours.items()]
        pairs = zip(report.colours.items(), known, strict=True)
        differing = [(v, c, k) for (v, c), k in pairs if c != k[0]]
        others += bool(differing)
        if differing and not example:
            value, colour, (before, path) = differing[0]
            example = f'{value} is {before} in {path} and {colour} in {file.seg_map_path}'
    if not others:
        return ''
    return (
        f'{others} label maps have another colour for a value than those before: {example}; if '
        f'each has a palette of its own, their values are no labels: save them anew, in one '
        f'channel of class numbers'
    )


def _ann_file(dataset: IncrementalDataset) -> str:
    inner = dataset.inner_config
    return str(
        inner.get('ann_file') or (inner.get('data_root') if dataset.source.reads_maps else '') or ''
    )


def _read_areas(dataset: IncrementalDataset) -> Areas:
    """Return what only a check needs of a COCO panoptic file, so that datasets do not keep it."""
    inner = dataset.build_inner()
    if not is_coco_panoptic(inner):
        return {}
    content = read_json(inner.ann_file, backend_args=inner.backend_args)
    return {
        (annotation['image_id'], segment['id']): segment['area']
        for annotation in content['annotations']
        for segment in annotation['segments_info']
        if 'area' in segment
    }


def _files_of(info: dict[str, Any], areas: Areas, **options: Any) -> ImageFiles:
    height, width = info.get('height'), info.get('width')
    ids = tuple(segment['id'] for segment in info['segments'])
    return ImageFiles(
        img_path=info['img_path'],
        seg_map_path=info['seg_map_path'],
        size=None if height is None or width is None else (height, width),
        segment_ids=ids,
        areas=tuple(areas.get((info['img_id'], segment_id)) for segment_id in ids),
        **options,
    )


def _instance_files(info: dict[str, Any], backend_args: Any) -> InstanceFiles:
    return InstanceFiles(
        img_path=info['img_path'],
        size=(info['height'], info['width']),
        masks=tuple(segment['segmentation'] for segment in info['segments']),
        ids=tuple(segment['id'] for segment in info['segments']),
        backend_args=backend_args,
    )


@dataclass(frozen=True)
class _Pictures:
    """Paths of pictures by their hash, and their names."""

    by_digest: dict[str, str]
    names: set[str]

    @classmethod
    def of(cls, reports: Reports) -> _Pictures:
        """Collect the pictures of a set from what was found in its files."""
        by_digest = {report.digest: path for path, report in reports.items() if report.digest}
        return cls(by_digest, {path.replace('\\', '/').split('/')[-1] for path in reports})


def _check_training(report: DatasetReport, steps: Sequence[_Part], reader: _Reader) -> _Pictures:
    infos: dict[str, dict[str, Any]] = {}
    for part in steps:
        for info in part.images:
            infos.setdefault(info['img_path'], info)
    if not infos:
        return _Pictures({}, set())
    reports = reader.read_files(steps, 'train')
    whole = [(info, reports[path]) for path, info in infos.items()]
    report.datasets['train'] = _count(whole, steps[0].dataset.scenario, visible_only=False)
    for part in steps:
        _describe_step(report, part, [reports[info['img_path']] for info in part.images])
    return _Pictures.of(reports)


def _describe_step(report: DatasetReport, part: _Part, reports: Sequence[ImageReport]) -> None:
    scenario = part.dataset.scenario
    found = list(zip(part.images, reports, strict=True))
    counts = _count([pair for pair in found if not _is_stored(pair[0])], scenario)
    names = [
        name for label, name in zip(scenario.learning_to_label, scenario.order, strict=True)
        if scenario.shows_label(label)
    ]  # fmt: skip
    empty = [name for name in scenario.current_classes if not counts['classes'][name]['images']]
    if empty and part.images:
        message = (
            f'step {scenario.step} teaches {_some(empty)}, but no image of the step shows them; '
            f'they cannot be learned, and their scores will be 0'
        )
        report.add('class without images', part.ann_file, message, is_fault=False)
    hidden = _without_pixels(found, counts, scenario.current_classes)
    if hidden:
        message = (
            f'step {scenario.step} teaches {_some(hidden)}, but none of their segments has a '
            f'pixel; they cannot be learned: check their masks, and the sizes of the images'
        )
        report.add('class without pixels', part.ann_file, message)
    report.steps.append(
        {
            'step': scenario.step,
            'setting': scenario.setting,
            **counts,
            'classes': {name: counts['classes'][name] for name in names},
            'classes_without_images': empty,
            'memory': _describe_memory([pair for pair in found if _is_stored(pair[0])], part),
        }
    )


def _without_pixels(
    found: Sequence[_Found], counts: Mapping[str, Any], names: Sequence[str]
) -> list[str]:
    """Return the classes that have segments, none with a pixel, in files that could be read."""
    unread = {
        segment['label']
        for info, report in found
        if any(finding.is_fault for finding in report.findings)
        for segment in info['segments']
    }
    classes = list(counts['classes'])
    return [
        name
        for name in names
        if counts['classes'][name]['segments'] and not counts['classes'][name]['pixels']
        if classes.index(name) not in unread
    ]


def _is_stored(info: Mapping[str, Any]) -> bool:
    return 'from_memory' in info


def _describe_memory(found: Sequence[_Found], part: _Part) -> dict[str, Any] | None:
    """Return what a step sees of earlier steps; None without a memory."""
    if part.dataset.memory is None:
        return None
    scenario = part.dataset.scenario
    counts = _count(found, scenario)
    classes = {name: counts['classes'][name] for name in scenario.old_classes}
    return {**counts, 'classes': classes}


def _describe_evaluation(
    report: DatasetReport, split: str, part: _Part, reports: Sequence[ImageReport]
) -> None:
    scenario = part.dataset.scenario
    found = list(zip(part.images, reports, strict=True))
    counts = _count(found, scenario, visible_only=False)
    report.datasets[split] = counts
    empty = [name for name in scenario.order if not counts['classes'][name]['images']]
    empty += _without_pixels(found, counts, scenario.order)
    if empty and part.images:
        crowds = sum(counts['classes'][name]['crowds'] for name in empty)
        note = f' (crowds, which are not scored: {crowds})' if crowds else ''
        message = f'no image of {split} shows {_some(empty)}{note}; they cannot be scored'
        report.add('class without images', part.ann_file, message, is_fault=False)


_Found = tuple[Mapping[str, Any], ImageReport]
"""An image, and what was found in its files."""


def _count(
    found: Sequence[_Found], scenario: Scenario, *, visible_only: bool = True
) -> dict[str, Any]:
    """Count segments and pixels, crowds apart from the rest."""
    classes = scenario.classes
    counts = {name: {'images': 0, 'segments': 0, 'pixels': 0, 'crowds': 0} for name in classes}
    for info, report in found:
        pixels = report.pixels or (0,) * len(info['segments'])
        shown: set[str] = set()
        for segment, area in zip(info['segments'], pixels, strict=True):
            of_class = counts[classes[segment['label']]]
            if segment['iscrowd']:
                of_class['crowds'] += 1
            elif segment['visible'] or not visible_only:
                shown.add(classes[segment['label']])
                of_class['segments'] += 1
                of_class['pixels'] += area
        for name in shown:
            counts[name]['images'] += 1
    sizes = [report.size for _, report in found if report.size is not None]
    return {
        'images': len(found),
        'segments': sum(of_class['segments'] for of_class in counts.values()),
        'crowds': sum(of_class['crowds'] for of_class in counts.values()),
        'images_without_segments': sum(not info['segments'] for info, _ in found),
        'smallest_size': min(sizes, key=_pixels, default=None),
        'largest_size': max(sizes, key=_pixels, default=None),
        'classes': counts,
    }


def _pixels(size: tuple[int, int]) -> int:
    return size[0] * size[1]


def _compare(report: DatasetReport, trained: _Pictures, evaluated: _Pictures, split: str) -> None:
    for digest in sorted(trained.by_digest.keys() & evaluated.by_digest.keys()):
        message = f'the same picture is in training, as {trained.by_digest[digest]}'
        kind = f'picture in training and in {split}'
        report.add(kind, evaluated.by_digest[digest], message, is_fault=False)
    report.same_names = max(report.same_names, len(trained.names & evaluated.names))


def _some(names: Sequence[str], limit: int = 8) -> str:
    rest = len(names) - limit
    return ', '.join(names[:limit]) + (f' and {rest} more' if rest > 0 else '')


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back the lines that datasets log when they choose their images."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
