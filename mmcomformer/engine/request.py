"""What was asked for on the command line, and the config of a step that follows from it."""

from __future__ import annotations

import copy
import logging
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import MMLogger

from ..compat import libraries  # noqa: F401  (a wrong version is reported before the config is)
from ..config_files import config_names, find_config, method_names
from ..recipe import settle
from ..scenario import parse_step, step_from_environment
from ..spelling import closest
from ..tasks import task_of
from .config_check import check_config, check_types
from .config_keys import check_config_keys, check_option_keys
from .scenario_config import check_options, has_memory, scenario_of, step_dir_of


@dataclass(frozen=True)
class Request:
    """What the user asked for on the command line.

    Attributes:
        config: Path of the config, or the name of one that comes with the package.
        step: The step to run; None runs all of them.
        work_dir: Folder for the folders of the steps; None takes the config's.
        resume: Whether to skip finished steps and continue the unfinished one.
        overwrite: Whether to train steps anew that have been begun or finished.
        amp: Whether to train with automatic mixed precision.
        teacher: Checkpoint of the step before the first one that runs.
        launcher: ``none``, ``pytorch``, ``slurm`` or ``mpi``.
        cfg_options: Settings that override the config's, by dotted key.
        verbose: Whether the console shows all that the log file holds.
    """

    config: str
    step: int | None = None
    work_dir: str | None = None
    resume: bool = False
    overwrite: bool = False
    amp: bool = False
    teacher: str | None = None
    launcher: str = 'none'
    cfg_options: Mapping[str, Any] = field(default_factory=dict)
    verbose: bool = False


def requested_step(step: int | None) -> int | None:
    """Combine ``--step`` with the environment variable STEP.

    Raises:
        TypeError: If STEP is not a number.
        ValueError: If one is negative, or both are given and differ.
    """
    if step is not None:
        parse_step(step, source='--step')
    from_environment = step_from_environment()
    if step is not None and from_environment not in (None, step):
        raise ValueError(
            f'--step {step} and STEP={from_environment} contradict each other; give one of them'
        )
    return from_environment if step is None else step


def load_config(request: Request, step: int) -> Config:
    """Parse the config for a step, and set in it what the user asked for.

    What follows from the scenario and the schedule is derived anew where these are others than in
    the config that was inherited: the copies of the scenario, iterations, learning rate, work dir.

    Raises:
        FileNotFoundError: If there is no such config.
        TypeError: If it has no scenario, or it or the schedule has unknown keys.
        ValueError: If an option or the config contradicts the step or itself, the model is of no
            task, a component has a key, name or value that it does not know, or nothing reads the
            memory.
    """
    path = _config_path(request.config)
    check_options(request.cfg_options)
    cfg = _parse(str(path), step)
    check_config_keys(cfg.to_dict(), request.config)
    check_option_keys(request.cfg_options, cfg.to_dict())
    # merging takes _delete_ out of what it is given, and every step is given it
    cfg.merge_from_dict(copy.deepcopy(dict(request.cfg_options)))
    check_types(cfg)
    _settle(cfg, request, step)
    # without a scenario this raises, before anything else can fail for lack of one
    scenario = scenario_of(cfg)
    task_of(cfg.get('model'))
    stem = path.stem
    root = request.work_dir or (None if cfg.get('work_dir') else f'./work_dirs/{stem}')
    if root is not None:
        cfg.work_dir = str(Path(root) / f'step{scenario.step}')
    step_dir_of(cfg, scenario)
    check_config(cfg)
    _check_memory_is_read(cfg)
    return cfg


def _config_path(name: str) -> Path:
    path = find_config(name)
    if path is not None:
        return path
    meant = closest(Path(name).name, config_names())
    hint = f'; did you mean {meant}?' if meant else ''
    where = '' if Path(name).is_absolute() else f' in {Path.cwd()}'
    raise FileNotFoundError(
        f'config {name}: no such file{where}, and no config of mmcomformer has that name{hint}'
    )


def _settle(cfg: Config, request: Request, step: int) -> None:
    """Derive anew what follows from settings that the config or the options have changed."""
    if 'derived' not in cfg:
        return
    settings = cfg.to_dict()
    if isinstance(settings.get('scenario'), dict):
        settings['step'] = settings['scenario']['step'] = step
    settle(settings, Path(request.config).stem, set(_leaves(request.cfg_options)))
    for key, value in settings.items():
        if value != cfg.get(key):
            cfg[key] = value


def _check_memory_is_read(cfg: Config) -> None:
    if cfg.get('memory') is not None and not has_memory(cfg.get('train_dataloader')):
        raise ValueError(
            'memory: nothing reads it here, because no IncrementalDataset of train_dataloader was '
            'given it; write it into each of them, or inherit a config of this package that ends '
            'in complete(globals(), ...)'
        )


def _leaves(options: Mapping[str, Any], prefix: str = '') -> Iterator[str]:
    for key, value in options.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f'{prefix}{key}.')
        else:
            yield f'{prefix}{key}'


def _parse(path: str, step: int) -> Config:
    logger = MMLogger.get_current_instance()
    logger.addFilter(_is_warning)
    try:
        with environment(STEP=str(step)):
            return Config.fromfile(path)
    except (OSError, SyntaxError) as error:
        if isinstance(error, FileNotFoundError):
            _check_method(path)
        raise ValueError(f'config {path}: it cannot be read ({error})') from error
    except (LookupError, NameError, AttributeError, ImportError, AssertionError) as error:
        said = f'{type(error).__name__}: {error}'
        raise ValueError(f'config {path}: it cannot be read ({said})') from error
    finally:
        logger.removeFilter(_is_warning)


def _check_method(path: str) -> None:
    """Check that METHOD names a method.

    Raises:
        ValueError: If it does not; the message lists those that exist.
    """
    chosen, names = os.environ.get('METHOD'), method_names(Path(path).parent)
    if chosen is None or chosen.removesuffix('_semantic') in names:
        return
    meant = closest(chosen, names)
    hint = f'; did you mean {meant}?' if meant else ''
    raise ValueError(f'METHOD={chosen}: expected one of {", ".join(names)}{hint}')


def _is_warning(record: logging.LogRecord) -> bool:
    """Hold back mmengine's note, at every parsing, that STEP is set."""
    return record.levelno >= logging.WARNING


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """Set variables that configs read, such as STEP for ``{{'$STEP:0'}}``, and restore them."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def name_run(cfg: Config, request: Request, step: int) -> None:
    """Give a run a name of its own in this process."""
    # two steps may start within the second that mmengine's default name resolves
    cfg.experiment_name = f'{Path(request.config).stem}_step{step}_{uuid.uuid4().hex[:8]}'
    if 'visualizer' in cfg:
        # a name that is taken would give this run the visualizer, and the folder, of the last one
        cfg.visualizer.name = cfg.experiment_name
