"""Memory that does not suffice: how much a step of training takes, and what makes it less."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mmengine.config import Config

_OF_DEVICE = re.compile(r'out of memory|CUBLAS_STATUS_ALLOC_FAILED', re.IGNORECASE)
_OF_HOST = re.compile(
    r"can't allocate memory|not enough memory|bad_alloc|Cannot allocate memory|"
    r'DataLoader worker .* is killed by signal: Killed|unable to mmap|No space left on device.*shm',
    re.IGNORECASE,
)
_SIZES = ('crop_size', 'scale', 'size', 'img_scale')


@contextmanager
def exhausted_memory_explained(cfg: Config, loader: str = 'train_dataloader') -> Iterator[None]:
    """Turn the error of a lack of memory into one that says what takes it and what to lower.

    Args:
        cfg: The config that runs.
        loader: Key of the loader that gives the batches.

    Raises:
        RuntimeError: If the memory of the device or of the machine does not suffice.
    """
    try:
        yield
    except MemoryError as error:
        raise RuntimeError(_message(cfg, loader, 'machine', str(error))) from error
    except RuntimeError as error:
        # torch has a class for some devices, and plain errors for the others and the host
        text = str(error)
        if _OF_DEVICE.search(text):
            raise RuntimeError(_message(cfg, loader, 'device', text)) from error
        if _OF_HOST.search(text):
            raise RuntimeError(_message(cfg, loader, 'machine', text)) from error
        raise


def _message(cfg: Config, loader: str, place: str, reason: str) -> str:
    options = cfg.get(loader) or {}
    batch, workers = options.get('batch_size'), options.get('num_workers')
    size = image_size_of(options.get('dataset'))
    trains = loader == 'train_dataloader'
    if place == 'machine':
        lower = f'{loader}.num_workers ({workers} here, each with images of its own) or batch_size'
    elif trains:
        lower = (
            f'{loader}.batch_size (optim_wrapper.accumulative_counts keeps the batch of an update) '
            f'or the size of the images, or use --amp'
        )
    else:
        lower = f'{loader}.batch_size or the size of the images'
    return (
        f'the memory of the {place} does not suffice for a batch of {batch} images'
        f'{f" of {size}" if size else ""} per process ({" ".join(reason.split())[:200]}); lower '
        f'{lower}{". The last checkpoint is whole: go on with --resume" if trains else ""}'
    )


def image_size_of(dataset: Any) -> str:
    """Return the size to which a dataset's pipeline brings images, in words; empty if none does.

    Example:
        >>> image_size_of(
        ...     {
        ...         'pipeline': [
        ...             {'type': 'Resize', 'scale': (9, 9)},
        ...             {'type': 'RandomCrop', 'crop_size': (512, 640)},
        ...         ]
        ...     }
        ... )
        '512 x 640'
    """
    pipeline = dataset.get('pipeline') if isinstance(dataset, Mapping) else None
    for transform in reversed(pipeline or ()):
        for key in _SIZES:
            size = transform.get(key)
            if isinstance(size, int):
                return f'{size} x {size}'
            if isinstance(size, (list, tuple)) and len(size) == 2:
                return f'{size[0]} x {size[1]}'
    return ''
