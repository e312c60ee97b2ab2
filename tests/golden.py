"""Numbers of released programs, stored in ``tests/data/golden``: CoMFormer's, others by folder."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parent / 'data' / 'golden'

PRECISIONS = [
    pytest.param(torch.float64, 1e-9, id='float64'),
    pytest.param(torch.float32, 1e-5, id='float32'),
]
"""Types to compute in, and how far from the released program's float64 a result may be."""


def assert_agrees(actual, expected, tolerance):
    """Check that values differ by no more than a share of the largest one."""
    expected = torch.as_tensor(expected, dtype=torch.float64)
    size = expected.abs().max().item() if expected.numel() else 0
    torch.testing.assert_close(actual.double(), expected, rtol=0, atol=tolerance * size)


class Golden:
    """The cases of one function of a program, and their arrays as tensors."""

    def __init__(self, function, program='.'):
        folder = ROOT / program
        self.cases = json.loads((folder / 'index.json').read_text())['functions'][function]['cases']
        with np.load(folder / f'{function}.npz') as arrays:
            self._arrays = dict(arrays)

    def __iter__(self):
        return iter(self._arrays)

    def __getitem__(self, key):
        return torch.from_numpy(self._arrays[key])
