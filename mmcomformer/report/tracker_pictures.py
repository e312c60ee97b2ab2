"""Pictures of a run for trackers, such as TensorBoard, that show no page."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..drawing import join_panels
from ..evaluation.summary import FILE_NAME, Summary, read_summary
from ..tasks import task_named
from .collected import Evaluation
from .numbers import ClassHistory, class_histories
from .picture_rows import Names, draw_panels
from .plots import heat_map
from .run_page import chosen_pictures, evaluation_of, read_or_reason

HEAT_MAP, PREDICTIONS = 'class_by_step', 'predictions'
"""What the pictures are called. A slash would be a folder for some trackers."""
# more of them, as on the page, would be too wide for a tracker
_STEPS_SHOWN = 2


def tracker_pictures(run_dir: str | Path) -> dict[str, NDArray[np.uint8]]:
    """Return what a tracker is shown after a step.

    Args:
        run_dir: Folder of the run, with its summary.

    Returns:
        By name, pictures (H, W, 3), RGB: :data:`HEAT_MAP`, the value of each class after each step;
        and, if images were kept, :data:`PREDICTIONS`, the images of the page with ground truth and
        the predictions after the last two steps. Nothing of a run without steps.

    Raises:
        FileNotFoundError: If there is no summary.
        ValueError: If it is damaged.
    """
    run_dir = Path(run_dir)
    summary = read_summary(run_dir / FILE_NAME)
    if not summary['steps']:
        return {}
    histories = class_histories(summary)
    predictions = _predictions(run_dir, summary, histories)
    return {
        HEAT_MAP: _heat_map(summary, histories),
        **({} if predictions is None else {PREDICTIONS: predictions}),
    }


def _heat_map(summary: Summary, histories: list[ClassHistory]) -> NDArray[np.uint8]:
    values = np.array([history.values for history in histories], dtype=np.float64)
    metric = task_named(summary['task']).measures[0]
    return heat_map(
        values,
        [history.name for history in histories],
        [f'after {entry["step"]}' for entry in summary['steps']],
        title=f'{metric} of each class (%)',
    )


def _predictions(
    run_dir: Path, summary: Summary, histories: list[ClassHistory]
) -> NDArray[np.uint8] | None:
    entries = summary['steps'][-_STEPS_SHOWN:]
    evaluations = {e['step']: read_or_reason(partial(evaluation_of, run_dir, e)) for e in entries}
    known = {step: e for step, e in evaluations.items() if isinstance(e, Evaluation)}
    if not known:
        return None
    last = known[max(known)]
    names = Names(last.classes, last.palette)
    rows = []
    for picture, maps in chosen_pictures(known, list(known), histories):
        panels = draw_panels(picture, maps, names)
        rows.append(join_panels([(c, p) for c, p in panels if p is not None], picture.name))
    return _stacked(rows) if rows else None


def _stacked(rows: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Put pictures one below the other, filled up at the right with white."""
    width = max(row.shape[1] for row in rows)
    filled = [
        np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255)
        for row in rows
    ]
    return np.concatenate(filled)
