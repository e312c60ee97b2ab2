"""The images of a panoptic dataset, their classes, and which of their segments a step sees."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from mmdet.datasets import CocoDataset, CocoPanopticDataset
from mmengine import fileio
from mmengine.dataset import BaseDataset

from ..scenario import Scenario
from .listed_segments import ListedSegments
from .panoptic_annotations import read_panoptic_annotations


@dataclass(frozen=True)
class PanopticImages(ListedSegments):
    """What :class:`~mmcomformer.datasets.IncrementalDataset` asks of a panoptic dataset.

    The annotation file of mmdet's ``CocoPanopticDataset`` and of classes derived from it is read
    directly, see :mod:`~mmcomformer.datasets.panoptic_annotations`; of any other dataset the
    ``segments_info`` of its data is used (``id``, ``category``, ``is_thing``, optionally
    ``iscrowd``).

    Args:
        scenario: The scenario with its current step.
        category_aliases: Class name of each category that the annotation file spells differently.
        show_all: Whether every segment is visible, crowds included.
    """

    task: ClassVar[str] = 'panoptic'
    nothing: ClassVar[str] = 'no segment'

    @classmethod
    def accepts(cls, inner: type[BaseDataset]) -> bool:
        """Accept every dataset: what its data lack is told when they are read."""
        return True

    @classmethod
    def of(
        cls, inner: BaseDataset, scenario: Scenario, options: Mapping[str, Any], *, show_all: bool
    ) -> PanopticImages:
        """Return the source of a lazily built dataset, with its category aliases."""
        return cls(scenario, options.get('category_aliases'), show_all=show_all)

    def load(self, inner: BaseDataset) -> list[dict[str, Any]]:
        """Return what the annotations of a lazily built dataset say about every image.

        Raises:
            ValueError: If an annotation is wrong; the message names file and value.
            FileNotFoundError: If the annotation file does not exist.
        """
        if is_coco_panoptic(inner):
            return self._load_coco_panoptic(inner)
        if self.category_aliases:
            raise ValueError(
                f'category_aliases: expected None, because {type(inner).__name__} reads its '
                f'annotations itself, got {dict(self.category_aliases)}'
            )
        inner.full_init()
        return [_convert_data_info(info, inner, self.scenario) for info in inner.data_list]

    def _load_coco_panoptic(self, inner: BaseDataset) -> list[dict[str, Any]]:
        images = read_panoptic_annotations(
            inner.ann_file,
            classes=self.scenario.classes,
            thing_classes=self.scenario.thing_classes,
            category_aliases=self.category_aliases,
            backend_args=inner.backend_args,
        )
        _check_prefixes(inner)
        # which backend a folder needs is found once, not for every file
        img_folder, seg_folder = inner.data_prefix['img'], inner.data_prefix['seg']
        join_img = fileio.get_file_backend(img_folder).join_path
        join_seg = fileio.get_file_backend(seg_folder).join_path
        return [
            {
                'img_path': join_img(img_folder, image.file_name),
                'img_id': image.img_id,
                'seg_map_path': None
                if image.png_name is None
                else join_seg(seg_folder, image.png_name),
                'height': image.height,
                'width': image.width,
                'file_name': image.file_name,
                'segments': image.segments,
            }
            for image in images
        ]


def is_coco_panoptic(dataset: BaseDataset) -> bool:
    """Tell whether mmdet's own reading of a COCO panoptic file would be used."""
    kind = type(dataset)
    return (
        isinstance(dataset, CocoPanopticDataset)
        and kind.load_data_list is CocoDataset.load_data_list
        and kind.parse_data_info is CocoPanopticDataset.parse_data_info
    )


def _check_prefixes(inner: BaseDataset) -> None:
    for key in ('img', 'seg'):
        if not inner.data_prefix.get(key):
            raise ValueError(
                f'dataset: data_prefix has no {key!r}; expected '
                f'data_prefix=dict(img=IMAGE_FOLDER, seg=PANOPTIC_PNG_FOLDER)'
            )


def _convert_data_info(
    info: Mapping[str, Any], inner: BaseDataset, scenario: Scenario
) -> dict[str, Any]:
    """Return the data of one image of any dataset in the form that this package uses."""
    img_path = info['img_path']
    for key in ('segments_info', 'seg_map_path'):
        if info.get(key) is None:
            raise ValueError(
                f'{type(inner).__name__}: the data of {img_path} hold no {key}; expected a '
                f'panoptic dataset whose data have segments_info and seg_map_path'
            )
    segments = [_convert_segment(entry, img_path, scenario) for entry in info['segments_info']]
    ids = [segment['id'] for segment in segments]
    if len(set(ids)) != len(ids):
        raise ValueError(f'{type(inner).__name__}: segment ids of {img_path} are repeated: {ids}')
    prefix = inner.data_prefix.get('img') or inner.data_prefix.get('img_path') or ''
    return {
        'img_path': img_path,
        'img_id': info.get('img_id', img_path),
        'seg_map_path': info['seg_map_path'],
        'height': info.get('height'),
        'width': info.get('width'),
        'file_name': os.path.relpath(img_path, prefix) if prefix else os.path.basename(img_path),
        'segments': segments,
    }


def _convert_segment(entry: Mapping[str, Any], img_path: str, scenario: Scenario) -> dict[str, Any]:
    label = entry['category']
    if not 0 <= label < scenario.num_classes:
        raise ValueError(
            f'{img_path}: segment {entry["id"]} has the label {label}; expected 0 to '
            f'{scenario.num_classes - 1}'
        )
    # CocoPanopticDataset marks a crowd by calling a thing stuff
    crowd = entry.get('iscrowd', label < scenario.num_things and not entry.get('is_thing', True))
    return {'id': entry['id'], 'label': label, 'iscrowd': bool(crowd)}
