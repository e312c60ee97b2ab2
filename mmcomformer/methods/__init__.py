"""Continual-learning methods, one folder each."""

from ..compat import libraries  # noqa: F401  (before what imports mmdet)
from . import comformer, mib, plop, simcis

__all__ = ['comformer', 'mib', 'plop', 'simcis']
