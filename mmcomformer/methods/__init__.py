"""Continual-learning methods, one folder each."""

from . import comformer, mib, plop

__all__ = ['comformer', 'mib', 'plop']
