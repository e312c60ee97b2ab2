"""Hooks of the package."""

from ...compat import libraries  # noqa: F401  (before what imports mmdet)
from .broadcast_buffers_hook import BroadcastBuffersHook
from .data_pass_hook import DataPassHook
from .finite_loss_hook import FiniteLossHook
from .peak_memory_hook import PeakMemoryHook
from .prediction_files_hook import PredictionFilesHook
from .prediction_pictures_hook import PredictionPicturesHook
from .previous_step_hook import PreviousStepHook
from .pseudo_label_hook import PseudoLabelHook
from .report_hook import ReportHook
from .safe_checkpoint_hook import SafeCheckpointHook
from .summary_hook import SummaryHook
from .teacher_hook import TeacherHook
from .weight_fusion_hook import WeightFusionHook

__all__ = [
    'BroadcastBuffersHook',
    'DataPassHook',
    'FiniteLossHook',
    'PeakMemoryHook',
    'PredictionFilesHook',
    'PredictionPicturesHook',
    'PreviousStepHook',
    'PseudoLabelHook',
    'ReportHook',
    'SafeCheckpointHook',
    'SummaryHook',
    'TeacherHook',
    'WeightFusionHook',
]
