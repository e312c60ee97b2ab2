"""What a comparison has to train: a job per method, seed and step, and what is there of it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from mmengine.config import Config

from ..atomic import replaced_file
from ..engine.checkpoint import previous_checkpoint
from ..engine.launch import prepare_device
from ..engine.request import Request, environment, load_config
from ..engine.scenario_config import scenario_of
from ..engine.settings import differences, settings_of
from ..engine.state import checkpoints_in
from ..evaluation.summary import FILE_NAME, read_summary
from ..scenario import Scenario
from ..tasks import task_of
from .first_step import first_step_settings

State = Literal['done', 'begun', 'new']
RECORD = 'comparison.json'
"""What a comparison notes in its folder of what it compares."""


@dataclass(frozen=True, eq=False)
class Entry:
    """A method of a comparison, as its config describes it where METHOD names the method.

    Attributes:
        method: Such as ``comformer``.
        config: Path of its config.
        scenario: The scenario at its last step.
        task: Name of the task.
        iters: Training iterations of each step.
        settings: What the results of its first and last step depend on, but for the seed.
        first_step: What its step 0 depends on, but for the seed and what does nothing then.
    """

    method: str
    config: Path
    scenario: Scenario
    task: str
    iters: tuple[int, ...]
    settings: Mapping[str, Any]
    first_step: Mapping[str, Any]


def read_entry(method: str, config: Path, options: Mapping[str, Any]) -> Entry:
    """Read the configs of all steps of a method.

    Args:
        method: Its name.
        config: Path of its config.
        options: Settings that override those of the config, by dotted key.

    Raises:
        TypeError: If a config has a value of a wrong type.
        ValueError: If a config contradicts itself, or is of another method.
    """
    request = Request(config=str(config), cfg_options=options)
    try:
        with environment(METHOD=method):
            steps = scenario_of(load_config(request, 0)).num_steps
            configs = [_prepared(request, step) for step in range(steps)]
    except (TypeError, ValueError) as error:
        if config.name.startswith(f'{method}_'):
            raise
        # the config is right for another method
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f'METHOD={method}: {error}') from error
    found = configs[0].get('method', {}).get('key', method)
    if found != method:
        raise ValueError(
            f'config {config}: its method is {found} whatever METHOD says; write '
            f'_base_/methods/{{{{$METHOD:{found}}}}}.py in its _base_, or a config for {method}'
        )
    settings = {f'step {step}': _seedless(configs[step]) for step in sorted({0, steps - 1})}
    return Entry(
        method=method,
        config=config,
        scenario=scenario_of(configs[-1]),
        task=task_of(configs[-1].model).name,
        iters=tuple(cfg.train_cfg.max_iters for cfg in configs),
        settings=settings,
        first_step=first_step_settings(configs[0]),
    )


def _prepared(request: Request, step: int) -> Config:
    cfg = load_config(request, step)
    if 'max_iters' not in (cfg.get('train_cfg') or {}):
        raise ValueError(
            f'config {request.config}: train_cfg has no max_iters; a comparison is made of '
            f'trainings that count iterations (IterBasedTrainLoop)'
        )
    prepare_device(cfg, launcher='none', amp=False)
    return cfg


def _seedless(cfg: Config) -> dict[str, Any]:
    settings = settings_of(cfg)
    settings.pop('randomness')
    return settings


@dataclass(frozen=True, eq=False)
class Run:
    """The training of a method with a seed.

    Attributes:
        entry: The method.
        seed: The seed.
        folder: Its work dir.
        options: Settings that override those of the config, as ``KEY=VALUE``.
        shared: The run whose step 0 it goes on from; None if it trains its own.
    """

    entry: Entry
    seed: int
    folder: Path
    options: Sequence[str] = ()
    shared: Run | None = None

    @property
    def name(self) -> str:
        """Return its name in messages, such as ``comformer, seed 0``."""
        return f'{self.entry.method}, seed {self.seed}'

    @property
    def jobs(self) -> list[Job]:
        """Return what this run has to train itself, in order."""
        return [Job(self, step) for step in range(len(self.entry.iters)) if step or not self.shared]

    def state(self, step: int) -> State:
        """Tell what is there of a step."""
        if step == 0 and self.shared is not None:
            return self.shared.state(0)
        path = self.folder / FILE_NAME
        entries = read_summary(path)['steps'] if path.is_file() else []
        found = next((entry for entry in entries if entry['step'] == step), None)
        if found and found['train_iters'] == self.entry.iters[step]:
            return 'done'
        return 'begun' if checkpoints_in(self.folder / f'step{step}') else 'new'

    def iterations(self, step: int) -> int:
        """Return how many iterations of a step have been trained and saved."""
        if self.state(step) == 'done':
            return self.entry.iters[step]
        files = checkpoints_in(self.folder / f'step{step}')
        return int(files[0].stem.split('_')[1]) if files else 0


@dataclass(frozen=True)
class Job:
    """The training and evaluation of a step of a run."""

    run: Run
    step: int

    @property
    def name(self) -> str:
        """Return its name in messages, such as ``comformer, seed 0, step 1``."""
        return f'{self.run.name}, step {self.step}'

    @property
    def needs(self) -> Job | None:
        """Return the job that has to be done before."""
        if self.step == 0:
            return None
        if self.step == 1 and self.run.shared is not None:
            return Job(self.run.shared, 0)
        return Job(self.run, self.step - 1)

    @property
    def iters(self) -> int:
        """Return its training iterations."""
        return self.run.entry.iters[self.step]

    @property
    def state(self) -> State:
        """Tell what is there of it."""
        return self.run.state(self.step)

    @property
    def log(self) -> Path:
        """Return the file of its output."""
        return self.run.folder / f'step{self.step}.log'

    def command(self, train: Path, *, resolve: bool = True) -> list[str]:
        """Return the command that trains it, or goes on with it.

        Args:
            train: Path of ``tools/train.py``.
            resolve: Whether the teacher of another run has to be there; otherwise its name is what
                it will be.
        """
        run = self.run
        options = [*run.options, f'randomness.seed={run.seed}']
        command = [
            *(sys.executable if resolve else 'python', str(train), str(run.entry.config)),
            *('--step', str(self.step), '--work-dir', str(run.folder), '--resume'),
        ]
        if self.step == 1 and run.shared is not None:
            folder = run.shared.folder / 'step0'
            last = folder / f'iter_{run.shared.entry.iters[0]}.pth'
            command += ['--teacher', str(previous_checkpoint(folder) if resolve else last)]
        return [*command, '--cfg-options', *options]


@dataclass(frozen=True, eq=False)
class Comparison:
    """The runs of a comparison, and its folder.

    Attributes:
        scenario: Such as ``shapes_6-3``.
        folder: Where its runs and tables are.
        entries: The methods.
        seeds: The seeds.
        recipe: ``released`` or ``fair``.
        options: Settings that override those of all configs, as ``KEY=VALUE``.

    Raises:
        ValueError: If the methods do not have the same task.
    """

    scenario: str
    folder: Path
    entries: Sequence[Entry]
    seeds: Sequence[int]
    recipe: str
    options: Sequence[str] = field(default=())

    def __post_init__(self) -> None:
        """Check the entries."""
        first = self.entries[0]
        for entry in self.entries:
            if entry.task != first.task:
                raise ValueError(
                    f'config {entry.config}: its task is {entry.task}, and that of {first.config} '
                    f'is {first.task}; their measures cannot stand in one table, compare each '
                    f'task on its own'
                )

    @cached_property
    def runs(self) -> list[Run]:
        """Return the runs, all methods of a seed before those of the next one."""
        return [run for seed in self.seeds for run in self._of_seed(seed)]

    def _of_seed(self, seed: int) -> Iterator[Run]:
        first: list[Run] = []
        for entry in self.entries:
            folder = self.folder / entry.method / f'seed{seed}'
            known = (run for run in first if run.entry.first_step == entry.first_step)
            shared = next(known, None) if len(entry.iters) > 1 else None
            run = Run(entry, seed, folder, self.options, shared)
            if shared is None:
                first.append(run)
            yield run

    @property
    def jobs(self) -> list[Job]:
        """Return all jobs in an order in which they can be done, shared first steps first."""
        jobs = [job for run in self.runs for job in run.jobs]
        return sorted(jobs, key=lambda job: (job.run.seed, job.step))

    def check(self) -> None:
        """Check that what is in the folder is of this comparison.

        Raises:
            RuntimeError: If it is of another scenario, setting, recipe, or of a method with other
                settings; or no folder.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise RuntimeError(f'--work-dir {self.folder}: expected a folder, and this is a file')
        found = self._read()
        if found is None and any(self.folder.glob('*/seed*/step*')):
            raise RuntimeError(
                f'{self.folder}: it has runs, but no {RECORD} that says of what; choose another '
                f'--work-dir'
            )
        if found is not None:
            self._check_same(found, self._record())

    def begin(self) -> None:
        """Check the folder, and note in it what this comparison is.

        Raises:
            RuntimeError: As :meth:`check`.
        """
        self.check()
        present, found = self._record(), self._read()
        if found is not None:
            present['methods'] = {**found['methods'], **present['methods']}
        self.folder.mkdir(parents=True, exist_ok=True)
        with replaced_file(self.folder / RECORD) as temporary:
            temporary.write_text(f'{json.dumps(present, indent=1)}\n', encoding='utf-8')

    def noted_methods(self) -> list[str]:
        """Return the methods of which the folder has, or may have, runs."""
        found = self._read()
        return list(found['methods']) if found else []

    def with_others(self, entries: Sequence[Entry]) -> Comparison:
        """Return this comparison with more methods and with all seeds that the folder has.

        Args:
            entries: The other methods. One whose runs had other settings or another task is left
                out.
        """
        found = self._read() or {'methods': {}}
        others = [
            entry
            for entry in entries
            if entry.task == self.entries[0].task
            and not list(
                differences(found['methods'].get(entry.method, {}), _plain(entry.settings))
            )
        ]
        names = (path.name.removeprefix('seed') for path in self.folder.glob('*/seed*'))
        seeds = {int(name) for name in names if name.isdecimal()}
        return replace(self, entries=[*self.entries, *others], seeds=sorted({*self.seeds, *seeds}))

    def _record(self) -> dict[str, Any]:
        return {
            'scenario': self.scenario,
            'recipe': self.recipe,
            'setting': self.entries[0].scenario.setting,
            'methods': {entry.method: _plain(entry.settings) for entry in self.entries},
        }

    def _read(self) -> dict[str, Any] | None:
        path = self.folder / RECORD
        if not path.is_file():
            return None
        try:
            found = json.loads(path.read_text(encoding='utf-8'))
            if not isinstance(found['methods'], dict):
                raise TypeError(f'methods is {found["methods"]!r}')
        except (ValueError, KeyError, TypeError) as error:
            raise RuntimeError(
                f'{path}: not the note of a comparison ({error}); move it away if the runs are '
                f'those of {self.scenario}, or choose another --work-dir'
            ) from error
        return found

    def _check_same(self, found: Mapping[str, Any], present: Mapping[str, Any]) -> None:
        for key in ('scenario', 'setting', 'recipe'):
            if found.get(key) != present[key]:
                raise RuntimeError(
                    f'{self.folder}: its runs have the {key} {found.get(key)}, not {present[key]}; '
                    f'choose another --work-dir'
                )
        for method, settings in present['methods'].items():
            if not (self.folder / method).is_dir():
                # its runs were removed, or never begun
                continue
            changed = list(differences(found['methods'].get(method, settings), settings))
            if changed:
                more = f'; and {len(changed) - 3} more' if changed[3:] else ''
                raise RuntimeError(
                    f'{self.folder}: the runs of {method} had other settings: '
                    f'{"; ".join(map(str, changed[:3]))}{more}; choose another --work-dir, set '
                    f'this back, or remove {self.folder / method} to train it anew'
                )


def _plain(settings: Mapping[str, Any]) -> Any:
    """Return settings as JSON gives them back."""
    return json.loads(json.dumps(settings))


def choose(recipe: str | None, setting: str | None) -> None:
    """Choose recipe and setting for all configs that are parsed here and in the trainings.

    Args:
        recipe: None leaves that of the configs.
        setting: None leaves that of the configs.
    """
    for name, value in {'RECIPE': recipe, 'SETTING': setting}.items():
        if value is not None:
            os.environ[name] = value
