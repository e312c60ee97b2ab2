"""The global random generators of Python, NumPy and torch: kept, restored, seeded for one image."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def random_state() -> dict[str, Any]:
    """Return the state of all generators of this process.

    Returns:
        Tensors and plain values only, so that a checkpoint with it loads without running code:
        ``python``, ``numpy``, ``torch`` (CPU) and, where there is CUDA, ``cuda``, one tensor per
        device.
    """
    version, numbers, gauss = random.getstate()
    numpy_state = np.random.get_state(legacy=False)
    state = {
        'python': {'version': version, 'numbers': torch.tensor(numbers), 'gauss': gauss},
        'numpy': {
            'kind': numpy_state['bit_generator'],
            'key': torch.from_numpy(numpy_state['state']['key'].astype(np.int64)),
            'pos': int(numpy_state['state']['pos']),
            'has_gauss': int(numpy_state['has_gauss']),
            'gauss': float(numpy_state['gauss']),
        },
        'torch': torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state['cuda'] = torch.cuda.get_rng_state_all()
    return state


def restore_random_state(state: Mapping[str, Any]) -> None:
    """Set all generators of this process.

    Args:
        state: From :func:`random_state`; its tensors may have been moved to another device. The
            states of CUDA devices are used if there are as many devices now.
    """
    python, numpy_state = state['python'], state['numpy']
    random.setstate((python['version'], tuple(python['numbers'].tolist()), python['gauss']))
    key = numpy_state['key'].cpu().numpy().astype(np.uint32)
    np.random.set_state(
        (
            numpy_state['kind'],
            key,
            numpy_state['pos'],
            numpy_state['has_gauss'],
            numpy_state['gauss'],
        )
    )
    torch.set_rng_state(state['torch'].cpu())
    devices = state.get('cuda', [])
    if devices and torch.cuda.is_available() and torch.cuda.device_count() == len(devices):
        torch.cuda.set_rng_state_all([device.cpu() for device in devices])


@contextmanager
def kept_host_generators() -> Iterator[None]:
    """Give Python's, NumPy's and torch's CPU generator back as they were."""
    python, numpy_state, host = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy_state)
        torch.set_rng_state(host)


def seed_host_generators(*key: int) -> None:
    """Seed Python's, NumPy's and torch's CPU generator, each differently.

    Args:
        *key: Numbers of at least 0; another key gives other, unrelated random numbers.
    """
    words = [int(word) for word in np.random.SeedSequence(key).generate_state(4, np.uint64)]
    random.seed(words[0])
    np.random.seed([words[1] >> 32, words[1] & 0xFFFFFFFF])
    # torch.manual_seed would seed the accelerators too
    torch.default_generator.manual_seed(words[2])
