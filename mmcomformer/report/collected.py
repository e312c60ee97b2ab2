"""What a run keeps for its page, one file of each kind in the folder of a step.

Both are NumPy archives (``.npz``) without pickled objects: arrays, and in ``meta`` the rest as
JSON.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..atomic import replaced_file

EVALUATION, PSEUDO_LABELS = 'evaluation.npz', 'pseudo_labels.npz'
"""Names of the files in the folder of a step."""
VERSION = 1
NOTHING = -1
"""Value in a map where there is no segment."""
LARGEST_SIDE = 320
"""Pictures are kept with at most this many pixels along a side."""


@dataclass(frozen=True)
class KeptPicture:
    """An image and maps of segments over it, in one size.

    Attributes:
        name: Path of the image, its last two parts.
        jpeg: The image, a JPEG file.
        maps: By kind (``truth``, ``prediction``, ...), a map (h, w), int32, of dataset label plus
            1000 times a number among the segments of that class, and :data:`NOTHING`.
    """

    name: str
    jpeg: bytes
    maps: Mapping[str, NDArray[np.int32]]

    @classmethod
    def of(
        cls, name: str, image: NDArray[np.uint8], maps: Mapping[str, NDArray[Any]]
    ) -> KeptPicture:
        """Shrink an image, RGB (H, W, 3), and maps of any sizes to one size."""
        picture = Image.fromarray(image)
        picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
        file = io.BytesIO()
        picture.save(file, 'JPEG', quality=88)
        small = {
            key: _resized(values, picture.height, picture.width) for key, values in maps.items()
        }
        return cls(name, file.getvalue(), small)

    def image(self) -> NDArray[np.uint8]:
        """Return the image, RGB, (h, w, 3)."""
        return np.asarray(Image.open(io.BytesIO(self.jpeg)).convert('RGB'))


def _resized(values: NDArray[Any], height: int, width: int) -> NDArray[np.int32]:
    rows = np.arange(height) * values.shape[0] // height
    columns = np.arange(width) * values.shape[1] // width
    return values[np.ix_(rows, columns)].astype(np.int32)


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation leaves besides the numbers of the summary.

    Attributes:
        classes: Names by dataset label.
        palette: RGB by dataset label.
        per_class: As in the step's entry of the summary, to tell whether they belong together.
        confusion: Pixels of each pair of classes, see :class:`.SeenClassMetric`; None if the metric
            does not count them.
        segments: Matched, missed and wrong segments by class name, or None.
        pictures: Validation images with the maps ``truth`` and ``prediction``.
    """

    classes: Sequence[str]
    palette: Sequence[tuple[int, int, int]]
    per_class: Mapping[str, Mapping[str, float | None]]
    confusion: NDArray[np.int64] | None = None
    segments: Mapping[str, Mapping[str, int]] | None = None
    pictures: Sequence[KeptPicture] = field(default_factory=tuple)


@dataclass(frozen=True)
class PseudoLabelQuality:
    """What the teacher labels at the start of a step, against the labels that the step hides.

    Attributes:
        classes: Names by dataset label.
        palette: RGB by dataset label.
        per_class: ``precision``, ``recall`` (of pixels) and ``PQ`` in percent, or None, by the name
            of each class of an earlier step.
        images: How many training images were looked at.
        pictures: Some of them with the maps ``shown``, ``pseudo`` and ``hidden``.
    """

    classes: Sequence[str]
    palette: Sequence[tuple[int, int, int]]
    per_class: Mapping[str, Mapping[str, float | None]]
    images: int
    pictures: Sequence[KeptPicture] = field(default_factory=tuple)


def write_evaluation(folder: str | Path, evaluation: Evaluation) -> None:
    """Write the evaluation of a step into its folder; the file is the old or the new one.

    Raises:
        OSError: If the folder cannot be written.
    """
    meta = {
        'classes': list(evaluation.classes),
        'palette': [list(colour) for colour in evaluation.palette],
        'per_class': evaluation.per_class,
        'segments': evaluation.segments,
    }
    arrays = {} if evaluation.confusion is None else {'confusion': evaluation.confusion}
    _write(Path(folder) / EVALUATION, meta, arrays, evaluation.pictures)


def read_evaluation(folder: str | Path) -> Evaluation:
    """Read what :func:`write_evaluation` wrote.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is damaged or of another version.
    """
    path = Path(folder) / EVALUATION
    meta, arrays, pictures = _read(path)
    try:
        return Evaluation(
            classes=meta['classes'],
            palette=[(r, g, b) for r, g, b in meta['palette']],
            per_class=meta['per_class'],
            confusion=arrays.get('confusion'),
            segments=meta['segments'],
            pictures=pictures,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error) from error


def write_pseudo_labels(folder: str | Path, quality: PseudoLabelQuality) -> None:
    """Write the quality of the pseudo-labels of a step into its folder, as a whole or not at all.

    Raises:
        OSError: If the folder cannot be written.
    """
    meta = {
        'classes': list(quality.classes),
        'palette': [list(colour) for colour in quality.palette],
        'per_class': quality.per_class,
        'images': quality.images,
    }
    _write(Path(folder) / PSEUDO_LABELS, meta, {}, quality.pictures)


def read_pseudo_labels(folder: str | Path) -> PseudoLabelQuality:
    """Read what :func:`write_pseudo_labels` wrote.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is damaged or of another version.
    """
    path = Path(folder) / PSEUDO_LABELS
    meta, _, pictures = _read(path)
    try:
        return PseudoLabelQuality(
            classes=meta['classes'],
            palette=[(r, g, b) for r, g, b in meta['palette']],
            per_class=meta['per_class'],
            images=meta['images'],
            pictures=pictures,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error) from error


def _write(
    path: Path,
    meta: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
    pictures: Sequence[KeptPicture],
) -> None:
    content: dict[str, NDArray[Any]] = dict(arrays)
    described = []
    for index, picture in enumerate(pictures):
        described.append({'name': picture.name, 'maps': list(picture.maps)})
        content[f'image_{index}'] = np.frombuffer(picture.jpeg, np.uint8)
        for kind, values in picture.maps.items():
            content[f'{kind}_{index}'] = values
    text = json.dumps({**meta, 'version': VERSION, 'pictures': described}, ensure_ascii=False)
    with replaced_file(path) as temporary, open(temporary, 'wb') as file:
        np.savez_compressed(file, meta=np.array(text), **content)  # type: ignore[arg-type]


def _read(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]], list[KeptPicture]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
        meta = json.loads(str(arrays.pop('meta')))
        if meta.get('version') != VERSION:
            raise ValueError(f'its version is {meta.get("version")}, and {VERSION} is read')
        pictures = [
            KeptPicture(
                described['name'],
                arrays[f'image_{index}'].tobytes(),
                {kind: arrays[f'{kind}_{index}'] for kind in described['maps']},
            )
            for index, described in enumerate(meta['pictures'])
        ]
    except FileNotFoundError:
        raise
    except _READ_ERRORS as error:
        raise _damaged(path, error) from error
    return meta, arrays, pictures


_READ_ERRORS = (
    OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def _damaged(path: Path, error: Exception) -> ValueError:
    return ValueError(f'{path}: it cannot be read ({type(error).__name__}: {error})')
