"""Metrics over seen classes, and the summary that a run leaves behind."""

from .incremental_panoptic_metric import IncrementalPanopticMetric

__all__ = ['IncrementalPanopticMetric']
