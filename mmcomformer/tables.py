"""Tables as text."""

from __future__ import annotations

from collections.abc import Sequence


def format_value(value: float | None) -> str:
    """Return a number with two digits, or ``-`` for None."""
    return '-' if value is None else f'{value:.2f}'


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table as text, which is valid Markdown: first column left, others right-aligned.

    Example:
        >>> print(format_table(['run', 'PQ'], [['a', '7.00'], ['long', '65.90']]))
        | run  |    PQ |
        |:-----|------:|
        | a    |  7.00 |
        | long | 65.90 |
    """
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    rule = [
        f':{"-" * (width + 1)}' if i == 0 else f'{"-" * (width + 1)}:'
        for i, width in enumerate(widths)
    ]

    def line(cells: Sequence[str]) -> str:
        texts = [
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f'| {" | ".join(texts)} |'

    return '\n'.join([line(header), f'|{"|".join(rule)}|', *map(line, rows)])


def join_names(names: Sequence[str]) -> str:
    """Return names as a list to read; semicolons part them where one has commas of its own.

    Example:
        >>> join_names(['cat', 'dog']), join_names(['painting, picture', 'sofa'])
        ('cat, dog', 'painting, picture; sofa')
    """
    return ('; ' if any(',' in name for name in names) else ', ').join(names)
