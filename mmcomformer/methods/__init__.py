"""Continual-learning methods, one folder each."""

from ..compat import libraries  # noqa: F401  (before what imports mmdet)
from . import comformer, eclipse, mib, plop

__all__ = ['comformer', 'eclipse', 'mib', 'plop']
