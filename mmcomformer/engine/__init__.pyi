from . import hooks, optim_wrapper_constructor

__all__ = ['hooks', 'optim_wrapper_constructor']
