"""Segmenting images of one's own: pictures of the results, and the segments as JSON."""

from __future__ import annotations

import glob
import json
import os
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..apis import Prediction, load_model, predict, read_image
from ..outputs import check_outputs, output_file, output_picture, picture_path
from ..registry import VISUALIZERS

SUFFIXES = ('.bmp', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')
"""What the name of an image in a folder ends with."""


@dataclass(frozen=True)
class Demo:
    """What to segment, and where to.

    Attributes:
        images: Files, folders, whose images are taken, and patterns such as ``photos/*.jpg``.
        config: See :func:`~mmcomformer.apis.load_model`.
        checkpoint: See there.
        out: Path of the picture, or a folder, as :func:`~mmcomformer.outputs.picture_path` takes
            it; of several images always a folder.
        json: File for the segments of all images; None writes none.
        device: See :func:`~mmcomformer.apis.load_model`.
        overwrite: Whether files that are there, and were not written by these tools, are replaced.
        score_thr: See :func:`~mmcomformer.apis.predict`.
    """

    images: Sequence[str | Path]
    config: str
    checkpoint: str
    out: str | Path
    json: str | Path | None = None
    device: str | None = None
    overwrite: bool = False
    score_thr: float | None = None


@dataclass(frozen=True)
class Drawn:
    """An image, its picture, and what was found; the reason why not where it cannot be read."""

    image: Path
    picture: Path
    prediction: Prediction | None = None
    fault: str | None = None


def find_images(names: Sequence[str | Path]) -> list[Path]:
    """Return the images that files, folders and patterns name, each once.

    Raises:
        FileNotFoundError: If one of them names none.

    Example:
        >>> find_images(['nothing/*.jpg'])
        Traceback (most recent call last):
        ...
        FileNotFoundError: image nothing/*.jpg: no such file, and no file fits the pattern
    """
    found: dict[Path, None] = {}
    for name in names:
        paths = list(_images_of(Path(name)))
        if not paths:
            raise FileNotFoundError(_nothing(name))
        found |= dict.fromkeys(paths)
    return list(found)


def _images_of(name: Path) -> Iterator[Path]:
    if name.is_file():
        yield name
    elif name.is_dir():
        paths = sorted(name.rglob('*'))
        yield from (path for path in paths if path.suffix.lower() in SUFFIXES and path.is_file())
    else:
        paths = sorted(map(Path, glob.glob(str(name), recursive=True)))
        yield from (path for path in paths if path.is_file())


def _nothing(name: str | Path) -> str:
    if Path(name).is_dir():
        return f'folder {name}: no image in it; expected names that end in {", ".join(SUFFIXES)}'
    pattern = ', and no file fits the pattern' if glob.has_magic(str(name)) else ''
    return f'image {name}: no such file{pattern}'


def name_pictures(images: Sequence[Path], out: str | Path) -> list[Path]:
    """Return the file of each picture: below a folder as the images are, if there are several.

    Images that differ in their extension only keep it before that of the picture.

    Raises:
        ValueError: If several images were to be written into one file.
    """
    if len(images) == 1:
        return [picture_path(out, images[0])]
    folder = Path(out)
    if folder.is_file() or (not folder.is_dir() and folder.suffix.lower() in SUFFIXES):
        raise ValueError(f'--out {out}: expected a folder for the pictures of {len(images)} images')
    root = Path(os.path.commonpath([path.resolve().parent for path in images]))
    below = [path.resolve().relative_to(root) for path in images]
    times = Counter(path.with_suffix('') for path in below)
    return [
        folder / (f'{path}.png' if times[path.with_suffix('')] > 1 else path.with_suffix('.png'))
        for path in below
    ]


def run_demo(demo: Demo, on_image: Callable[[Drawn], None] = lambda drawn: None) -> list[Drawn]:
    """Segment images and write pictures of the results.

    Args:
        demo: What to do.
        on_image: Called after each image.

    Returns:
        Images, pictures and predictions, in the order of the images.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If the only image cannot be read, or a picture would be written over an input.
            One of several that cannot be read is left out, and its fault told.
        FileExistsError: If there is a file that these tools did not write.
    """
    images = find_images(demo.images)
    pictures = name_pictures(images, demo.out)
    outputs = [*pictures, *([demo.json] if demo.json else [])]
    check_outputs(outputs, inputs=[*images, demo.config, demo.checkpoint], overwrite=demo.overwrite)
    if len(images) == 1:
        read_image(images[0])
    model = load_model(demo.config, demo.checkpoint, device=demo.device)
    visualizer = build_visualizer(model)
    results = []
    for image, picture in zip(images, pictures, strict=True):
        results.append(_segment(model, visualizer, image, picture, demo.score_thr))
        on_image(results[-1])
    if demo.json:
        _write_json(demo, results, model)
    return results


def build_visualizer(model: Any) -> Any:
    """Return what draws the predictions of a model."""
    # a name that is taken would give the one of another model
    name = f'demo_{uuid.uuid4().hex[:8]}'
    visualizer = VISUALIZERS.build({**model.cfg.visualizer, 'vis_backends': None, 'name': name})
    visualizer.dataset_meta = model.dataset_meta
    return visualizer


def _segment(
    model: Any, visualizer: Any, image: Path, picture: Path, score_thr: float | None
) -> Drawn:
    try:
        pixels = read_image(image)
    except ValueError as error:
        return Drawn(image, picture, fault=str(error))
    prediction = predict(model, image, score_thr=score_thr)
    draw(visualizer, pixels[..., ::-1], prediction, picture)
    return Drawn(image, picture, prediction)


def draw(visualizer: Any, pixels: Any, prediction: Prediction, path: Path) -> None:
    """Write a picture of a prediction.

    Args:
        visualizer: From :func:`build_visualizer`.
        pixels: The image, (H, W, 3), uint8, RGB.
        prediction: What was found in it.
        path: Path of the picture, whose folder is created.
    """
    # mmseg's visualiser has no scores
    threshold = prediction.score_thr
    of_instances = {} if threshold is None else {'pred_score_thr': threshold}
    with output_picture(path) as temporary:
        visualizer.add_datasample(
            'prediction',
            pixels,
            prediction.data_sample,
            draw_gt=False,
            show=False,
            out_file=str(temporary),
            **of_instances,
        )


def best_score(prediction: Prediction) -> float | None:
    """Return the best score of the instances that were found, shown or not; None without any."""
    if prediction.masks is None or not len(prediction.data_sample.pred_instances):
        return None
    return float(prediction.data_sample.pred_instances.scores.max())


def _write_json(demo: Demo, results: Sequence[Drawn], model: Any) -> None:
    content = {
        'config': demo.config,
        'checkpoint': demo.checkpoint,
        'step': model.mask_head.scenario.step,
        'images': [describe(result) for result in results if result.prediction is not None],
    }
    with output_file(demo.json or '') as temporary:
        temporary.write_text(
            f'{json.dumps(content, indent=1, ensure_ascii=False)}\n', encoding='utf-8'
        )


def describe(drawn: Drawn) -> dict[str, Any]:
    """Return what was found in an image as plain values; areas and boxes are in pixels."""
    prediction = drawn.prediction
    if prediction is None:
        return {'image': str(drawn.image), 'fault': drawn.fault}
    height, width = prediction.ids.shape
    return {
        'image': str(drawn.image),
        'picture': str(drawn.picture),
        'width': width,
        'height': height,
        'segments': [
            {
                'class': segment.name,
                'score': segment.score,
                'area': segment.area,
                'box': list(segment.box),
            }
            for segment in prediction.segments
        ],
    }
