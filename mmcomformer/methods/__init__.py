"""Continual-learning methods, one folder each."""

from . import comformer

__all__ = ['comformer']
