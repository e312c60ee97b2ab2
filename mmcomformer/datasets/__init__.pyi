from .class_index import ClassIndex
from .continual_sampler import ContinualSampler
from .incremental_dataset import IncrementalDataset
from .shapes import generate_shapes
from .shapes_panoptic_dataset import ShapesPanopticDataset
from .shapes_semantic_dataset import ShapesSemanticDataset
from .transforms import (
    LoadPanopticIdMap,
    LoadSemanticMap,
    PackContinualInputs,
    PackSemanticInputs,
    SSDColorJitter,
)

__all__ = [
    'ClassIndex',
    'ContinualSampler',
    'IncrementalDataset',
    'LoadPanopticIdMap',
    'LoadSemanticMap',
    'PackContinualInputs',
    'PackSemanticInputs',
    'SSDColorJitter',
    'ShapesPanopticDataset',
    'ShapesSemanticDataset',
    'generate_shapes',
]
