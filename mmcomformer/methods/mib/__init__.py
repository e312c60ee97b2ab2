"""MiB, modeling the background (Cermelli et al.; CVPR 2020), on queries."""

from .unbiased_class_loss import UnbiasedClassLoss, unbiased_class_log_prob, unbiased_cross_entropy

__all__ = ['UnbiasedClassLoss', 'unbiased_class_log_prob', 'unbiased_cross_entropy']
