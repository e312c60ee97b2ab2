from .incremental_instance_metric import IncrementalInstanceMetric
from .incremental_iou_metric import IncrementalIoUMetric
from .incremental_panoptic_metric import IncrementalPanopticMetric

__all__ = ['IncrementalInstanceMetric', 'IncrementalIoUMetric', 'IncrementalPanopticMetric']
