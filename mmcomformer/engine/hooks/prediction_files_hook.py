"""Hook that writes the predictions of a test as files that other programs read."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import numpy as np
from mmengine.dist import all_gather_object, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ...datasets.coco_masks import encode_mask, mask_box
from ...datasets.instance_annotations import EXPECTED, SECTIONS
from ...datasets.json_types import read_sections
from ...datasets.label_maps import IGNORE_LABEL, lookup_table
from ...datasets.panoptic_annotations import read_panoptic_json
from ...datasets.panoptic_images import is_coco_panoptic
from ...datasets.panoptic_png import ids_to_rgb
from ...datasets.png import write_png
from ...outputs import check_outputs, output_file
from ...processes import on_first_process
from ...registry import HOOKS
from ...tasks import task_of
from ..predictions import segments_of
from ..scenario_config import scenario_of

PANOPTIC_JSON, PANOPTIC_FOLDER = 'panoptic.json', 'panoptic'
CLASSES_JSON = 'classes.json'
INSTANCES_JSON = 'instances.json'


@HOOKS.register_module()
class PredictionFilesHook(Hook):
    """Write the predictions of a test.

    Of a panoptic model ``panoptic.json`` and the PNGs of the folder ``panoptic``, in COCO's format
    of results: the colour of a pixel is the id of its segment, the categories are those of the
    annotation file. Of a semantic model a label map for each image, with the values of the
    dataset's own maps, and ``classes.json``, which names them. Of an instance model
    ``instances.json``, COCO's results: a list with image, category, run lengths, box and score of
    each instance, which pycocotools' ``loadRes`` reads.

    Args:
        folder: Where to.
        overwrite: Whether files there that something else wrote may be replaced.

    Raises:
        ValueError: In ``before_test``, if a file would be written over an input.
        FileExistsError: In ``before_test``, if there is a file that these tools did not write.
    """

    def __init__(self, folder: str, *, overwrite: bool = False) -> None:
        self.folder = Path(folder)
        self.overwrite = overwrite
        self._writer: _Writer

    def before_test(self, runner: Runner) -> None:
        """Choose the names, and check that all files may be written."""
        dataset = runner.test_loop.dataloader.dataset
        infos = [dataset.get_data_info(index) for index in range(len(dataset))]
        self._writer = _WRITERS[task_of(runner.cfg.model).name](self.folder, runner, infos)
        maps = [info['seg_map_path'] for info in infos if info.get('seg_map_path')]
        annotations = getattr(self._writer.inner, 'ann_file', '')
        paths = self._writer.paths
        on_first_process(
            lambda: check_outputs(
                paths,
                inputs=[*(info['img_path'] for info in infos), *maps, *filter(None, [annotations])],
                folder=self.folder,
                overwrite=self.overwrite,
            )
        )

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence[Any] | None = None,
    ) -> None:
        """Write what is written image by image, of a batch."""
        for sample in outputs or ():
            self._writer.write(sample)

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Write what is known when all processes have seen their images."""
        gathered: list[dict[str, Any]] = all_gather_object(self._writer.found)
        found = {path: entry for part in gathered for path, entry in part.items()}
        if is_main_process():
            self._writer.finish(found)


class _Writer(ABC):
    """Writes the files of a task.

    Attributes:
        found: What the index of the files says of each image, by its path.
    """

    index: ClassVar[str]

    def __init__(self, folder: Path, runner: Runner, infos: Sequence[Mapping[str, Any]]) -> None:
        self.folder = folder
        self.dataset = runner.test_loop.dataloader.dataset
        self.inner = self.dataset.build_inner()
        self.infos = {
            info['img_path']: {**info, 'file_name': self._file_name(info['img_path'])}
            for info in infos
        }
        self.task = task_of(runner.cfg.model)
        self.scenario = scenario_of(runner.cfg)
        self.found: dict[str, Any] = {}

    @property
    def paths(self) -> list[Path]:
        """Return all files that are written."""
        return [self.folder / self.index]

    @abstractmethod
    def write(self, sample: Any) -> None:
        """Take a prediction: write what is a file of its own, and keep what the index says."""

    @abstractmethod
    def finish(self, found: Mapping[str, Any]) -> None:
        """Write the index, from what was found in all images by their path."""

    def _file_name(self, path: str) -> str:
        """Return the path of an image below the folder of its dataset's images."""
        prefix = self.inner.data_prefix
        root = prefix.get('img') or prefix.get('img_path')
        inside = root and os.path.abspath(path).startswith(os.path.join(os.path.abspath(root), ''))
        return Path(os.path.relpath(path, root)).as_posix() if inside else os.path.basename(path)

    def _write_json(self, content: Any) -> None:
        with output_file(self.folder / self.index) as temporary:
            temporary.write_text(f'{json.dumps(content, ensure_ascii=False)}\n', encoding='utf-8')


class _MapWriter(_Writer):
    """Writes a PNG for each image beside the index."""

    def __init__(self, folder: Path, runner: Runner, infos: Sequence[Mapping[str, Any]]) -> None:
        super().__init__(folder, runner, infos)
        self.names = self._name()

    @property
    def paths(self) -> list[Path]:
        """Return all files that are written."""
        return [*(self.map_folder / name for name in self.names.values()), *super().paths]

    @property
    @abstractmethod
    def map_folder(self) -> Path:
        """Return the folder of the PNGs."""

    def _name(self) -> dict[str, str]:
        """Return the name of each image's PNG: its own, with the extension if that tells it."""
        names = {path: PurePosixPath(info['file_name']) for path, info in self.infos.items()}
        times = Counter(name.with_suffix('') for name in names.values())
        return {
            path: f'{name}.png'
            if times[name.with_suffix('')] > 1
            else str(name.with_suffix('.png'))
            for path, name in names.items()
        }


class _PanopticFiles(_MapWriter):
    """COCO's results of panoptic segmentation."""

    index = PANOPTIC_JSON

    def __init__(self, folder: Path, runner: Runner, infos: Sequence[Mapping[str, Any]]) -> None:
        super().__init__(folder, runner, infos)
        self.categories = self._categories()
        self._ids = {category['name']: category['id'] for category in self.categories}

    @property
    def map_folder(self) -> Path:
        """Return the folder of the maps of segment ids."""
        return self.folder / PANOPTIC_FOLDER

    def _categories(self) -> list[dict[str, Any]]:
        """Return the categories, with the names of classes and the ids of the annotation file."""
        inner = self.inner
        if not is_coco_panoptic(inner):
            return [
                {'id': label, 'name': name, 'isthing': int(label < self.scenario.num_things)}
                for label, name in enumerate(self.scenario.classes)
            ]
        content = read_panoptic_json(inner.ann_file, backend_args=inner.backend_args)
        aliases = self.dataset.source.category_aliases or {}
        return [
            {**category, 'name': aliases.get(category['name'], category['name'])}
            for category in content['categories']
        ]

    def write(self, sample: Any) -> None:
        """Write the map of ids of a prediction, and keep its annotation."""
        codes = self.task.segment_map(sample)[0].cpu().numpy()
        found = segments_of(
            codes,
            names=self.scenario.classes,
            num_things=self.scenario.num_things,
            scores=self.task.segment_scores(sample),
        )
        info, name = self.infos[sample.img_path], self.names[sample.img_path]
        write_png(self.map_folder / name, ids_to_rgb(found.ids), {'image': info['file_name']})
        self.found[sample.img_path] = {
            'image_id': info['img_id'],
            'file_name': name,
            'segments_info': [
                {
                    'id': segment.id,
                    'category_id': self._ids[segment.name],
                    'area': segment.area,
                    'bbox': list(segment.box),
                    'iscrowd': 0,
                    'score': segment.score,
                }
                for segment in found.segments
            ],
        }

    def finish(self, found: Mapping[str, Any]) -> None:
        """Write ``panoptic.json``, images in the order of the dataset."""
        keys = {'img_id': 'id', 'file_name': 'file_name', 'height': 'height', 'width': 'width'}
        images = [
            {key: info[ours] for ours, key in keys.items() if ours in info}
            for info in self.infos.values()
        ]
        annotations = [found[path] for path in self.infos]
        content = dict(images=images, annotations=annotations, categories=self.categories)
        self._write_json(content)


class _LabelMaps(_MapWriter):
    """Label maps with the values of the dataset's own."""

    index = CLASSES_JSON

    def __init__(self, folder: Path, runner: Runner, infos: Sequence[Mapping[str, Any]]) -> None:
        super().__init__(folder, runner, infos)
        source = self.dataset.source
        table = lookup_table(source.inner_label_map, reduce_zero_label=source.reduce_zero_label)
        self.values = np.full(IGNORE_LABEL + 1, IGNORE_LABEL, np.uint8)
        if source.reduce_zero_label:
            self.values[:] = 0
        for value in range(len(table) - 1, -1, -1):
            if table[value] < self.scenario.num_classes:
                self.values[table[value]] = value

    @property
    def map_folder(self) -> Path:
        """Return the folder itself, which has the label maps."""
        return self.folder

    def write(self, sample: Any) -> None:
        """Write the label map of a prediction."""
        labels = self.task.segment_map(sample)[0].cpu().numpy()
        info = self.infos[sample.img_path]
        path = self.map_folder / self.names[sample.img_path]
        write_png(path, self.values[labels], {'image': info['file_name']})
        self.found[sample.img_path] = None

    def finish(self, found: Mapping[str, Any]) -> None:
        """Write which value is which class."""
        classes = enumerate(self.scenario.classes)
        self._write_json({str(self.values[label]): name for label, name in classes})


class _InstanceResults(_Writer):
    """COCO's results of instance segmentation."""

    index = INSTANCES_JSON

    def __init__(self, folder: Path, runner: Runner, infos: Sequence[Mapping[str, Any]]) -> None:
        super().__init__(folder, runner, infos)
        content = read_sections(
            self.inner.ann_file, SECTIONS, expected=EXPECTED, backend_args=self.inner.backend_args
        )
        aliases = self.dataset.source.category_aliases or {}
        ids = {
            aliases.get(item['name'], item['name']): item['id'] for item in content['categories']
        }
        self.category_ids = [ids[name] for name in self.scenario.classes]

    def write(self, sample: Any) -> None:
        """Keep the results of a prediction, in its order."""
        found, image_id = sample.pred_instances, self.infos[sample.img_path]['img_id']
        columns = (found.labels, found.scores, found.masks)
        self.found[sample.img_path] = [
            self._result(image_id, *row)
            for row in zip(*(column.cpu().numpy() for column in columns), strict=True)
        ]

    def _result(self, image_id: Any, label: Any, score: Any, mask: np.ndarray) -> dict[str, Any]:
        segmentation = encode_mask(mask)
        return {
            'image_id': image_id,
            'category_id': self.category_ids[label],
            'segmentation': segmentation,
            'bbox': mask_box(segmentation),
            'score': float(score),
        }

    def finish(self, found: Mapping[str, Any]) -> None:
        """Write ``instances.json``, images in the order of the dataset."""
        self._write_json([result for path in self.infos for result in found[path]])


_WRITERS: dict[str, type[_Writer]] = {
    'panoptic': _PanopticFiles,
    'semantic': _LabelMaps,
    'instance': _InstanceResults,
}
