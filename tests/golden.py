"""Numbers of the released CoMFormer program, stored in ``tests/data/golden``."""

import json
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).parent / 'data' / 'golden'


class Golden:
    """The cases of one function, and their arrays as tensors."""

    def __init__(self, function):
        self.cases = json.loads((ROOT / 'index.json').read_text())['functions'][function]['cases']
        with np.load(ROOT / f'{function}.npz') as arrays:
            self._arrays = dict(arrays)

    def __getitem__(self, key):
        return torch.from_numpy(self._arrays[key])
