"""BalConpas, balanced continual panoptic segmentation (Chen et al.; ECCV 2024)."""

from .backtrace_distill_loss import BacktraceDistillLoss, backtrace_distill_loss
from .balanced_class_loss import BalancedClassLoss, balanced_cross_entropy

__all__ = [
    'BacktraceDistillLoss',
    'BalancedClassLoss',
    'backtrace_distill_loss',
    'balanced_cross_entropy',
]
