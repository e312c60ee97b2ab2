"""SimCIS (CVPR 2025): queries from the pixel decoder, selected alike, and a bank of them."""

from .boxes import (
    BoxGIoULoss,
    BoxL1Loss,
    cell_proposals,
    generalized_iou,
    inverse_sigmoid,
    sine_of_boxes,
    target_boxes,
)
from .class_loss import ClassFocalLoss, class_focal_loss
from .heads import SimCISHead, SimCISSemanticHead
from .match_cost import BoxMatchCost
from .output import SimCISOutput
from .query_bank import QueryBank, sampling_weights
from .selection_loss import ConsistentSelectionLoss, DecoderDistillLoss, selection_loss

__all__ = [
    'BoxGIoULoss',
    'BoxL1Loss',
    'BoxMatchCost',
    'ClassFocalLoss',
    'ConsistentSelectionLoss',
    'DecoderDistillLoss',
    'QueryBank',
    'SimCISHead',
    'SimCISOutput',
    'SimCISSemanticHead',
    'cell_proposals',
    'class_focal_loss',
    'generalized_iou',
    'inverse_sigmoid',
    'sampling_weights',
    'selection_loss',
    'sine_of_boxes',
    'target_boxes',
]
