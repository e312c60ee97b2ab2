"""Networks and losses that methods share."""

from ..compat import libraries  # noqa: F401  (before what imports mmdet)
from .class_activation import ClassSigmoid, ClassSoftmax
from .class_losses import FocalClassLoss, WeightedClassLoss
from .continual_encoder_decoder import ContinualEncoderDecoder, ContinualSegTTAModel
from .continual_mask_former import ContinualMaskFormer
from .continual_model import ContinualModel
from .extra_losses import ContinualLoss
from .growing import Growing, StepwiseModule
from .incremental_classifier import IncrementalClassifier
from .instance_fusion import ContinualInstanceFusionHead
from .mask_activation import QuerySigmoid, QuerySoftmax
from .mask_losses import SigmoidDiceLoss, SigmoidMaskLoss, SoftmaxDiceLoss, SoftmaxMaskLoss
from .matching import HarmonicMatchCost, WeightedMatchCost
from .method_state import DataObserver, Stateful
from .panoptic_fusion import ContinualFusionHead
from .pseudo_labels import MaskPseudoLabels, mask_pseudo_labels
from .query_head import IncrementalQueryHead
from .query_output import QueryOutput
from .semantic_fusion import MaskBasedFusion, ScoreSumFusion
from .semantic_query_head import SemanticQueryHead
from .teacher import FrozenTeacher

__all__ = [
    'ClassSigmoid',
    'ClassSoftmax',
    'ContinualEncoderDecoder',
    'ContinualFusionHead',
    'ContinualInstanceFusionHead',
    'ContinualLoss',
    'ContinualMaskFormer',
    'ContinualModel',
    'ContinualSegTTAModel',
    'DataObserver',
    'FocalClassLoss',
    'FrozenTeacher',
    'Growing',
    'HarmonicMatchCost',
    'IncrementalClassifier',
    'IncrementalQueryHead',
    'MaskBasedFusion',
    'MaskPseudoLabels',
    'QueryOutput',
    'QuerySigmoid',
    'QuerySoftmax',
    'ScoreSumFusion',
    'SemanticQueryHead',
    'SigmoidDiceLoss',
    'SigmoidMaskLoss',
    'SoftmaxDiceLoss',
    'SoftmaxMaskLoss',
    'Stateful',
    'StepwiseModule',
    'WeightedClassLoss',
    'WeightedMatchCost',
    'mask_pseudo_labels',
]
