"""Transforms that carry panoptic ground truth through stock pipelines, and colour jitter."""

from .load_panoptic_id_map import LoadPanopticIdMap
from .pack_continual_inputs import PackContinualInputs
from .ssd_color_jitter import SSDColorJitter

__all__ = ['LoadPanopticIdMap', 'PackContinualInputs', 'SSDColorJitter']
