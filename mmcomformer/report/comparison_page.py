"""The page that compares runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ..evaluation.run_figures import COLUMNS, Spread, group_key, seed_of, spreads
from ..evaluation.summary import FILE_NAME, Summary, missing_steps, read_summary
from ..tasks import task_named
from .collected import Evaluation
from .numbers import class_histories
from .picture_pool import choose_pictures
from .picture_rows import Names, PictureRow, picture_row
from .plots import line_plot
from .rendering import check_page, render, write_page
from .run_page import evaluation_of, rankings, read_or_reason


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed alone.

    Attributes:
        name: What tables and plots call it.
        folders: The folders of the runs.
        summaries: Their summaries.
    """

    name: str
    folders: Sequence[Path]
    summaries: Sequence[Summary]

    @property
    def first(self) -> Summary:
        """The summary of the first run."""
        return self.summaries[0]

    @property
    def seeds(self) -> str:
        """The seeds as text."""
        seeds = [seed_of(summary) for summary in self.summaries]
        return ', '.join('?' if seed is None else str(seed) for seed in seeds)

    @property
    def scenario(self) -> str:
        """Classes per step and setting, as text."""
        increments = self.first.get('increments', [])
        return f'{" + ".join(map(str, increments))} {self.first["setting"]}'.strip()

    def figures(self) -> dict[str, Spread]:
        """Return mean and spread of the figures."""
        return spreads(self.summaries)

    def spread_of_steps(self, key: str) -> Spread:
        """Return mean and spread of a number of the steps, averaged over the steps of a run."""
        return Spread.of([_mean_of_steps(summary, key) for summary in self.summaries])

    def trainable(self) -> str:
        """Return the trainable parameters of the steps, or one number if they read alike."""
        found = [entry.get('trainable_parameters') for entry in self.first['steps']]
        if not found or None in found:
            return '-'
        low, high = _millions(min(found)), _millions(max(found))
        return low if low == high else f'{low} to {high}'

    def memory(self) -> str:
        """Return the largest peak of memory, and of what it is."""
        machines = [
            entry['machine']
            for summary in self.summaries
            for entry in summary['steps']
            if (entry.get('machine') or {}).get('peak_memory_mb') is not None
        ]
        if not machines:
            return '-'
        most = max(machines, key=lambda machine: machine['peak_memory_mb'])
        return f'{most["peak_memory_mb"]} ({most["peak_memory_of"]})'


def _mean_of_steps(summary: Summary, key: str) -> float | None:
    values = [entry.get(key) for entry in summary['steps']]
    return None if not values or None in values else sum(values) / len(values)


def _millions(number: int) -> str:
    return f'{number / 1e6:.2f} M'


def write_comparison_page(
    runs: Sequence[str | Path], file: str | Path, *, overwrite: bool = False
) -> Path:
    """Write a page that compares runs.

    Runs of one method, config and scenario are taken together, as they differ in their seed. What
    is missing of the files of a run is said on the page.

    Args:
        runs: Folders of runs, each with its summary, of one task.
        file: Where to write.
        overwrite: Whether a file that something else wrote is replaced.

    Returns:
        The file.

    Raises:
        FileExistsError: If there is a file of something else.
        FileNotFoundError: If there is no summary in one of the folders.
        OSError: If the page cannot be written.
        ValueError: If there is no run, a summary is damaged, or the tasks differ.
    """
    path = Path(file)
    folders = list(dict.fromkeys(Path(run) for run in runs))
    if not folders:
        raise ValueError('runs: expected at least one folder of a run, got none')
    summaries = [read_summary(folder / FILE_NAME) for folder in folders]
    _check_one_task(folders, summaries)
    check_page(path, overwrite=overwrite)
    groups = group_runs(folders, summaries)
    write_page(path, render('comparison.html.j2', _content(groups)))
    return path


def _check_one_task(folders: Sequence[Path], summaries: Sequence[Summary]) -> None:
    for folder, summary in zip(folders, summaries, strict=True):
        if summary['task'] != summaries[0]['task']:
            raise ValueError(
                f'{folder}: its task is {summary["task"]}, that of {folders[0]} is '
                f'{summaries[0]["task"]}; their metrics cannot be compared, write a page of each'
            )


def group_runs(folders: Sequence[Path], summaries: Sequence[Summary]) -> list[Group]:
    """Return the runs by method, config and scenario, in the order in which they were given."""
    members: dict[Any, list[int]] = {}
    for index, summary in enumerate(summaries):
        members.setdefault(group_key(summary), []).append(index)
    groups = []
    for indices in members.values():
        chosen = [summaries[index] for index in indices]
        groups.append(Group('', [folders[index] for index in indices], chosen))
    names = _names(groups)
    return [Group(n, g.folders, g.summaries) for n, g in zip(names, groups, strict=True)]


def _names(groups: Sequence[Group]) -> list[str]:
    """Return the shortest names that tell groups apart."""
    candidates = [
        [g.first['method'] for g in groups],
        [f'{g.first["method"]}, {g.first["config"]}' for g in groups],
        [f'{g.first["method"]}, {g.first["config"]}, {g.scenario}' for g in groups],
        [f'{g.first["method"]}, {g.folders[0]}' for g in groups],
    ]
    return next((names for names in candidates if len(set(names)) == len(names)), candidates[-1])


def _content(groups: Sequence[Group]) -> dict[str, Any]:
    metric = task_named(groups[0].first['task']).measures[0]
    evaluated = [group for group in groups if group.first['steps']]
    rows, missing = _pictures(evaluated)
    return {
        'title': 'Comparison of runs',
        'groups': groups,
        'columns': COLUMNS,
        'metric': metric,
        'task': groups[0].first['task'],
        'incomplete': [
            (folder, missing_steps(summary))
            for group in groups
            for folder, summary in zip(group.folders, group.summaries, strict=True)
            if missing_steps(summary)
        ],
        'curves': [
            (name, _curves(evaluated, metric, key))
            for name, key in (
                ('all classes', 'all'),
                ('base classes', 'base'),
                ('new classes', 'new'),
            )
        ]
        if evaluated
        else [],
        'names': [group.name for group in evaluated],
        'classes': _class_rows(evaluated),
        'rows': rows,
        'missing': missing,
    }


def _curves(groups: Sequence[Group], metric: str, key: str) -> Markup | None:
    """Draw the mean of each group over the number of classes learned so far."""
    lines: dict[str, list[tuple[float, float]]] = {}
    around: dict[str, list[float]] = {}
    for group in groups:
        for index, entry in enumerate(group.first['steps']):
            values = [
                summary['steps'][index]['metrics'][metric][key]
                for summary in group.summaries
                if index < len(summary['steps'])
                and summary['steps'][index]['step'] == entry['step']
            ]
            spread = Spread.of(values)
            if spread.mean is not None:
                lines.setdefault(group.name, []).append((_learned(group, entry), spread.mean))
                around.setdefault(group.name, []).append(spread.sd or 0.0)
    if not lines:
        return None
    return line_plot(
        lines,
        x_label='classes learned',
        y_label=f'{metric} (%)',
        whole_x=True,
        from_zero=True,
        spread=around,
    )


def _learned(group: Group, entry: Mapping[str, Any]) -> int:
    increments = group.first.get('increments', [])
    if entry['step'] < len(increments):
        return sum(increments[: entry['step'] + 1])
    return len(entry['per_class'])


def _class_rows(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Return for each class its final value in each group, and the difference to the first."""
    by_group = [_final_of_classes(group) for group in groups]
    names = dict.fromkeys(name for values in by_group for name in values)
    rows = []
    for name in names:
        values = [of_group.get(name) for of_group in by_group]
        reference = values[0]
        differences = [
            None if reference is None or value is None else value - reference
            for value in values[1:]
        ]
        rows.append({'name': name, 'finals': values, 'differences': differences})
    return rows


def _final_of_classes(group: Group) -> dict[str, float | None]:
    histories = [
        {history.name: history.values[-1] for history in class_histories(summary)}
        for summary in group.summaries
        if summary['steps']
    ]
    names = dict.fromkeys(name for values in histories for name in values)
    return {name: Spread.of([of_run.get(name) for of_run in histories]).mean for name in names}


def _pictures(groups: Sequence[Group]) -> tuple[list[PictureRow], list[str]]:
    """Draw what the first run of each group predicts at the end, and say what is missing."""
    known: dict[str, Evaluation] = {}
    missing = []
    for group in groups:
        folder, entry = group.folders[0], group.first['steps'][-1]
        found = read_or_reason(partial(evaluation_of, folder, entry))
        if isinstance(found, str):
            missing.append(f'{group.name}: {found}')
        else:
            known[group.name] = found
    if not known:
        return [], missing
    reference = next(group for group in groups if group.name in known)
    base = known[reference.name]
    by_group = {name: {p.name: p for p in e.pictures} for name, e in known.items()}
    everywhere = [p for p in base.pictures if all(p.name in of for of in by_group.values())]
    order = rankings(base.classes, class_histories(reference.first))
    rows = []
    for picture in choose_pictures(everywhere, order):
        maps = {
            'ground truth': picture.maps['truth'],
            **{name: of[picture.name].maps['prediction'] for name, of in by_group.items()},
        }
        rows.append(picture_row(picture, maps, Names(base.classes, base.palette)))
    if not rows:
        missing.append('the runs have kept no image in common')
    return rows, missing
