"""Reading checkpoints safely, and what a checkpoint must be to start the next step from."""

from __future__ import annotations

import hashlib
import pickle
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from ..compat import load_weights_only
from ..scenario import Scenario

META_KEY = 'continual'


def read_checkpoint(path: str | Path, *, mmap: bool = False) -> dict[str, Any]:
    """Load a checkpoint onto the CPU without executing anything in it.

    Args:
        path: A file that a training of this package wrote.
        mmap: Read tensors only when they are used; for looking at the meta.

    Raises:
        FileNotFoundError: If there is no such file.
        RuntimeError: If it is truncated, not a checkpoint, or would execute code.
    """
    if Path(path).suffix == '.pkl' and Path(path).is_file():
        raise RuntimeError(f'checkpoint {path}: {_OF_DETECTRON2}')
    checkpoint = load_file(path, mmap=mmap, hint='use another one, or train its step again')
    if isinstance(checkpoint, dict) and isinstance(checkpoint.get('state_dict'), dict):
        return checkpoint
    if isinstance(checkpoint, dict) and isinstance(checkpoint.get('model'), dict):
        raise RuntimeError(f'checkpoint {path}: {_OF_DETECTRON2}')
    raise RuntimeError(f'checkpoint {path}: not a checkpoint, it has no state_dict')


_OF_DETECTRON2 = (
    'it looks like a file of detectron2; convert it first, with '
    'tools/model_converters/detectron2_to_mmcomformer.py'
)


def load_file(path: str | Path, *, mmap: bool = False, hint: str) -> Any:
    """Load what ``torch.save`` wrote onto the CPU without executing anything in it.

    Args:
        path: The file.
        mmap: See :func:`read_checkpoint`.
        hint: What to do if the file is damaged.

    Raises:
        FileNotFoundError: If there is no such file.
        RuntimeError: If it is truncated, not a checkpoint, or would execute code.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'checkpoint {path}: no such file')
    try:
        return load_weights_only(path, mmap=mmap or None)
    except pickle.UnpicklingError as error:
        raise RuntimeError(
            f'checkpoint {path}: refused, because {_refusal(str(error))}; only checkpoints of '
            f'tensors and plain values are loaded'
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError) as error:
        raise RuntimeError(
            f'checkpoint {path}: truncated or not a checkpoint '
            f'({(str(error) or type(error).__name__).splitlines()[0]}); {hint}'
        ) from error


def _refusal(message: str) -> str:
    """Say in a few words why torch refused a file."""
    found = re.search(r'GLOBAL (\S+)', message)
    if found:
        return f'loading it would run code ({found.group(1)})'
    return 'it is not a checkpoint'


def raw_weights(
    checkpoint: dict[str, Any], parameter_names: Iterable[str]
) -> dict[str, torch.Tensor]:
    """Return the weights that were trained, not their moving average.

    With mmengine's ``EMAHook`` a checkpoint holds the average as ``state_dict``, for deployment,
    and the trained parameters as ``ema_state_dict``. Buffers are those of ``state_dict``.

    Args:
        checkpoint: From :func:`read_checkpoint`.
        parameter_names: Names of the model's parameters.
    """
    weights = dict(checkpoint['state_dict'])
    trained = checkpoint.get('ema_state_dict', {})
    for name in parameter_names:
        if f'module.{name}' in trained:
            weights[name] = trained[f'module.{name}']
    return weights


def continual_meta(checkpoint: dict[str, Any], path: str | Path) -> dict[str, Any]:
    """Return what a checkpoint says of its step and scenario.

    Raises:
        RuntimeError: If it says nothing, as a checkpoint of another program.
    """
    meta = checkpoint.get('meta') or {}
    continual = meta.get(META_KEY)
    if not isinstance(continual, dict) or not {'step', 'scenario'} <= set(continual):
        raise RuntimeError(
            f'checkpoint {path}: its meta has no step and scenario, so it was not written by a '
            f'training of mmcomformer; train step 0 with mmcomformer first'
        )
    return continual


def check_previous_step(continual: dict[str, Any], scenario: Scenario, path: str | Path) -> None:
    """Check that a checkpoint is of the step before, with the same classes in the same split.

    Only classes seen by then are compared: a step-0 checkpoint of 100-50 serves 100-10 too.

    Raises:
        RuntimeError: If it is of another step, split, order or has other class names.
    """
    expected_step = scenario.step - 1
    if continual['step'] != expected_step:
        raise RuntimeError(
            f'checkpoint {path}: step {scenario.step} starts from a checkpoint of step '
            f'{expected_step}, but this one is of step {continual["step"]}; pass --step '
            f'{continual["step"] + 1} or another --teacher'
        )
    check_seen_classes(continual, scenario.at_step(expected_step), path)


def check_seen_classes(continual: dict[str, Any], scenario: Scenario, path: str | Path) -> None:
    """Check that a checkpoint has learned what a scenario has taught by its current step.

    Raises:
        RuntimeError: If it learned other classes, in another order or another split.
    """
    theirs = Scenario.from_config(continual['scenario'])
    for step in range(scenario.step + 1):
        expected, found = scenario.step_classes(step), theirs.step_classes(step)
        if expected != found:
            raise RuntimeError(
                f'checkpoint {path}: {_difference(step, expected, found)}; use the checkpoint of '
                f'the same scenario, or change scenario.increments or class_order'
            )


def check_seen_images(continual: dict[str, Any], scenario: Scenario, path: str | Path) -> None:
    """Check that a memory of the steps before holds what a checkpoint has seen.

    Args:
        continual: What the checkpoint says of its training.
        scenario: The scenario whose images are in memory.
        path: Path of the checkpoint, for the message.

    Raises:
        RuntimeError: If it was trained in another setting, or with another seed of the partition.
    """
    theirs = Scenario.from_config(continual['scenario'])
    keys = ['setting', *(['partition_seed'] if scenario.setting == 'partitioned' else [])]
    for key in keys:
        found, expected = getattr(theirs, key), getattr(scenario, key)
        if found != expected:
            raise RuntimeError(
                f'memory: it holds images of the steps before as {key} {expected!r} gives them, '
                f'but checkpoint {path} was trained with {found!r} and has not seen these; train '
                f'the steps before with the same {key}, or set memory=None'
            )


def _difference(step: int, expected: tuple[str, ...], found: tuple[str, ...]) -> str:
    if len(expected) != len(found):
        return f'step {step} teaches {len(expected)} classes here, but {len(found)} there'
    place = next(
        i for i, pair in enumerate(zip(expected, found, strict=True)) if pair[0] != pair[1]
    )
    kind = 'the same classes in another order' if set(expected) == set(found) else 'other classes'
    return (
        f'step {step} has {kind}: class {place} is {expected[place]!r} here, but '
        f'{found[place]!r} there'
    )


def is_trained(meta: Mapping[str, Any], train_cfg: Mapping[str, Any] | None) -> bool:
    """Tell whether a checkpoint holds as many iterations, or epochs, as a config wants.

    Args:
        meta: Of the checkpoint, with ``iter`` and ``epoch``, both counted from its first one.
        train_cfg: Of the config.
    """
    if not train_cfg:
        return False
    if 'max_iters' in train_cfg:
        return meta['iter'] >= train_cfg['max_iters']
    return meta['epoch'] >= train_cfg['max_epochs']


def previous_checkpoint(step_dir: str | Path) -> Path:
    """Return the last checkpoint of a step's folder, wherever the folder has been moved to.

    Args:
        step_dir: Such as ``work_dirs/comformer_shapes_6-3/step0``.

    Raises:
        FileNotFoundError: If the folder has none.
    """
    step_dir = Path(step_dir)
    pointer = step_dir / 'last_checkpoint'
    if not pointer.is_file():
        raise FileNotFoundError(
            f'no checkpoint in {step_dir}: train that step first (tools/train.py CONFIG --step '
            f'{step_dir.name.removeprefix("step")}), or pass --teacher CHECKPOINT'
        )
    # it may hold the absolute path of where the folder used to be
    checkpoint = step_dir / Path(pointer.read_text(encoding='utf-8').strip()).name
    if not checkpoint.is_file():
        raise FileNotFoundError(f'{pointer} names {checkpoint.name}, which is not in its folder')
    return checkpoint


def read_verified(path: str | Path) -> dict[str, Any]:
    """Load a checkpoint after checking every byte of it against the checksums within it.

    Raises:
        FileNotFoundError: If there is no such file.
        RuntimeError: If it is truncated, has been altered, or is not a checkpoint.
    """
    archived = zipfile.is_zipfile(path)
    # finds what is cut off; with mmap, tensors are not read
    checkpoint = read_checkpoint(path, mmap=archived)
    if not archived:
        return checkpoint
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError) as error:
        damaged = str(error)
    if damaged is not None:
        raise RuntimeError(f'checkpoint {path}: damaged ({damaged} does not fit its checksum)')
    return checkpoint


def file_sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
