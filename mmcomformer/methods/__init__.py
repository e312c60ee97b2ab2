"""Continual-learning methods, one folder each."""

from ..compat import libraries  # noqa: F401  (before what imports mmdet)
from . import balconpas, comformer, eclipse, mib, plop

__all__ = ['balconpas', 'comformer', 'eclipse', 'mib', 'plop']
