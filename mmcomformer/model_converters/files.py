"""Reading and writing detectron2 checkpoints; reading executes nothing that a file holds."""

from __future__ import annotations

import importlib
import pickle
import pickletools
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..engine.checkpoint import load_file
from ..outputs import check_outputs, output_file

_HINT = 'download or copy it again'


@dataclass(frozen=True)
class Detectron2Checkpoint:
    """What a detectron2 checkpoint holds.

    Attributes:
        model: The tensors by name.
        iteration: Index of the last iteration of its training; None if it does not say.
        others: What else is in the file, such as ``optimizer``.
    """

    model: dict[str, Tensor]
    iteration: int | None
    others: tuple[str, ...]


def read_detectron2(path: str | Path) -> Detectron2Checkpoint:
    """Read a checkpoint (``.pth``) or a model-zoo file (``.pkl``) of detectron2.

    Raises:
        FileNotFoundError: If there is no such file.
        RuntimeError: If it is truncated, would execute code, or has no model.
    """
    path = Path(path)
    content = _read_pickle(path) if path.suffix == '.pkl' else load_file(path, hint=_HINT)
    model = content.get('model') if isinstance(content, Mapping) else None
    if not isinstance(model, Mapping) or not model:
        found = sorted(map(str, content)) if isinstance(content, Mapping) else type(content)
        raise RuntimeError(
            f"checkpoint {path}: expected the 'model' of a detectron2 checkpoint, found "
            f'{_shorten(found)}; pass a file that detectron2 wrote'
        )
    iteration = content.get('iteration')
    return Detectron2Checkpoint(
        {str(name): _as_tensor(value, str(name), path) for name, value in model.items()},
        int(iteration) if isinstance(iteration, int) else None,
        tuple(sorted(str(key) for key in set(content) - {'model', 'iteration'})),
    )


def _shorten(found: Any) -> str:
    return f'{found[:5]}' if isinstance(found, list) else f'{found}'


def _as_tensor(value: Any, name: str, path: Path) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in 'fiub':
        # a copy: arrays out of a pickle may be read-only
        return torch.from_numpy(np.array(value, dtype=value.dtype.newbyteorder('=')))
    raise RuntimeError(
        f'checkpoint {path}: {name} is a {_type_name(value)}; expected a tensor or an array of '
        f'numbers'
    )


def _type_name(value: Any) -> str:
    kind = type(value).__name__
    return f'{kind} of {value.dtype}' if isinstance(value, np.ndarray) else kind


def _encode(text: str, encoding: str) -> bytes:
    """Stand in for ``_codecs.encode``: before protocol 3, bytes are pickled as Latin-1 text."""
    if encoding != 'latin1':
        raise _RefusedError(f'_codecs.encode to {encoding}')
    return text.encode(encoding)


def _from_numpy_core(module: str, name: str) -> Any:
    """Return a function of NumPy that moved between NumPy 1 and 2."""
    core = 'numpy._core' if hasattr(np, '_core') else 'numpy.core'
    return getattr(importlib.import_module(f'{core}.{module}'), name)


# what pickled NumPy arrays consist of
_ALLOWED = {
    ('collections', 'OrderedDict'): OrderedDict,
    ('_codecs', 'encode'): _encode,
    ('numpy', 'ndarray'): np.ndarray,
    ('numpy', 'dtype'): np.dtype,
    **{
        (f'numpy.{core}.{module}', name): _from_numpy_core(module, name)
        for core in ('core', '_core')
        for module, name in (('multiarray', '_reconstruct'), ('numeric', '_frombuffer'))
    },
}


class _RefusedError(Exception):
    """A pickle asked for something that is neither a container nor an array."""


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickler of plain containers and NumPy arrays only."""

    def find_class(self, module: str, name: str) -> Any:
        """Return an allowed class or function; refuse any other."""
        if (module, name) not in _ALLOWED:
            raise _RefusedError(f'{module}.{name}')
        return _ALLOWED[module, name]


def _read_pickle(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f'checkpoint {path}: no such file')
    try:
        _check_memo(path)
        with path.open('rb') as file:
            # latin1: some files were written by Python 2
            return _ArrayUnpickler(file, encoding='latin1').load()
    except _RefusedError as error:
        raise RuntimeError(
            f'checkpoint {path}: refused, because loading it would run code ({error}); only '
            f'NumPy arrays and plain values are loaded'
        ) from error
    # a damaged pickle can fail in any of these ways
    except (
        pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError,
        AttributeError, MemoryError, OverflowError,
    ) as error:  # fmt: skip
        raise RuntimeError(
            f'checkpoint {path}: truncated or not a checkpoint ({error}); {_HINT}'
        ) from error


def _check_memo(path: Path) -> None:
    """Refuse a pickle that numbers more objects than it can hold.

    Python reserves memory up to the highest number, which may be all that there is.
    """
    limit = path.stat().st_size
    with path.open('rb') as file:
        for opcode, argument, _ in pickletools.genops(file):
            if opcode.name == 'LONG_BINPUT' and isinstance(argument, int) and argument > limit:
                raise ValueError(f'it numbers an object {argument}, and has {limit} bytes')


def write_checkpoint(content: dict[str, Any], path: str | Path) -> None:
    """Write a checkpoint; a file that is there stays whole until it is replaced."""
    with output_file(path) as temporary:
        torch.save(content, temporary)


def check_destination(
    source: str | Path, destination: str | Path, *, overwrite: bool = False
) -> None:
    """Check, before anything is computed, that a destination can be written.

    Raises:
        ValueError: If it is a folder, or the source itself.
        FileExistsError: If it is there, these tools did not write it, and ``overwrite`` is false.
    """
    if Path(destination).is_dir():
        raise ValueError(f'DST {destination}: this is a folder; give the name of a file')
    if Path(destination).resolve() == Path(source).resolve():
        raise ValueError(f'DST {destination}: it is SRC; give another name')
    check_outputs([destination], inputs=[source], overwrite=overwrite)


def with_metadata(model: Mapping[str, Tensor]) -> OrderedDict[str, Tensor]:
    """Return a state dict with the versions that the released program's modules have.

    Without them that program takes a state dict for an old one, and renames tensors that have the
    right name already.
    """
    state_dict = OrderedDict(model)
    metadata = OrderedDict({'': {'version': 1}})
    for name in state_dict:
        parts = name.split('.')[:-1]
        for depth in range(1, len(parts) + 1):
            prefix = '.'.join(parts[:depth])
            metadata[prefix] = {'version': _version(prefix, state_dict)}
    state_dict._metadata = metadata  # type: ignore[attr-defined]
    return state_dict


def _version(module: str, state_dict: Mapping[str, Tensor]) -> int:
    if module in ('sem_seg_head', 'sem_seg_head.predictor'):
        return 2
    if f'{module}.running_mean' in state_dict:
        # BatchNorm counts batches, FrozenBatchNorm does not
        return 2 if f'{module}.num_batches_tracked' in state_dict else 3
    return 1
