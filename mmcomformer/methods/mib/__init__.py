"""MiB, modeling the background (Cermelli et al.; CVPR 2020), on queries."""

from .unbiased_class_loss import UnbiasedClassLoss

__all__ = ['UnbiasedClassLoss']
