"""The page of one run: ``report.html`` beside its ``summary.json``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from ..evaluation.groups import GROUPS, mean
from ..evaluation.summary import FILE_NAME, FOREGROUND, Summary, missing_steps, read_summary
from ..tables import join_names
from ..tasks import task_named
from .collected import (
    Evaluation,
    KeptPicture,
    PseudoLabelQuality,
    read_evaluation,
    read_pseudo_labels,
)
from .curves import read_curves, step_folder
from .numbers import (
    ClassHistory,
    ConfusionTable,
    by_loss,
    class_histories,
    confusion_table,
    of_machines,
)
from .picture_pool import choose_pictures
from .picture_rows import Names, PictureRow, picture_row
from .plots import line_plot, matrix_plot
from .rendering import check_page, render, write_page

PAGE_NAME = 'report.html'
MOST_IN_TABLE = 40
"""With more classes the confusion is a picture, not a table."""
MOST_LISTED = 12

T = TypeVar('T')


def write_run_page(
    run_dir: str | Path, file: str | Path | None = None, *, overwrite: bool = False
) -> Path:
    """Write the page of a run.

    What is missing of the run's files is said on the page.

    Args:
        run_dir: Folder of the run, with its summary.
        file: Where to write; ``report.html`` in that folder by default.
        overwrite: Whether a file that something else wrote is replaced.

    Returns:
        The file.

    Raises:
        FileExistsError: If there is a file of something else.
        FileNotFoundError: If there is no summary.
        OSError: If the page cannot be written.
        ValueError: If the summary is damaged.
    """
    run_dir = Path(run_dir)
    path = Path(file) if file is not None else run_dir / PAGE_NAME
    summary = read_summary(run_dir / FILE_NAME)
    check_page(path, overwrite=overwrite)
    write_page(path, render('run.html.j2', run_content(run_dir, summary)))
    return path


def run_content(run_dir: Path, summary: Summary) -> dict[str, Any]:
    """Return what the template of a run's page shows."""
    steps = summary['steps']
    task = task_named(summary['task'])
    histories = class_histories(summary)
    evaluations = {
        entry['step']: read_or_reason(partial(evaluation_of, run_dir, entry)) for entry in steps
    }
    last = evaluations[steps[-1]['step']] if steps else 'no step has been evaluated'
    table = last if isinstance(last, str) else confusion_table(last, [h.name for h in histories])
    return {
        'title': summary['config'],
        'summary': summary,
        'steps': steps,
        'measures': task.measures,
        'metric': task.measures[0],
        'groups': GROUPS,
        'foreground': _foreground(summary, task.measures[0]),
        'missing_steps': missing_steps(summary),
        'machines': of_machines(steps),
        'curves': _result_curves(summary, task.measures[0]) if steps else None,
        'histories': histories,
        'by_loss': [h for h in by_loss(histories) if (h.lost or 0.0) > 0][:MOST_LISTED],
        'confusion': _confusion_content(table, histories),
        'segments': None if isinstance(last, str) else last.segments,
        'pictures': _picture_content(evaluations, histories),
        'pseudo_labels': _pseudo_label_content(run_dir, steps),
        'training': _training_content(run_dir, steps) if steps else None,
    }


def read_or_reason(read: Callable[[], T]) -> T | str:
    """Return what is read, or why it cannot be."""
    try:
        return read()
    except FileNotFoundError as error:
        return f'{error.filename}: no such file'
    except (OSError, ValueError) as error:
        return str(error)


def evaluation_of(run_dir: Path, entry: Mapping[str, Any]) -> Evaluation:
    """Return what the evaluation of a step left, if it belongs to an entry of the summary.

    Raises:
        FileNotFoundError: If there is nothing.
        ValueError: If it is damaged, or belongs to another evaluation.
    """
    folder = step_folder(run_dir, entry)
    evaluation = read_evaluation(folder)
    if evaluation.per_class != entry['per_class']:
        raise ValueError(f'{folder}: what was kept there is of another evaluation of the step')
    return evaluation


def _foreground(summary: Summary, metric: str) -> str | None:
    name = f'{metric}{FOREGROUND}'
    return name if any(name in entry['metrics'] for entry in summary['steps']) else None


def _result_curves(summary: Summary, metric: str) -> Markup:
    lines = {
        group: [
            (entry['step'], entry['metrics'][metric][group])
            for entry in summary['steps']
            if entry['metrics'][metric][group] is not None
        ]
        for group in GROUPS
    }
    known = {group: points for group, points in lines.items() if points}
    return line_plot(known, x_label='step', y_label=f'{metric} (%)', whole_x=True, from_zero=True)


def _confusion_content(
    table: ConfusionTable | str | None, histories: Sequence[ClassHistory]
) -> dict[str, Any]:
    if table is None:
        return {'missing': 'the metric of this run does not count pixels of pairs of classes'}
    if isinstance(table, str):
        return {'missing': table}
    lost = [h for h in by_loss(histories) if (h.lost or 0.0) > 0 and h.name in table.rows]
    large = len(table.rows) > MOST_IN_TABLE
    return {
        'missing': None,
        'table': None if large else table,
        'picture': matrix_plot(table.shares / 100, table.rows, table.columns) if large else None,
        'takers': [(h, _takers(table, h.name)) for h in lost[:MOST_LISTED]],
    }


def _takers(table: ConfusionTable, name: str) -> str:
    return join_names([f'{taker} {share:.1f} %' for taker, share in table.takers(name)])


def _picture_content(
    evaluations: Mapping[int, Evaluation | str], histories: Sequence[ClassHistory]
) -> dict[str, Any]:
    known = {step: e for step, e in evaluations.items() if not isinstance(e, str)}
    missing = [f'step {step}: {e}' for step, e in evaluations.items() if isinstance(e, str)]
    return {'rows': picture_rows(known, list(evaluations), histories), 'missing': missing}


def picture_rows(
    known: Mapping[int, Evaluation], steps: Sequence[int], histories: Sequence[ClassHistory]
) -> list[PictureRow]:
    """Draw the images of a page with ground truth, and prediction after each step."""
    if not known:
        return []
    last = known[max(known)]
    names = Names(last.classes, last.palette)
    return [
        picture_row(picture, maps, names)
        for picture, maps in chosen_pictures(known, steps, histories)
    ]


def chosen_pictures(
    known: Mapping[int, Evaluation], steps: Sequence[int], histories: Sequence[ClassHistory]
) -> Iterator[tuple[KeptPicture, dict[str, NDArray[np.int32] | None]]]:
    """Yield the images of a page, each with its maps by caption; None where one was not kept."""
    last = known[max(known)]
    by_step = {step: {p.name: p for p in e.pictures} for step, e in known.items()}
    for picture in choose_pictures(last.pictures, rankings(last.classes, histories)):
        found = {step: by_step.get(step, {}).get(picture.name) for step in steps}
        yield (
            picture,
            {
                'ground truth': picture.maps['truth'],
                **{
                    f'after step {step}': None if kept is None else kept.maps['prediction']
                    for step, kept in found.items()
                },
            },
        )


def rankings(classes: Sequence[str], histories: Sequence[ClassHistory]) -> list[list[int]]:
    """Return the labels of the classes that lost most, of the newest ones, and of the best ones."""
    taught = [h for h in histories if h.taught is not None]
    newest = max((h.taught or 0 for h in taught), default=0)
    lost = [h for h in by_loss(taught) if (h.lost or 0.0) > 0]
    new = [h for h in taught if h.taught == newest]
    good = sorted(
        (h for h in taught if h.values[-1] is not None), key=lambda h: -(h.values[-1] or 0.0)
    )
    return [
        [classes.index(h.name) for h in some if h.name in classes] for some in (lost, new, good)
    ]


def _pseudo_label_content(
    run_dir: Path, steps: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return the quality of the pseudo-labels of each step that has some."""
    content = []
    for entry in steps:
        folder = step_folder(run_dir, entry)
        quality = read_or_reason(partial(_pseudo_labels_of, folder))
        if isinstance(quality, PseudoLabelQuality):
            names = Names(quality.classes, quality.palette)
            captions = {
                'what the step shows': 'shown',
                'pseudo-labels': 'pseudo',
                'hidden labels': 'hidden',
            }
            rows = [
                picture_row(p, {c: p.maps[kind] for c, kind in captions.items()}, names)
                for p in quality.pictures
            ]
            content.append(
                {
                    'step': entry['step'],
                    'quality': quality,
                    'means': {
                        measure: mean(of[measure] for of in quality.per_class.values())
                        for measure in ('precision', 'recall', 'PQ')
                    },
                    'rows': rows,
                    'missing': None,
                }
            )
        elif quality is not None:
            content.append({'step': entry['step'], 'missing': quality})
    return content


def _pseudo_labels_of(folder: Path) -> PseudoLabelQuality | None:
    try:
        return read_pseudo_labels(folder)
    except FileNotFoundError:
        # a method without them
        return None


def _training_content(run_dir: Path, steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    curves = read_curves(run_dir, steps)
    labels = {
        'lr': 'learning rate',
        'grad_norm': 'gradient norm',
        'time': 'seconds per iteration',
        'memory': 'memory (MB, CUDA)',
    }
    x_label = 'iteration over all steps'
    plots = []
    if curves.losses:
        losses = sorted(curves.losses.items(), key=lambda pair: pair[0] != 'loss')
        plots.append(
            (
                'Loss terms, each summed over the levels of the decoder',
                line_plot(
                    {'total' if name == 'loss' else name: points for name, points in losses},
                    x_label=x_label,
                    y_label='loss',
                    log_y=True,
                    marks=curves.starts[1:-1],
                ),
            )
        )
    plots += [
        (
            labels[name][0].upper() + labels[name][1:],
            line_plot(
                {name: points},
                x_label=x_label,
                y_label=labels[name],
                marks=curves.starts[1:-1],
            ),
        )
        for name, points in curves.others.items()
        if any(value for _, value in points)
    ]
    return {'plots': plots, 'missing': curves.missing}
