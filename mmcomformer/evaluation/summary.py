"""``summary.json``: what a run leaves behind, one entry per evaluated step.

Pure Python and file access. The schema, with percent for every metric and null where there are no
such classes or a step is unknown::

    {
        "config": str, "method": str, "task": "panoptic" | "semantic" | "instance",
        "setting": str,
        "class_order": [class names], "increments": [int], "partition_seed": int,
        "steps": [{
            "step": int, "classes": [names of the classes that the step teaches],
            "train_images": int, "memory_images": int, "train_iters": int, "seconds": float,
            "seed": int | null,
            "metrics": {"PQ": {"base", "new", "all"}, "SQ": {...}, "RQ": {...}},
            "per_class": {name of a seen class: {"PQ", "SQ", "RQ"}},
            "seconds_per_iter": float, "parameters": int, "trainable_parameters": int,
            "machine": {"device": str, "versions": {name: str}, "peak_memory_mb": int | null,
                        "peak_memory_of": "cuda" | "process"},
            "of_run": str, the folder of the run of which it was taken over, if it was
        }],
        "final": {"PQ": {"base", "new", "all", "avg", "forgetting"}}
    }

``memory_images``, images of earlier steps that were shown again besides the ``train_images`` of the
step, is there only if the data had a memory; ``partition_seed`` only in the setting partitioned.
The semantic task has mIoU and mAcc in place of PQ, SQ and RQ, the task instance AP, AP50 and AP75;
in a semantic one where there is a background class,
``metrics`` also holds mIoU_foreground and mAcc_foreground, the groups without it. ``increments``,
``seed`` and what follows ``per_class`` may be missing; unknown keys are kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..atomic import replaced_file
from ..scenario import Scenario
from ..tasks import task_named
from .groups import GROUPS, average_over_steps, forgetting

FILE_NAME = 'summary.json'
FOREGROUND = '_foreground'
"""Ending of the name of a metric whose groups leave the background class out."""

TIMES = ('seconds', 'seconds_per_iter', 'machine')
"""Keys of a step that differ between two runs that are equal."""

Summary = dict[str, Any]

_NUMBER = (int, float)
_SUMMARY_KEYS: Mapping[str, type | tuple[type, ...]] = {
    'config': str,
    'method': str,
    'task': str,
    'setting': str,
    'class_order': list,
    'steps': list,
    'final': dict,
}
_STEP_KEYS: Mapping[str, type | tuple[type, ...]] = {
    'step': int,
    'classes': list,
    'train_images': int,
    'train_iters': int,
    'seconds': _NUMBER,
    'metrics': dict,
    'per_class': dict,
}


def new_summary(scenario: Scenario, *, config: str, method: str, task: str = 'panoptic') -> Summary:
    """Return the summary of a run that has not evaluated any step yet.

    Raises:
        ValueError: If the task is unknown.
    """
    task_named(task)
    return {
        'config': config,
        'method': method,
        'task': task,
        'setting': scenario.setting,
        **_partition(scenario),
        'class_order': list(scenario.order),
        'increments': list(scenario.increments),
        'steps': [],
        'final': _final([], task),
    }


def _partition(scenario: Scenario) -> dict[str, int]:
    drawn = scenario.setting == 'partitioned'
    return {'partition_seed': scenario.partition_seed} if drawn else {}


def merge_step(summary: Summary, entry: Mapping[str, Any]) -> Summary:
    """Return a summary with a step's entry added and ``final`` computed anew.

    An entry of the same step is replaced. Entries of later steps are dropped: they grew from a
    teacher that the new entry has replaced.

    Args:
        summary: The summary so far; it is not changed.
        entry: The step's entry, as in the module's schema.

    Raises:
        ValueError: If the entry does not fit the schema.

    Example:
        >>> scenario = Scenario([1], ['cat'], [])
        >>> values = {'base': 50.0, 'new': None, 'all': 50.0}
        >>> entry = {
        ...     'step': 0,
        ...     'classes': ['cat'],
        ...     'train_images': 8,
        ...     'train_iters': 10,
        ...     'seconds': 2.5,
        ...     'metrics': {'PQ': values, 'SQ': values, 'RQ': values},
        ...     'per_class': {'cat': {'PQ': 50.0, 'SQ': 50.0, 'RQ': 50.0}},
        ... }
        >>> merge_step(new_summary(scenario, config='a', method='b'), entry)['final']
        {'PQ': {'base': 50.0, 'new': None, 'all': 50.0, 'avg': 50.0, 'forgetting': None}}
    """
    _check_entry(entry, summary['task'])
    earlier = [step for step in summary['steps'] if step['step'] < entry['step']]
    steps = [*earlier, dict(entry)]
    return {**summary, 'steps': steps, 'final': _final(steps, summary['task'])}


def _final(steps: Sequence[Mapping[str, Any]], task: str) -> dict[str, dict[str, float | None]]:
    metric = task_named(task).measures[0]
    if not steps:
        return {metric: dict.fromkeys((*GROUPS, 'avg', 'forgetting'))}
    by_step: list[Mapping[str, Any] | None] = [None] * (steps[-1]['step'] + 1)
    for entry in steps:
        by_step[entry['step']] = entry
    overall = [entry['metrics'][metric]['all'] if entry else None for entry in by_step]
    values = [
        {name: of_class[metric] for name, of_class in entry['per_class'].items()} if entry else None
        for entry in by_step
    ]
    taught = [entry['classes'] if entry else [] for entry in by_step]
    return {
        metric: {
            **{group: steps[-1]['metrics'][metric][group] for group in GROUPS},
            'avg': average_over_steps(overall),
            'forgetting': forgetting(values, taught),
        }
    }


def check_same_run(summary: Summary, expected: Summary, path: Path) -> None:
    """Check that a summary found in a folder belongs to the run that is about to add to it.

    A scenario may have grown since: steps and classes may follow those that it had.

    Args:
        summary: The summary that was found.
        expected: The summary of the run, with or without steps (see :func:`new_summary`).
        path: Where it was found, for the message.

    Raises:
        ValueError: If method, task, setting, seed of the partition, or the classes of the earlier
            steps differ.
    """
    expected = _cut_to(summary, expected)
    for key in ('method', 'task', 'setting', 'partition_seed', 'class_order', 'increments'):
        found = summary.get(key, expected.get(key))
        if found != expected.get(key):
            raise ValueError(
                f'{path}: it belongs to a run with another {key}: expected '
                f'{_shorten(expected.get(key))}, found {_shorten(found)}; use another work dir '
                f'(--work-dir), or remove that folder if the run is not needed any more'
            )


def _cut_to(summary: Summary, expected: Summary) -> Summary:
    """Return what is expected of a run when it had as few steps and classes as a summary has."""
    increments, order = summary.get('increments', []), summary['class_order']
    # only then it is known where the steps of a shorter order end
    if sum(increments) != len(order):
        return expected
    return {
        **expected,
        'increments': expected['increments'][: len(increments)],
        'class_order': expected['class_order'][: len(order)],
    }


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f'{text[:200]}...'


def read_summary(path: Path) -> Summary:
    """Read and check a summary.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is damaged: not JSON, or not of the schema. The message names the file.
    """
    try:
        summary = json.loads(path.read_text(encoding='utf-8'))
        _check_summary(summary)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f'{path}: not a summary of a run ({error}); it is left as it is: restore it, or move '
            f'it away and evaluate the steps again'
        ) from error
    return summary


def write_summary(path: Path, summary: Summary) -> None:
    """Write a summary so that the file holds either the old or the new one, whatever happens.

    Raises:
        OSError: If the folder cannot be written.
        ValueError: If a number is NaN or infinite.
    """
    text = json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False)
    with replaced_file(path) as temporary:
        temporary.write_text(f'{text}\n', encoding='utf-8')


def steps_up_to(
    path: Path, run: Summary, *, step: int, iters: int, seed: int | None
) -> list[dict[str, Any]]:
    """Return the steps of another run up to the one that ended with a checkpoint.

    Args:
        path: The summary of the other run. Its method may be another one.
        run: The summary of the run that goes on from there, without steps.
        step: Step of the checkpoint.
        iters: Iterations of the checkpoint.
        seed: Seed of the checkpoint.

    Returns:
        Its entries, each with ``of_run``, the folder of the other run.

    Raises:
        ValueError: If the file is damaged, of another task, setting or order of classes, or
            that step has not ended with the checkpoint.
    """
    summary = read_summary(path)
    increments = run['increments'][: step + 1]
    seen = {'increments': increments, 'class_order': run['class_order'][: sum(increments)]}
    # what is learned after that step may differ
    shared = {key: summary.get(key, [])[: len(value)] for key, value in seen.items()}
    check_same_run({**summary, **shared, 'method': run['method']}, {**run, **seen}, path)
    last: dict[str, Any] = next((entry for entry in summary['steps'] if entry['step'] == step), {})
    if (last.get('train_iters'), last.get('seed')) != (iters, seed):
        raise ValueError(f'{path}: it has no step {step} of {iters} iterations with seed {seed}')
    folder = str(path.parent)
    return [{'of_run': folder, **entry} for entry in summary['steps'] if entry['step'] <= step]


def update_summary(
    path: Path,
    run: Summary,
    entry: Mapping[str, Any],
    before: Sequence[Mapping[str, Any]] = (),
) -> Summary:
    """Merge a step's entry into the file, which is made if it is not there.

    Args:
        path: The file.
        run: The summary of the run without steps (see :func:`new_summary`).
        entry: The step's entry.
        before: Entries of earlier steps, for those that the file has not.

    Returns:
        What was written.

    Raises:
        ValueError: If the file is damaged or belongs to another run; it is not changed then.
    """
    found = read_summary(path) if path.exists() else {}
    if found:
        check_same_run(found, run, path)
    steps = {step['step']: dict(step) for step in (*before, *found.get('steps', []))}
    ordered = [steps[number] for number in sorted(steps)]
    summary = merge_step({**found, **run, 'steps': ordered}, entry)
    write_summary(path, summary)
    return summary


def drop_steps(path: Path, first: int) -> None:
    """Remove the entries of a step and of those after it from the file, if there are any.

    A file without entries is removed.

    Raises:
        ValueError: If the file is damaged.
    """
    if not path.exists():
        return
    summary = read_summary(path)
    steps = [entry for entry in summary['steps'] if entry['step'] < first]
    if not steps:
        path.unlink()
    elif len(steps) < len(summary['steps']):
        final = _final(steps, summary['task'])
        write_summary(path, {**summary, 'steps': steps, 'final': final})


def _check_summary(summary: Any) -> None:
    _check_keys(summary, _SUMMARY_KEYS, 'the file')
    _check_items(summary['class_order'], str, 'class_order')
    if 'increments' in summary:
        _check_keys(summary, {'increments': list}, 'the file')
        _check_items(summary['increments'], int, 'increments')
    task_named(summary['task'])
    for entry in summary['steps']:
        _check_entry(entry, summary['task'])
    steps = [entry['step'] for entry in summary['steps']]
    if steps != sorted(set(steps)):
        raise ValueError(f'steps: expected each step once, in ascending order, got {steps}')
    metric = task_named(summary['task']).measures[0]
    _check_values(summary['final'].get(metric), (*GROUPS, 'avg', 'forgetting'), f'final.{metric}')


def _check_entry(entry: Any, task: str) -> None:
    _check_keys(entry, _STEP_KEYS, 'an entry of steps')
    where = f'step {entry["step"]}'
    _check_items(entry['classes'], str, f'{where}, classes')
    if entry['step'] < 0:
        raise ValueError(f'{where}: steps count from 0')
    required = task_named(task).measures
    optional = [f'{metric}{FOREGROUND}' for metric in required]
    for metric in (*required, *(name for name in optional if name in entry['metrics'])):
        _check_values(entry['metrics'].get(metric), GROUPS, f'{where}, metrics.{metric}')
    for name, values in entry['per_class'].items():
        _check_values(values, required, f'{where}, per_class.{name}')


def _check_keys(value: Any, keys: Mapping[str, type | tuple[type, ...]], where: str) -> None:
    if not isinstance(value, dict):
        raise ValueError(f'{where}: expected an object, got {_shorten(value)}')
    missing = [key for key in keys if key not in value]
    if missing:
        raise ValueError(f'{where}: keys {missing} are missing')
    for key, kind in keys.items():
        if not isinstance(value[key], kind) or isinstance(value[key], bool):
            raise ValueError(f'{where}: {key} has the wrong type: {_shorten(value[key])}')


def _check_items(values: list[Any], kind: type, where: str) -> None:
    for value in values:
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ValueError(f'{where}: an item has the wrong type: {_shorten(value)}')


def _check_values(values: Any, keys: Iterable[str], where: str) -> None:
    _check_keys(values, dict.fromkeys(keys, (*_NUMBER, type(None))), where)


def num_steps(summary: Summary) -> int | None:
    """Return the number of steps of the run's scenario, or None if the summary does not tell."""
    return len(summary['increments']) if 'increments' in summary else None


def missing_steps(summary: Summary) -> list[int]:
    """Return the steps of the scenario that have no entry.

    Example:
        >>> missing_steps(new_summary(Scenario([1, 1], ['cat'], ['sky']), config='a', method='b'))
        [0, 1]
    """
    present = {entry['step'] for entry in summary['steps']}
    total = num_steps(summary)
    return sorted(set(range(max(present, default=-1) + 1 if total is None else total)) - present)
