"""Label maps: PNGs in which the value of a pixel stands for its class."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine import fileio

from .png import ChannelError, read_coded_labels

IGNORE_LABEL = 255
"""Value of the pixels of a label map that belong to no class."""
HIDDEN_LABEL = 254
"""Value of the pixels whose class a step hides, where a dataset marks them."""
_UNKNOWN = -1


def read_label_map(path: str | Path, *, backend_args: dict[str, Any] | None = None) -> np.ndarray:
    """Read a label map; of a picture with a palette the indices are read.

    Args:
        path: Path or URL of the file.
        backend_args: Arguments of mmengine's file backend.

    Returns:
        The values, uint8, shape (H, W).

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, in a lossy format, or not a picture of one channel of up to 8
            bits.
    """
    return read_coded_map(path, backend_args=backend_args)[0]


def read_coded_map(
    path: str | Path, *, backend_args: dict[str, Any] | None = None
) -> tuple[np.ndarray, bytes]:
    """Read a label map, see :func:`read_label_map`, and its palette.

    Returns:
        The values, and the red, green and blue of each index of the palette, empty if it has none.

    Raises:
        FileNotFoundError, ValueError: See :func:`read_label_map`.
    """
    try:
        content = fileio.get(str(path), backend_args=backend_args)
    except FileNotFoundError as error:
        raise missing_label_map(path) from error
    try:
        values, palette = read_coded_labels(Path(path), content=content)
    except ChannelError as error:
        raise ValueError(
            f'label map {error}; save class numbers in one channel, as uint8, not colours'
        ) from error
    except ValueError as error:
        raise ValueError(f'label map {error}') from error
    if values.dtype != np.uint8:
        raise ValueError(
            f'label map {path}: expected 8-bit labels, got pixels of type {values.dtype}; save '
            f'the labels as uint8'
        )
    return values, palette


def colours_of(present: np.ndarray, palette: bytes) -> dict[int, tuple[int, ...]]:
    """Return the colour of each value that occurs; empty without a palette.

    Args:
        present: The values that occur.
        palette: As :func:`read_coded_map` returns it.

    Example:
        >>> colours_of(np.array([1]), bytes([0, 0, 0, 9, 8, 7]))
        {1: (9, 8, 7)}
    """
    return {
        value: tuple(palette[3 * value : 3 * value + 3])
        for value in present.tolist()
        if 3 * value + 2 < len(palette)
    }


def check_palette(path: object, present: np.ndarray, palette: bytes, table: np.ndarray) -> None:
    """Check that a palette leaves no doubt whether its indices or its greys are the labels.

    Optimisers of PNGs make such palettes of grey maps: the greys in the order in which they occur.

    Args:
        path: The file, for the message.
        present: The values that occur.
        palette: As :func:`read_coded_map` returns it.
        table: As :func:`lookup_table` returns it.

    Raises:
        ValueError: If all colours are greys that are labels, and some are not those of their index.
    """
    if not palette:
        return
    colours = colours_of(present, palette)
    if any(len(set(colour)) > 1 for colour in colours.values()):
        return
    others = [(value, grey) for value, (grey, _, _) in colours.items() if value != grey]
    if others and all(table[colour[0]] != _UNKNOWN for colour in colours.values()):
        value, grey = others[0]
        raise ValueError(
            f'label map {path}: its palette holds greys in another order than their values (grey '
            f'{grey} at index {value}), as optimisers of PNGs write it, so that both may be the '
            f'label; save it in one channel of grey, without a palette'
        )


def missing_label_map(path: object) -> FileNotFoundError:
    """Return the error for a label map that does not exist."""
    return FileNotFoundError(
        f'label map {path} does not exist; check data_prefix["seg_map_path"] and seg_map_suffix '
        f'of the dataset'
    )


def lookup_table(label_map: Mapping[int, int] | None, *, reduce_zero_label: bool) -> np.ndarray:
    """Return what each value of a label map becomes.

    Args:
        label_map: The known labels and what each becomes, at most 255; None for all labels, each
            of which stays what it is.
        reduce_zero_label: Whether 0 means no class and ``k`` the label ``k - 1``, as in ADE20K.

    Returns:
        int16, shape (256,); -1 for values that are no label.

    Example:
        >>> table = lookup_table({0: 4, 1: 255}, reduce_zero_label=True)
        >>> table[[0, 1, 2, 3, 255]].tolist()
        [255, 4, 255, -1, 255]
    """
    offset = int(reduce_zero_label)
    if label_map is None:
        label_map = {label: label for label in range(IGNORE_LABEL - offset)}
    table: np.ndarray = np.full(IGNORE_LABEL + 1, _UNKNOWN, dtype=np.int16)
    table[[label + offset for label in label_map]] = list(label_map.values())
    table[:offset] = IGNORE_LABEL
    table[IGNORE_LABEL] = IGNORE_LABEL
    return table


def present_values(values: np.ndarray) -> np.ndarray:
    """Return the distinct values of a uint8 array of shape (H, W), int64, ascending."""
    # OpenCV counts bytes several times faster than bincount, which makes them int64 first
    counts = cv2.calcHist([values], [0], None, [256], [0, 256])
    return np.flatnonzero(counts)


def check_values(path: object, present: np.ndarray, table: np.ndarray) -> None:
    """Check that every value of a label map is a label.

    Args:
        path: The file, for the message.
        present: The values that occur.
        table: As :func:`lookup_table` returns it.

    Raises:
        ValueError: If one is not.
    """
    unknown = present[table[present] == _UNKNOWN]
    if unknown.size:
        known = np.flatnonzero(table[:IGNORE_LABEL] != _UNKNOWN)
        raise ValueError(
            f'label map {path}: expected labels from 0 to {known.max(initial=0)} and '
            f'{IGNORE_LABEL}, got {unknown[:10].tolist()}; if they stand for no class, set '
            f'ignore_values={unknown[:10].tolist()} in the config of the dataset; else check the '
            f'classes of the dataset, and reduce_zero_label, which is for maps in which 0 stands '
            f'for no class'
        )
