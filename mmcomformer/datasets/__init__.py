"""Panoptic datasets as the steps of a scenario see them."""

from .class_index import ClassIndex
from .incremental_dataset import IncrementalDataset
from .shapes import generate_shapes
from .shapes_panoptic_dataset import ShapesPanopticDataset
from .transforms import LoadPanopticIdMap, PackContinualInputs, SSDColorJitter

__all__ = [
    'ClassIndex',
    'IncrementalDataset',
    'LoadPanopticIdMap',
    'PackContinualInputs',
    'SSDColorJitter',
    'ShapesPanopticDataset',
    'generate_shapes',
]
