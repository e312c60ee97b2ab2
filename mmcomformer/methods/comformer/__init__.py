"""CoMFormer (Cermelli, Cord, Douillard; CVPR 2023)."""

from .adaptive_distill_loss import AdaptiveDistillLoss
from .heads import ComFormerHead, ComFormerSemanticHead

__all__ = ['AdaptiveDistillLoss', 'ComFormerHead', 'ComFormerSemanticHead']
