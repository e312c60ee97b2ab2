"""Generator of Shapes, a small dataset: coloured shapes (things) on textures (stuff).

It writes what real datasets consist of, COCO panoptic JSON files, id PNGs, label maps and images,
so that the benchmarks on it take the same path through the code.
"""

from __future__ import annotations

import colorsys
import json
import os
import re
import shutil
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from .label_maps import IGNORE_LABEL
from .panoptic_png import MAX_ID, ids_to_rgb
from .shapes_instances import write_instances

DEFAULT_NUM_CLASSES = 12
SHAPES = ('disc', 'square', 'triangle', 'ring', 'cross', 'star', 'half-disc', 'bar')
TEXTURES = ('stripes', 'checker', 'dots', 'waves')
_HUES = (0, 30, 56, 105, 180, 220, 275, 318)
"""Hue of each shape, in degrees."""
_TONES = (
    (25, 0.45, 0.30, 0.55),
    (0, 0.0, 0.40, 0.85),
    (140, 0.35, 0.25, 0.60),
    (215, 0.3, 0.5, 0.8),
)
"""Hue, saturation, and darkest and brightest value of each texture."""
SPLITS = ('train', 'val')
_PARAMETERS_FILE = 'shapes.json'
_GENERATOR_VERSION = 2
_OF_A_SET = re.compile(
    r'shapes\.json|annotations/(panoptic|instances)_(train|val)\.json|(train|val)/\d{6,}\.jpg|'
    r'(panoptic|semantic)_(train|val)/\d{6,}\.png|\.mmcomformer/[^/]+\.npz'
)
"""Names of the files of a set, and of the indices that a training keeps there."""


@dataclass(frozen=True)
class ShapesParameters:
    """What determines a set: the same parameters give the same files.

    Args:
        num_train: Number of training images.
        num_val: Number of validation images.
        num_classes: Number of classes, at most 255; a third of them, at least one, is stuff.
        size: Height and width of an image, in pixels.
        seed: Seed of all random choices.

    Raises:
        ValueError: If a number is too small, or there are too many classes for a label map.
    """

    num_train: int = 1000
    num_val: int = 200
    num_classes: int = DEFAULT_NUM_CLASSES
    size: int = 96
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the numbers."""
        lowest = {'num_train': 1, 'num_val': 1, 'num_classes': 2, 'size': 32, 'seed': 0}
        for name, value in lowest.items():
            if getattr(self, name) < value:
                raise ValueError(f'{name}: expected at least {value}, got {getattr(self, name)}')
        if self.num_classes > IGNORE_LABEL:
            raise ValueError(
                f'num_classes: expected at most {IGNORE_LABEL}, got {self.num_classes}'
            )

    def to_dict(self) -> dict[str, int]:
        """Return the parameters and the version of the generator."""
        return {'version': _GENERATOR_VERSION, **asdict(self)}


def _num_stuff(num_classes: int) -> int:
    return max(1, num_classes // 3)


def _numbered(names: tuple[str, ...], count: int) -> tuple[str, ...]:
    rounds = range(-(-count // len(names)))
    every = [name if i == 0 else f'{name} {i + 1}' for i in rounds for name in names]
    return tuple(every[:count])


def thing_classes(num_classes: int = DEFAULT_NUM_CLASSES) -> tuple[str, ...]:
    """Return the names of the thing classes of a set with that many classes."""
    return _numbered(SHAPES, num_classes - _num_stuff(num_classes))


def stuff_classes(num_classes: int = DEFAULT_NUM_CLASSES) -> tuple[str, ...]:
    """Return the names of the stuff classes of a set with that many classes."""
    return _numbered(TEXTURES, _num_stuff(num_classes))


def learning_order(num_classes: int = DEFAULT_NUM_CLASSES) -> tuple[str, ...]:
    """Return all class names, with the stuff classes spread evenly over the things.

    Example:
        >>> learning_order(6)
        ('disc', 'stripes', 'square', 'triangle', 'checker', 'ring')
    """
    things, stuff = list(thing_classes(num_classes)), list(stuff_classes(num_classes))
    stuff_at = {int((i + 0.5) * num_classes / len(stuff)) for i in range(len(stuff))}
    return tuple((stuff if i in stuff_at else things).pop(0) for i in range(num_classes))


def palette(num_classes: int = DEFAULT_NUM_CLASSES) -> list[tuple[int, int, int]]:
    """Return a typical RGB colour of each class, in label order."""
    things = [_thing_colour(i, 0.9, 0.9) for i in range(len(thing_classes(num_classes)))]
    stuff = [_texture_colours(i)[1] for i in range(_num_stuff(num_classes))]
    return [(int(r), int(g), int(b)) for r, g, b in (*things, *stuff)]


def _rgb(hue: float, saturation: float, value: float) -> np.ndarray:
    """Return an RGB colour in [0, 255] from a hue in degrees and two fractions."""
    return 255 * np.array(colorsys.hsv_to_rgb(hue / 360 % 1, saturation, value))


def _thing_colour(index: int, saturation: float, value: float, hue_shift: float = 0) -> np.ndarray:
    more = index // len(_HUES)
    return _rgb(_HUES[index % len(_HUES)] + 17 * more + hue_shift, saturation, value / (1 + more))


def _texture_colours(index: int) -> tuple[np.ndarray, np.ndarray]:
    hue, saturation, dark, bright = _TONES[index % len(_TONES)]
    more = index // len(_TONES)
    hue, saturation = hue + 50 * more, min(0.6, saturation + 0.2 * (more > 0))
    return _rgb(hue, saturation, dark), _rgb(hue, saturation, bright)


def _outline(shape: str) -> list[np.ndarray]:
    """Return the contours of a shape of radius 1 around (0, 0), each of shape (N, 2)."""
    if shape in ('disc', 'ring', 'half-disc'):
        angles = np.linspace(0, np.pi if shape == 'half-disc' else 2 * np.pi, 40)
        circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        if shape == 'half-disc':
            return [circle - [0, 0.4]]
        return [circle] if shape == 'disc' else [circle, 0.55 * circle]
    if shape == 'star':
        angles = np.arange(10) * np.pi / 5 - np.pi / 2
        radii = np.tile([1.0, 0.5], 5)
        return [radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)]
    corners: dict[str, Any] = {
        'square': [(-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)],
        'bar': [(-1, -0.38), (1, -0.38), (1, 0.38), (-1, 0.38)],
        'triangle': [(0, -1), (0.9, 0.8), (-0.9, 0.8)],
        'cross': [(-0.35, -1), (0.35, -1), (0.35, -0.35), (1, -0.35), (1, 0.35), (0.35, 0.35),
                  (0.35, 1), (-0.35, 1), (-0.35, 0.35), (-1, 0.35), (-1, -0.35), (-0.35, -0.35)],
    }  # fmt: skip
    return [np.array(corners[shape], dtype=np.float64)]


def _texture(kind: str, rng: np.random.Generator, size: int) -> np.ndarray:
    """Return a pattern in [0, 1], float64, shape (size, size)."""
    y, x = np.mgrid[:size, :size] + rng.uniform(0, size, (2, 1, 1))
    angle, period = rng.uniform(0, np.pi), rng.uniform(0.09, 0.13) * size
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    if kind == 'stripes':
        return (u % period < period / 2).astype(np.float64)
    if kind == 'checker':
        return (np.floor(u / period) + np.floor(v / period)) % 2
    if kind == 'dots':
        return (np.hypot(u % period - period / 2, v % period - period / 2) < 0.33 * period) * 1.0
    return 0.5 + 0.5 * np.sin(np.pi * (u / period + np.sin(np.pi * v / (1.5 * period))))


def _background(
    rng: np.random.Generator, size: int, num_stuff: int
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Return an image, its map of region numbers, and the stuff class of each region.

    The image is float64 of shape (size, size, 3), RGB in [0, 255]; one to three wavy bands, each
    of another class.
    """
    num_regions = int(rng.integers(1, min(3, num_stuff) + 1))
    classes = rng.permutation(num_stuff)[:num_regions].tolist()
    y, x = (np.mgrid[:size, :size] - size / 2) / size
    angle = rng.uniform(0, 2 * np.pi)
    across, along = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    across = across + 0.05 * np.sin(2 * np.pi * (1.5 * along + rng.uniform()))
    fractions = (
        np.arange(1, num_regions) + rng.uniform(-0.15, 0.15, num_regions - 1)
    ) / num_regions
    regions = np.searchsorted(np.quantile(across, fractions), across.ravel()).reshape(size, size)
    image: np.ndarray = np.zeros((size, size, 3))
    for region, index in enumerate(classes):
        pattern = _texture(TEXTURES[index % len(TEXTURES)], rng, size)[..., None]
        dark, bright = _texture_colours(index)
        texture = (dark + pattern * (bright - dark)) * rng.uniform(0.85, 1.15)
        image = np.where((regions == region)[..., None], texture, image)
    return image, regions, classes


def _place_things(rng: np.random.Generator, size: int) -> list[tuple[float, float, float]]:
    """Return centre and radius of one to four circles that do not touch, in pixels."""
    wanted = int(rng.integers(1, 5))
    placed: list[tuple[float, float, float]] = []
    for _ in range(20 * wanted):
        radius = rng.uniform(0.11, 0.2) * size
        x, y = rng.uniform(radius, size - 1 - radius, 2)
        if all(np.hypot(x - u, y - v) > radius + r + 2 for u, v, r in placed):
            placed.append((x, y, radius))
        if len(placed) == wanted:
            break
    return placed


def _draw_thing(
    image: np.ndarray,
    rng: np.random.Generator,
    circle: tuple[float, float, float],
    index: int,
) -> np.ndarray:
    """Draw a thing of a class onto an RGB image and return its mask, bool, shape (size, size)."""
    x, y, radius = circle
    angle = rng.uniform(-0.4, 0.4)
    turn = radius * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    contours = [
        np.rint(contour @ turn + [x, y]).astype(np.int32)
        for contour in _outline(SHAPES[index % len(SHAPES)])
    ]
    mask = np.zeros(image.shape[:2], np.uint8)
    cv2.fillPoly(mask, contours, 1)
    inner = cv2.erode(mask, np.ones((3, 3), np.uint8), borderValue=0)
    colour = _thing_colour(
        index, rng.uniform(0.8, 1.0), rng.uniform(0.8, 1.0), hue_shift=rng.uniform(-6, 6)
    )
    image[mask > 0] = 0.5 * colour
    image[inner > 0] = colour
    return mask > 0


def draw_scene(
    rng: np.random.Generator, *, size: int, num_classes: int
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Draw one scene: one to four things that do not overlap, on one to three textures.

    Args:
        rng: Source of all random choices.
        size: Height and width, in pixels.
        num_classes: Number of classes of the set.

    Returns:
        The image, uint8 RGB, shape (size, size, 3); the segment of each pixel, int64, shape
        (size, size), 0 for VOID and ``k + 1`` for segment ``k``; the dataset label of each segment.
    """
    num_stuff = _num_stuff(num_classes)
    num_things = num_classes - num_stuff
    image, regions, stuff = _background(rng, size, num_stuff)
    segments = regions + 1
    labels = [num_things + index for index in stuff]
    for circle in _place_things(rng, size):
        label = int(rng.integers(num_things))
        mask = _draw_thing(image, rng, circle, label)
        labels.append(label)
        segments[mask] = len(labels)
    image = image * rng.uniform(0.9, 1.1) + rng.normal(0, 6, image.shape)
    segments, kept = _drop_slivers(segments, len(labels))
    return image.clip(0, 255).astype(np.uint8), segments, [labels[index] for index in kept]


def _drop_slivers(segments: np.ndarray, count: int) -> tuple[np.ndarray, list[int]]:
    """Make segments of under 1 % of the pixels VOID and number the others again from 1."""
    areas = np.bincount(segments.ravel(), minlength=count + 1)[1:]
    kept = areas >= 0.01 * segments.size
    numbers = np.concatenate([[0], np.where(kept, np.cumsum(kept), 0)])
    return numbers[segments], np.flatnonzero(kept).tolist()


def generate_shapes(
    out: str | os.PathLike[str],
    parameters: ShapesParameters | None = None,
    *,
    overwrite: bool = False,
    on_image: Callable[[], object] | None = None,
) -> bool:
    """Write a Shapes set, unless it is there already.

    The folder appears at once when the set is complete: an interrupted call leaves none.

    Args:
        out: Folder to create: ``annotations/{panoptic,instances}_{train,val}.json``,
            ``panoptic_{train,val}/*.png``, ``semantic_{train,val}/*.png`` (dataset labels, 255 for
            VOID), ``{train,val}/*.jpg`` and ``shapes.json``.
        parameters: What to generate.
        overwrite: Whether to replace a set with other parameters.
        on_image: Called after each image, to show progress.

    Returns:
        Whether something was written; False if all was there with the same parameters.

    Raises:
        FileExistsError: If the folder holds a set with other parameters, or other files, which
            are never deleted.
    """
    out = Path(out)
    parameters = parameters or ShapesParameters()
    if _is_there(out, parameters, overwrite):
        # a set of before there were instances gets them
        written = [write_instances(out, split) for split in SPLITS]
        return any(written)
    out.parent.mkdir(parents=True, exist_ok=True)
    # of its own, whatever other processes on whatever machines write at the same time
    temporary = out.parent / f'.{out.name}.{uuid.uuid4().hex}.tmp'
    try:
        for number, (split, count) in enumerate(
            zip(SPLITS, (parameters.num_train, parameters.num_val), strict=True)
        ):
            _write_split(temporary, split, number, count, parameters, on_image)
        for split in SPLITS:
            write_instances(temporary, split)
        _write_json(temporary / _PARAMETERS_FILE, parameters.to_dict())
        return _put_into_place(temporary, out, parameters, overwrite)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _put_into_place(
    temporary: Path, out: Path, parameters: ShapesParameters, overwrite: bool
) -> bool:
    """Rename a complete set, unless another process has meanwhile written the same one."""
    if _is_there(out, parameters, overwrite):
        return False
    if out.exists():
        shutil.rmtree(out)
    try:
        temporary.rename(out)
    except OSError:
        if not _is_there(out, parameters, overwrite):
            raise
        return False
    return True


def _is_there(out: Path, parameters: ShapesParameters, overwrite: bool) -> bool:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    try:
        found = json.loads((out / _PARAMETERS_FILE).read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise FileExistsError(
            f'{out} exists and is not a Shapes set; choose another folder, or remove it'
        ) from error
    if found == parameters.to_dict():
        return True
    if not overwrite:
        raise FileExistsError(
            f'{out} holds a Shapes set with other parameters: expected {parameters.to_dict()}, '
            f'found {found}; choose another folder, or overwrite it (--overwrite)'
        )
    _check_nothing_else(out)
    return False


def _check_nothing_else(out: Path) -> None:
    """Check that a folder that is to be replaced holds a set, its caches and nothing else."""
    for path in sorted(out.rglob('*')):
        name = path.relative_to(out).as_posix()
        if path.is_symlink() or not (path.is_dir() or _OF_A_SET.fullmatch(name)):
            raise FileExistsError(
                f'{path} is no file of a Shapes set, and would be deleted with it; move it away, '
                f'or choose another folder'
            )


def _write_split(
    root: Path,
    split: str,
    number: int,
    count: int,
    parameters: ShapesParameters,
    on_image: Callable[[], object] | None,
) -> None:
    for folder in (split, f'panoptic_{split}', f'semantic_{split}', 'annotations'):
        (root / folder).mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for index in range(count):
        # one stream per image: its content does not depend on the number of images
        rng = np.random.default_rng([parameters.seed, number, index])
        image, annotation = _write_scene(root, split, index, rng, parameters)
        images.append(image)
        annotations.append(annotation)
        if on_image is not None:
            on_image()
    content = {
        'images': images,
        'annotations': annotations,
        'categories': _categories(parameters.num_classes),
    }
    _write_json(root / 'annotations' / f'panoptic_{split}.json', content)


def _write_scene(
    root: Path, split: str, index: int, rng: np.random.Generator, parameters: ShapesParameters
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Write one image and its PNGs; return its entries in the annotation file."""
    size = parameters.size
    image, segments, labels = draw_scene(rng, size=size, num_classes=parameters.num_classes)
    ids = 1 + rng.choice(MAX_ID, size=len(labels), replace=False)
    rgb = ids_to_rgb(np.concatenate([[0], ids])[segments])
    semantic = np.array([IGNORE_LABEL, *labels], dtype=np.uint8)[segments]
    jpg, png = f'{index:06d}.jpg', f'{index:06d}.png'
    _write_image(root / split / jpg, image, cv2.IMWRITE_JPEG_QUALITY, 95)
    _write_image(root / f'panoptic_{split}' / png, rgb, cv2.IMWRITE_PNG_COMPRESSION, 6)
    _write_image(root / f'semantic_{split}' / png, semantic, cv2.IMWRITE_PNG_COMPRESSION, 6)
    segments_info = [
        _segment_info(segments == k + 1, int(ids[k]), label + 1) for k, label in enumerate(labels)
    ]
    return (
        {'id': index, 'file_name': jpg, 'height': size, 'width': size},
        {'image_id': index, 'file_name': png, 'segments_info': segments_info},
    )


def _categories(num_classes: int) -> list[dict[str, Any]]:
    things, stuff = thing_classes(num_classes), stuff_classes(num_classes)
    return [
        {'id': label + 1, 'name': name, 'isthing': int(label < len(things))}
        for label, name in enumerate((*things, *stuff))
    ]


def _segment_info(mask: np.ndarray, segment_id: int, category_id: int) -> dict[str, Any]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    x, y = int(columns[0]), int(rows[0])
    return {
        'id': segment_id,
        'category_id': category_id,
        'iscrowd': 0,
        'bbox': [x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1],
        'area': int(mask.sum()),
    }


def _write_image(path: Path, image: np.ndarray, flag: int, value: int) -> None:
    """Write an image of shape (H, W), or (H, W, 3) in RGB."""
    channels = image if image.ndim == 2 else image[..., ::-1]
    if not cv2.imwrite(str(path), channels, [flag, value]):
        raise OSError(f'{path} could not be written')


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content), encoding='utf-8')
