from .class_index import ClassIndex
from .continual_sampler import ContinualSampler
from .incremental_dataset import IncrementalDataset
from .shapes import generate_shapes
from .shapes_instance_dataset import ShapesInstanceDataset
from .shapes_panoptic_dataset import ShapesPanopticDataset
from .shapes_semantic_dataset import ShapesSemanticDataset
from .transforms import (
    LoadInstanceMasks,
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
    'LoadInstanceMasks',
    'LoadPanopticIdMap',
    'LoadSemanticMap',
    'PackContinualInputs',
    'PackSemanticInputs',
    'SSDColorJitter',
    'ShapesInstanceDataset',
    'ShapesPanopticDataset',
    'ShapesSemanticDataset',
    'generate_shapes',
]
