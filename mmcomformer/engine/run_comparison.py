"""Whether two runs are equal bit by bit: what they end with and what they have logged."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..evaluation.summary import FILE_NAME, TIMES
from .checkpoint import previous_checkpoint, read_checkpoint

# what else a checkpoint holds says when and where it was written
_PARTLY_COMPARED = ('meta', 'message_hub')
_TIMES = ('time', 'data_time', 'memory')


def compare_runs(expected: Path, found: Path) -> list[str]:
    """Compare two runs bit by bit, times aside.

    Compared are, of each step, all that its last checkpoint holds (weights, optimizer, schedules,
    random generators, the place in the data, what the method remembers, histories of the losses),
    and every line that a visualizer backend logged into ``scalars.json``; and the summary.

    Args:
        expected: Folder of the undisturbed run.
        found: Folder of the other one.

    Returns:
        What differs, nothing if they are equal.
    """
    different = []
    for step in sorted(path.name for path in expected.glob('step*')):
        different += [
            f'{step}/{name}'
            for name in differences(_checkpoint(expected / step), _checkpoint(found / step))
        ]
        different += [
            f'{step}: {name}' for name in _logged_differences(expected / step, found / step)
        ]
    different += differences(_summary(expected), _summary(found), 'summary')
    return different


def _checkpoint(folder: Path) -> dict[str, Any]:
    checkpoint = read_checkpoint(previous_checkpoint(folder))
    histories = {
        key: vars(buffer)
        for key, buffer in checkpoint['message_hub']['log_scalars'].items()
        if key.startswith('train/') and not key.endswith('time')
    }
    meta = {key: checkpoint['meta'][key] for key in ('iter', 'epoch', 'seed')}
    parts = {key: part for key, part in checkpoint.items() if key not in _PARTLY_COMPARED}
    return {**parts, 'meta': meta, 'histories': histories}


def _summary(folder: Path) -> dict[str, Any]:
    summary = json.loads((folder / FILE_NAME).read_text(encoding='utf-8'))
    for entry in summary['steps']:
        for key in TIMES:
            entry.pop(key, None)
    return summary


def differences(expected: Any, found: Any, name: str = '') -> list[str]:
    """Compare nested mappings and sequences of tensors, arrays and plain values.

    Args:
        expected: The one.
        found: The other.
        name: What they are, for the names of what they hold.

    Returns:
        The names of all values that are not equal bit by bit, types included.
    """
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        return [
            difference
            for key in {**expected, **found}
            for difference in differences(
                expected.get(key), found.get(key), f'{name}.{key}' if name else str(key)
            )
        ]
    if isinstance(expected, (list, tuple)) and isinstance(found, (list, tuple)):
        if len(expected) != len(found):
            return [f'{name} (length)']
        return [
            difference
            for index, pair in enumerate(zip(expected, found, strict=True))
            for difference in differences(*pair, f'{name}[{index}]')
        ]
    return [] if _bits(expected) == _bits(found) else [name]


def _bits(value: Any) -> Any:
    """Return something whose equality is that of the bits, NaN and negative zero included."""
    if hasattr(value, 'numpy'):
        value = value.detach().cpu().numpy()
    if hasattr(value, 'tobytes'):
        return value.dtype.str, value.shape, value.tobytes()
    return type(value), repr(value)


def _logged_differences(expected: Path, found: Path) -> list[str]:
    """Compare what was logged at each iteration, by whichever part of a killed run."""
    by_step: dict[Any, dict[str, Any]] = {}
    for line in _logged(expected):
        by_step.setdefault(line.pop('step'), {}).update(line)
    different, covered = [], set()
    for line in _logged(found):
        step = line.pop('step')
        covered.add(step)
        # a run that was only evaluated logs without an iteration
        known = by_step.get(step, {}) if step else {}
        different += [f'{key} logged at {step}' for key in line if step and line[key] != known[key]]
    return different + [f'nothing logged at {step}' for step in by_step if step not in covered]


def _logged(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob('*/vis_data/scalars.json')):
        for text in path.read_text(encoding='utf-8').splitlines():
            line = json.loads(text)
            yield {key: value for key, value in line.items() if key not in _TIMES}
