"""PLOP, learning without forgetting (Douillard et al.; CVPR 2021): pooled features."""

from .pod_loss import PodLoss, pod_loss, pooled_windows

__all__ = ['PodLoss', 'pod_loss', 'pooled_windows']
