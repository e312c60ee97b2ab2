from . import datasets, engine, evaluation, methods, models, pictures
from .version import __version__

__all__ = [
    '__version__',
    'datasets',
    'engine',
    'evaluation',
    'methods',
    'models',
    'pictures',
]
