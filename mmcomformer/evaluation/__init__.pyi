from .incremental_iou_metric import IncrementalIoUMetric
from .incremental_panoptic_metric import IncrementalPanopticMetric

__all__ = ['IncrementalIoUMetric', 'IncrementalPanopticMetric']
