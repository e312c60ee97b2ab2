"""What a command does with a step: decided here, from what earlier runs left in its folder."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mmengine.config import Config
from mmengine.logging import print_log

from ..atomic import replaced_file
from ..evaluation.summary import FILE_NAME, drop_steps, read_summary
from ..scenario import Scenario
from .checkpoint import (
    META_KEY,
    check_seen_classes,
    continual_meta,
    file_sha256,
    is_trained,
    previous_checkpoint,
    read_verified,
)
from .hooks.previous_step_hook import find_hooks
from .scenario_config import scenario_of
from .settings import PRECISION, Difference, differences, settings_of

State = Literal['new', 'resume', 'evaluate', 'done']
_NOTE = 'teacher.json'


@dataclass(frozen=True)
class ResumePoint:
    """Where the work on a step goes on.

    Attributes:
        state: ``new``; ``resume``, in the middle of training; ``evaluate``, trained and not
            evaluated; or ``done``.
        checkpoint: The file it goes on from, in the step's present folder; None for ``new``.
        seed: The seed that the step was begun with; None if it is not known.
    """

    state: State
    checkpoint: Path | None = None
    seed: int | None = None

    @property
    def message(self) -> str:
        """What the user is told."""
        texts = {
            'new': 'training',
            'resume': f'resuming its training from {self.checkpoint}',
            'evaluate': f'trained already, evaluating {self.checkpoint}',
            'done': 'finished already, skipped',
        }
        return texts[self.state]


def resume_point(cfg: Config, *, resume: bool, overwrite: bool = False) -> ResumePoint:
    """Decide what to do for a step.

    Files are read here and nowhere else for this purpose; in a distributed run the first process
    alone decides.

    Args:
        cfg: The step's config, after :func:`~mmcomformer.engine.launch.prepare_device`.
        resume: Whether to go on with what is there.
        overwrite: Whether to begin anew whatever is there.

    Raises:
        RuntimeError: If something is there and it was not said what to do with it; or if what is
            there is of another run: other classes, setting, method, model, data, schedule, seed,
            batch or teacher, or none of its checkpoints can be read.
    """
    scenario = scenario_of(cfg)
    folder = Path(cfg.work_dir)
    results = _results(folder.parent / FILE_NAME, scenario.step)
    files = checkpoints_in(folder)
    if overwrite or not (files or results):
        return ResumePoint('new')
    if not resume or not files:
        raise RuntimeError(_begun_message(scenario.step, folder, files, resume=resume))
    path, checkpoint = newest_readable(folder)
    meta = checkpoint['meta']
    trained = is_trained(meta, cfg.get('train_cfg'))
    _check_scenario(continual_meta(checkpoint, path), scenario, path)
    _check_settings(meta, cfg, path, ignored=PRECISION if trained else frozenset())
    _check_teacher(meta[META_KEY], path, teacher_of(cfg, scenario))
    if not trained:
        state: State = 'resume'
    elif results and results['train_iters'] == meta['iter']:
        state = 'done'
    else:
        state = 'evaluate'
    return ResumePoint(state, path, meta.get('seed'))


def checkpoints_in(folder: str | Path) -> list[Path]:
    """Return the numbered checkpoints of a step's folder, the latest first."""
    numbered = [
        (int(found[1]), path)
        for path in Path(folder).glob('*.pth')
        if (found := re.fullmatch(r'(?:iter|epoch)_(\d+)\.pth', path.name))
    ]
    return [path for _, path in sorted(numbered, reverse=True)]


def _results(path: Path, step: int) -> Mapping[str, Any] | None:
    """Return a step's entry in the summary of its run."""
    if not path.is_file():
        return None
    return next((entry for entry in read_summary(path)['steps'] if entry['step'] == step), None)


def _begun_message(step: int, folder: Path, files: list[Path], *, resume: bool) -> str:
    present = f'a checkpoint ({files[0].name})' if files else f'results in {FILE_NAME}'
    if resume:
        return (
            f'--resume: step {step} has {present}, but no checkpoint in {folder}; put it back, or '
            f'pass --overwrite --step {step} to train the step anew'
        )
    return (
        f'step {step} has {present} already, in {folder}; pass --resume to go on with it, '
        f'--overwrite to train it anew, or another --work-dir'
    )


def newest_readable(folder: Path) -> tuple[Path, dict[str, Any]]:
    """Return the checkpoint that ``last_checkpoint`` names, or else the latest one that is whole.

    Args:
        folder: A step's folder, such as ``work_dirs/comformer_shapes_6-3/step0``.

    Returns:
        Its path and content; tensors are read when they are used.

    Raises:
        RuntimeError: If there is none.
    """
    files = checkpoints_in(folder)
    candidates = list(files)
    first_error: Exception | None = None
    # there is no pointer yet if a kill came between the first checkpoint and it
    if (folder / 'last_checkpoint').is_file():
        try:
            last = previous_checkpoint(folder)
            candidates = [last, *(path for path in files if path != last)]
        except FileNotFoundError as error:
            first_error = error
    for path in candidates:
        try:
            checkpoint = read_verified(path)
        except RuntimeError as error:
            first_error = first_error or error
            continue
        if first_error is not None:
            print_log(f'{first_error}; going on from {path}', 'current', logging.WARNING)
        return path, checkpoint
    raise RuntimeError(
        f'--resume: {first_error}; no other checkpoint is in {folder}: pass --overwrite to train '
        f'the step anew'
    ) from first_error


def _check_scenario(continual: dict[str, Any], scenario: Scenario, path: Path) -> None:
    if continual['step'] != scenario.step:
        raise RuntimeError(
            f'--resume: {path} is of step {continual["step"]}, not of step {scenario.step}; a '
            f"step's folder holds its own checkpoints only"
        )
    check_seen_classes(continual, scenario, path)
    theirs = Scenario.from_config(continual['scenario'])
    found = [
        Difference(f'scenario.{key}', old, new)
        for key, (old, new) in {
            'setting': (theirs.setting, scenario.setting),
            'partition_seed': (theirs.partition_seed, scenario.partition_seed),
            'background': (theirs.background, scenario.background),
            'thing_classes': (_seen_things(theirs), _seen_things(scenario)),
        }.items()
        if old != new
    ]
    _refuse(found, path)


def _seen_things(scenario: Scenario) -> list[str]:
    seen = {scenario.classes[label] for label in scenario.seen_labels}
    return sorted(seen.intersection(scenario.thing_classes))


def _check_settings(
    meta: Mapping[str, Any], cfg: Config, path: Path, *, ignored: frozenset[str]
) -> None:
    new = settings_of(cfg)
    # a checkpoint of before settings were stored tells its seed only
    old = dict(meta[META_KEY].get('settings') or {**new, 'randomness': {}})
    # what was drawn at random is kept, unless another seed is asked for
    if new['randomness']['seed'] is None:
        new.pop('randomness')
        old.pop('randomness')
    else:
        old['randomness'] = {'seed': meta.get('seed')}
    _refuse([item for item in differences(old, new) if item.key not in ignored], path)


def _refuse(found: list[Difference], path: Path) -> None:
    if not found:
        return
    shown = '; '.join(map(str, found[:4])) + (f'; and {len(found) - 4} more' if found[4:] else '')
    raise RuntimeError(
        f'--resume: {path} belongs to another run: {shown}. Set this back to go on with that run, '
        f'or choose another --work-dir for a new one (with --teacher CHECKPOINT to keep the steps '
        f'before)'
    )


def teacher_of(cfg: Config, scenario: Scenario) -> Path | None:
    """Return the checkpoint that a step starts from: the config's, or that of the step before."""
    given = [hook['teacher_ckpt'] for hook in find_hooks(cfg) if hook.get('teacher_ckpt')]
    if given:
        return Path(given[0])
    folder = Path(cfg.work_dir).parent / f'step{scenario.step - 1}'
    return previous_checkpoint(folder) if (folder / 'last_checkpoint').is_file() else None


def _check_teacher(continual: dict[str, Any], path: Path, present: Path | None) -> None:
    """Check that a step goes on with the teacher that it was begun with."""
    before = continual.get('teacher')
    if not before or present is None:
        return
    if not present.is_file() or file_sha256(present) != before['sha256']:
        raise RuntimeError(
            f'--resume: {path} was trained from {before["path"]}, which is not the present '
            f'{present}; pass --overwrite --step {continual["step"]} to train this step anew, or '
            f'the teacher that it had as --teacher'
        )


def note_teacher(run_dir: str | Path, step: int, teacher: str | None) -> None:
    """Write down with which checkpoint a run of several steps was started.

    Until the first checkpoint of the run nothing else tells.

    Args:
        run_dir: The folder of the steps' folders.
        step: The first step that is trained.
        teacher: The checkpoint; None removes an older note.
    """
    path = Path(run_dir) / _NOTE
    if teacher is None:
        path.unlink(missing_ok=True)
        return
    note = {'step': step, 'path': str(Path(teacher).resolve()), 'sha256': file_sha256(teacher)}
    with replaced_file(path) as temporary:
        temporary.write_text(f'{json.dumps(note)}\n', encoding='utf-8')


def begun_with(run_dir: str | Path) -> tuple[int, str | None]:
    """Return the first step that a run trains, and the checkpoint that it was given for it.

    A run that was started with ``--teacher`` has no step before its first one.

    Args:
        run_dir: The folder of the steps' folders.

    Returns:
        ``(0, None)`` unless the run was given a teacher; None in its place too if that is gone.

    Raises:
        RuntimeError: If what the run has left cannot be read.
    """
    run_dir = Path(run_dir)
    begun = sorted(
        int(folder.name.removeprefix('step'))
        for folder in run_dir.glob('step*')
        if folder.name.removeprefix('step').isdigit() and checkpoints_in(folder)
    )
    if not begun:
        teacher = _read_note(run_dir / _NOTE)
    elif begun[0] == 0:
        teacher = None
    else:
        folder = run_dir / f'step{begun[0]}'
        path, checkpoint = newest_readable(folder)
        teacher = continual_meta(checkpoint, path).get('teacher')
    if teacher is None:
        return (begun or [0])[0], None
    file = Path(teacher['path'])
    known = file.is_file() and file_sha256(file) == teacher['sha256']
    return teacher['step'] + 1, str(file) if known else None


def _read_note(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        note = json.loads(path.read_text(encoding='utf-8'))
        return {'path': note['path'], 'sha256': note['sha256'], 'step': note['step'] - 1}
    except (ValueError, KeyError, TypeError) as error:
        raise RuntimeError(
            f'{path}: it cannot be read ({error}); remove it, and pass --teacher again'
        ) from error


def discard(run_dir: str | Path, steps: Sequence[int]) -> None:
    """Remove checkpoints and results of steps that are trained anew; their logs stay.

    Were they left, a run that is killed early would later go on from them.
    """
    run_dir = Path(run_dir)
    for step in steps:
        folder = run_dir / f'step{step}'
        (folder / 'last_checkpoint').unlink(missing_ok=True)
        for path in checkpoints_in(folder):
            path.unlink(missing_ok=True)
    drop_steps(run_dir / FILE_NAME, min(steps))
