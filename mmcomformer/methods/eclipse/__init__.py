"""ECLIPSE (Kim, Yu, Hwang; CVPR 2024)."""

from .heads import EclipseHead, EclipseSemanticHead
from .sigmoid_class_loss import SigmoidFocalClassLoss

__all__ = ['EclipseHead', 'EclipseSemanticHead', 'SigmoidFocalClassLoss']
