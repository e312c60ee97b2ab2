"""CoMFormer (Cermelli, Cord, Douillard; CVPR 2023)."""

from .adaptive_distill_loss import AdaptiveDistillLoss
from .head import ComFormerHead
from .pseudo_label_hook import PseudoLabelHook
from .pseudo_labels import MaskPseudoLabels, mask_pseudo_labels
from .semantic_head import ComFormerSemanticHead

__all__ = [
    'AdaptiveDistillLoss',
    'ComFormerHead',
    'ComFormerSemanticHead',
    'MaskPseudoLabels',
    'PseudoLabelHook',
    'mask_pseudo_labels',
]
