"""Transforms that carry ground truth through stock pipelines, and colour jitter."""

from ...compat import libraries  # noqa: F401  (before what imports mmdet)
from .load_instance_masks import LoadInstanceMasks
from .load_panoptic_id_map import LoadPanopticIdMap
from .load_semantic_map import LoadSemanticMap
from .pack_continual_inputs import PackContinualInputs
from .pack_semantic_inputs import PackSemanticInputs
from .ssd_color_jitter import SSDColorJitter

__all__ = [
    'LoadInstanceMasks',
    'LoadPanopticIdMap',
    'LoadSemanticMap',
    'PackContinualInputs',
    'PackSemanticInputs',
    'SSDColorJitter',
]
