"""Hooks and what else runs around a training."""

from . import hooks, optim_wrapper_constructor

__all__ = ['hooks', 'optim_wrapper_constructor']
