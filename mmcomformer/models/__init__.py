"""Networks and losses that methods share."""

from .class_losses import FocalClassLoss, WeightedClassLoss
from .continual_mask_former import ContinualMaskFormer
from .incremental_classifier import IncrementalClassifier
from .mask_activation import QuerySigmoid, QuerySoftmax
from .mask_losses import SigmoidDiceLoss, SigmoidMaskLoss, SoftmaxDiceLoss, SoftmaxMaskLoss
from .matching import HarmonicMatchCost, WeightedMatchCost
from .panoptic_fusion import ContinualFusionHead
from .teacher import FrozenTeacher, TeacherOutput

__all__ = [
    'ContinualFusionHead',
    'ContinualMaskFormer',
    'FocalClassLoss',
    'FrozenTeacher',
    'HarmonicMatchCost',
    'IncrementalClassifier',
    'QuerySigmoid',
    'QuerySoftmax',
    'SigmoidDiceLoss',
    'SigmoidMaskLoss',
    'SoftmaxDiceLoss',
    'SoftmaxMaskLoss',
    'TeacherOutput',
    'WeightedClassLoss',
    'WeightedMatchCost',
]
