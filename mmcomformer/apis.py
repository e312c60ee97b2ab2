"""A trained model in five lines of Python.

::

    from mmcomformer.apis import load_model, predict

    model = load_model('comformer_shapes_6-3.py', 'work_dirs/comformer_shapes_6-3/step2/last.pth')
    for segment in predict(model, 'photo.jpg').segments:
        print(segment.name, segment.score, segment.area)
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast, overload

import numpy as np
from mmengine.device import get_device
from numpy.typing import NDArray

from .datasets.png import decoded_picture
from .engine.checkpoint import continual_meta, read_checkpoint
from .engine.checkpoint_fit import check_fit
from .engine.devices import check_device
from .engine.predictions import Prediction, Segment, instances_of, segments_of
from .engine.request import Request, load_config
from .models.inference_settings import check_threshold
from .tasks import task_of

__all__ = ['Image', 'Prediction', 'Segment', 'load_model', 'predict', 'read_image']

Image = str | os.PathLike[str] | NDArray[np.uint8]
"""Path of an image, or its pixels: (H, W, 3), uint8, BGR, as OpenCV reads and mmdet expects it."""


def load_model(
    config: str | os.PathLike[str],
    checkpoint: str | os.PathLike[str],
    *,
    device: str | None = None,
    cfg_options: Mapping[str, Any] | None = None,
) -> Any:
    """Build the model of a config at the step of a checkpoint, and load that.

    Args:
        config: Path of the config, or the name of one that comes with the package.
        checkpoint: Path of the checkpoint; it says the step.
        device: Such as ``cuda:0``; defaults to what is there.
        cfg_options: Settings that override the config's, by dotted key.

    Returns:
        The detector or segmentor, as ``init_detector`` of mmdet and ``init_model`` of mmseg return
        it: their functions take it, too.

    Raises:
        FileNotFoundError: If one of the files is missing.
        RuntimeError: If the checkpoint is not one of ours or does not fit the config, such as one
            of another scenario.
        ValueError: If there is no such device.
    """
    checkpoint = os.fspath(checkpoint)
    check_device(device)
    content = read_checkpoint(checkpoint, mmap=True)
    step = continual_meta(content, checkpoint)['step']
    cfg = load_config(Request(config=os.fspath(config), cfg_options=cfg_options or {}), step)
    check_fit(cfg, content, checkpoint)
    return task_of(cfg.model).load_model(cfg, checkpoint, device or get_device())


@overload
def predict(model: Any, images: Image, *, score_thr: float | None = None) -> Prediction: ...


@overload
def predict(
    model: Any, images: Sequence[Image], *, score_thr: float | None = None
) -> list[Prediction]: ...


def predict(
    model: Any, images: Image | Sequence[Image], *, score_thr: float | None = None
) -> Prediction | list[Prediction]:
    """Segment images.

    Args:
        model: From :func:`load_model`.
        images: One image, or a list or tuple of them.
        score_thr: Of a model of instances: they are returned if their score is higher, 0.5 if
            None. The data sample has all of them.

    Returns:
        What was found in the image, or a list of that.

    Raises:
        FileNotFoundError: If an image is missing.
        TypeError: If an image is neither a path nor an array, or ``score_thr`` is no number.
        ValueError: If one cannot be read, or an array has another shape or type; if ``score_thr``
            is not in [0, 1], or the model is one of another task.
    """
    score_thr = _score_threshold(model, score_thr)
    if isinstance(images, (list, tuple)):
        for image in images:
            _check_image(image)
        return [_predict(model, image, score_thr) for image in images]
    _check_image(images)
    return _predict(model, cast(Image, images), score_thr)


def _score_threshold(model: Any, score_thr: float | None) -> float | None:
    if score_thr is None:
        return None
    task = task_of(model.cfg.model)
    if task.score_thr is None:
        raise ValueError(
            f'score_thr: {task.name} segmentation has no threshold of scores here, got '
            f'{score_thr}; leave it out'
        )
    return check_threshold('score_thr', score_thr)


def _check_image(image: Any) -> None:
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise ValueError(
                f'image: expected an array (H, W, 3) of uint8, BGR, got {image.shape} of '
                f'{image.dtype}'
            )
        return
    if not isinstance(image, (str, os.PathLike)):
        raise TypeError(f'image: expected a path or an array, got {type(image).__name__}')
    read_image(image)


def read_image(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Return the pixels of an image file, (H, W, 3), uint8, BGR.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not an image.
    """
    if Path(path).is_dir():
        raise ValueError(f'image {path}: this is a folder; expected an image such as PNG or JPEG')
    if not Path(path).is_file():
        raise FileNotFoundError(f'image {path}: no such file')
    pixels = decoded_picture(Path(path).read_bytes())
    if pixels is None:
        raise ValueError(f'image {path}: cannot be read; expected an image such as PNG or JPEG')
    return pixels


def _predict(model: Any, image: Image, score_thr: float | None) -> Prediction:
    task = task_of(model.cfg.model)
    threshold = task.score_thr if score_thr is None else score_thr
    if isinstance(image, np.ndarray):
        with _kept_config(model):
            sample = task.predict(model, image).cpu()
    else:
        sample = task.predict(model, os.fspath(image)).cpu()
    names = model.dataset_meta['classes']
    found = None if threshold is None else task.instances(sample, threshold)
    if found is not None:
        return instances_of(
            found.masks.numpy(),
            found.labels.tolist(),
            found.scores.tolist(),
            names=names,
            data_sample=sample,
            score_thr=threshold,
        )
    return segments_of(
        task.segment_map(sample)[0].numpy(),
        names=names,
        num_things=model.mask_head.scenario.num_things,
        scores=task.segment_scores(sample),
        data_sample=sample,
    )


@contextmanager
def _kept_config(model: Any) -> Iterator[None]:
    """Let mmdet and mmseg change a copy: they rewrite the pipeline, which then takes no paths."""
    kept, model.cfg = model.cfg, copy.deepcopy(model.cfg)
    try:
        yield
    finally:
        model.cfg = kept
