"""Plots as SVG that take the colour of the text around them, so that they suit dark and light."""

from __future__ import annotations

import base64
import io
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from numpy.typing import NDArray

Line = Sequence[tuple[float, float]]
"""Points of a line: x, y."""

# replaced by currentColor; no line has this colour
_INK = '#010203'
_STYLE: Any = {
    # names of classes may have dollars
    'text.parse_math': False,
    'svg.fonttype': 'none',
    'font.family': 'sans-serif',
    'font.size': 10,
    'axes.edgecolor': _INK,
    'axes.labelcolor': _INK,
    'text.color': _INK,
    'xtick.color': _INK,
    'ytick.color': _INK,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'legend.frameon': False,
}
COLOURS = (
    '#4c8fd6', '#e0803a', '#3fa66b', '#c9507a', '#8b6fd1', '#a8852b', '#2aa5a5', '#d8574b',
    '#7f8c99', '#b46fb4', '#6f9f2f', '#5566c4',
)  # fmt: skip
"""Colours of lines, readable on white and on nearly black."""
_SIZE = 6.2, 3.2
_MOST_WITH_NUMBERS = 40
_NO_METADATA = {'Date': None, 'Creator': None}
_DASHES = ('-', '--', ':', '-.')


def line_plot(
    lines: Mapping[str, Line],
    *,
    x_label: str,
    y_label: str,
    whole_x: bool = False,
    log_y: bool = False,
    from_zero: bool = False,
    marks: Sequence[float] = (),
    spread: Mapping[str, Sequence[float]] | None = None,
) -> Markup:
    """Draw lines with a legend.

    Args:
        lines: Points by name.
        x_label: What x is.
        y_label: What y is.
        whole_x: Whether x are few whole numbers, such as steps, each of which is marked.
        log_y: Whether the y axis is logarithmic.
        from_zero: Whether the y axis begins at 0 if no value is negative.
        marks: Values of x at which a thin line is drawn: where a step begins.
        spread: For some lines, what is shaded above and below each point.

    Returns:
        An SVG element.
    """
    with rc_context(_STYLE):
        figure = Figure(figsize=_SIZE, layout='constrained')
        axes = figure.add_subplot()
        for index, (name, points) in enumerate(lines.items()):
            xs, ys = [x for x, _ in points], [y for _, y in points]
            colour = COLOURS[index % len(COLOURS)]
            axes.plot(
                xs,
                ys,
                _DASHES[index // len(COLOURS) % len(_DASHES)],
                color=colour,
                label=_plain(name),
                linewidth=1.6,
                marker='o' if whole_x or len(points) == 1 else None,
                markersize=4,
            )
            around = (spread or {}).get(name)
            if around:
                low, high = (
                    [y + sign * s for y, s in zip(ys, around, strict=True)] for sign in (-1, 1)
                )
                axes.fill_between(xs, low, high, color=colour, alpha=0.18, linewidth=0)
        for mark in marks:
            axes.axvline(mark, color=_INK, linewidth=0.9, alpha=0.7, linestyle=':')
        if whole_x:
            axes.set_xticks(sorted({x for points in lines.values() for x, _ in points}))
        if log_y and any(y > 0 for points in lines.values() for _, y in points):
            axes.set_yscale('log')
            # the usual one writes formulas
            axes.yaxis.set_major_formatter(lambda value, _: f'{value:g}')
            axes.yaxis.set_minor_formatter(NullFormatter())
        if from_zero and all(y >= 0 for points in lines.values() for _, y in points):
            # room for the marks of the highest points
            axes.set_ylim(0, 1.06 * axes.dataLim.y1 if axes.dataLim.y1 > 0 else 1)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.grid(color=_INK, alpha=0.12)
        if len(lines) > 1:
            figure.legend(fontsize=9, loc='outside lower center', ncols=min(4, len(lines)))
        return _svg(figure)


def _plain(name: str) -> str:
    """Return a name that matplotlib does not hide in a legend."""
    return f'\u200b{name}' if name.startswith('_') else name


def matrix_plot(values: NDArray[np.float64], rows: Sequence[str], columns: Sequence[str]) -> Markup:
    """Draw a matrix of fractions in [0, 1], NaN left empty, as a picture with names at its sides.

    Returns:
        An image element.
    """
    with rc_context({**_STYLE, 'font.size': 6}):
        side = 1.6 + 0.095 * max(len(rows), len(columns))
        figure = Figure(figsize=(side, side), layout='constrained', dpi=100)
        axes = figure.add_subplot()
        axes.imshow(values, cmap='magma', vmin=0, vmax=1, interpolation='nearest', aspect='auto')
        axes.set_xticks(range(len(columns)), [_plain(short(n)) for n in columns], rotation=90)
        axes.set_yticks(range(len(rows)), [_plain(short(n)) for n in rows])
        axes.set_xlabel('predicted', fontsize=9)
        axes.set_ylabel('ground truth', fontsize=9)
        file = io.BytesIO()
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', 'Glyph .* missing from', UserWarning)
            figure.savefig(file, format='png', facecolor='white')
    return Markup('<img class="matrix" alt="{}" src="{}">').format(
        'confusion of the classes', data_uri(file.getvalue(), 'image/png')
    )


def heat_map(
    values: NDArray[np.float64], rows: Sequence[str], columns: Sequence[str], *, title: str
) -> NDArray[np.uint8]:
    """Draw percentages as a picture for programs that show no page, NaN left empty.

    Args:
        values: 0 to 100, (rows, columns).
        rows: Names at the left.
        columns: Names on top.
        title: What the values are.

    Returns:
        The picture, RGB, uint8.
    """
    large = len(rows) > _MOST_WITH_NUMBERS
    with rc_context({**_STYLE, 'font.size': 6 if large else 9}):
        height = (0.1 if large else 0.24) * len(rows) + 1.2
        figure = Figure(figsize=(2.6 + 0.6 * len(columns), height), layout='constrained', dpi=120)
        axes = figure.add_subplot()
        axes.imshow(values, cmap='Blues', vmin=0, vmax=100, interpolation='nearest', aspect='auto')
        axes.set_xticks(range(len(columns)), columns)
        axes.xaxis.tick_top()
        axes.set_yticks(range(len(rows)), [_plain(short(name)) for name in rows])
        axes.set_title(title)
        for (row, column), value in np.ndenumerate(values):
            if not large and not np.isnan(value):
                colour = 'white' if value > 60 else 'black'
                axes.text(column, row, f'{value:.1f}', ha='center', va='center', color=colour)
        canvas = FigureCanvasAgg(figure)
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', 'Glyph .* missing from', UserWarning)
            canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def short(name: str, longest: int = 22) -> str:
    """Return a name that is not too long; ADE20K lists synonyms."""
    first = name.split(',')[0] if len(name) > longest else name
    return first if len(first) <= longest else f'{first[: longest - 1]}…'


def data_uri(content: bytes, mime: str) -> str:
    """Return a file as a URI that holds it."""
    return f'data:{mime};base64,{base64.b64encode(content).decode()}'


def _svg(figure: Figure) -> Markup:
    file = io.StringIO()
    with warnings.catch_warnings():
        # the browser has a font for it: text stays text
        warnings.filterwarnings('ignore', 'Glyph .* missing from', UserWarning)
        figure.savefig(file, format='svg', transparent=True, metadata=_NO_METADATA)
    text = file.getvalue()
    text = text[text.index('<svg') :].replace(_INK, 'currentColor')
    # nothing but a description, with addresses that look as if something was fetched
    text = re.sub(r'<metadata>.*?</metadata>', '', text, flags=re.DOTALL)
    # the page decides how wide it is
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r'\1', text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r'\1', text, count=1)
    return Markup(text.replace('<svg', '<svg class="plot" role="img"', 1))


def heat_colour(value: float | None, *, losing: bool = False) -> str:
    """Return the CSS of a cell for a percentage: its colour, and that of its text.

    Args:
        value: 0 to 100; None for no value. With ``losing``, points lost; negative where gained.
        losing: Whether it is a loss, red, or a gain, green.
    """
    if value is None or (losing and value == 0):
        return ''
    strength = min(abs(value) / (40 if losing else 100), 1.0)
    red_green_blue = _LOSS if losing and value > 0 else _GAIN if losing else _VALUE
    return f'background:rgba({red_green_blue},{0.08 + 0.77 * strength:.2f})'


_VALUE, _LOSS, _GAIN = '56,132,214', '214,69,65', '46,160,90'


def nan_to_none(value: Any) -> float | None:
    """Return a number as a float, None for NaN."""
    return None if np.isnan(value) else float(value)
