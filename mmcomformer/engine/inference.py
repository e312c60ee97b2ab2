"""Prediction for single images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.device import get_device
from torch import Tensor

from ..datasets.png import decoded_picture
from ..outputs import check_outputs, output_picture, picture_path
from ..registry import VISUALIZERS
from ..tasks import task_of
from .checkpoint import continual_meta, read_checkpoint
from .checkpoint_fit import check_fit
from .devices import check_device
from .request import Request, load_config


def load_model(config: str, checkpoint: str, *, device: str | None = None) -> Any:
    """Build the model of a config at the step of a checkpoint, and load that.

    Args:
        config: Path of the config.
        checkpoint: Path of the checkpoint; its meta says the step.
        device: Such as ``cuda:0``; defaults to what is there.

    Raises:
        FileNotFoundError: If one of the files is missing.
        RuntimeError: If the checkpoint is not one of ours or does not fit the config.
        ValueError: If there is no such device.
    """
    check_device(device)
    content = read_checkpoint(checkpoint, mmap=True)
    step = continual_meta(content, checkpoint)['step']
    cfg = load_config(Request(config=config), step)
    check_fit(cfg, content, checkpoint)
    return task_of(cfg.model).load_model(cfg, checkpoint, device or get_device())


def draw_prediction(
    image: str,
    config: str,
    checkpoint: str,
    out: str | Path,
    *,
    device: str | None = None,
    overwrite: bool = False,
) -> list[tuple[str, float]]:
    """Segment an image and write a picture of the result.

    Args:
        image: Path of the image.
        config: See :func:`load_model`.
        checkpoint: See :func:`load_model`.
        out: Path of the picture, whose folder is created; or a folder, which gets a PNG of the
            name of the image (see :func:`~mmcomformer.outputs.picture_path`).
        device: See :func:`load_model`.
        overwrite: Whether a file that is there, and was not written by these tools, is replaced.

    Returns:
        Class name and share of the image in [0, 1] of each segment, largest first; a semantic
        model finds one segment per class.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If the image cannot be read, or the picture would be written over an input.
        FileExistsError: If there is a file that these tools did not write.
    """
    path = picture_path(out, image)
    check_outputs([path], inputs=[image, config, checkpoint], overwrite=overwrite)
    if Path(image).is_dir():
        raise ValueError(f'image {image}: this is a folder; expected an image such as PNG or JPEG')
    if not Path(image).is_file():
        raise FileNotFoundError(f'image {image}: no such file')
    pixels = decoded_picture(Path(image).read_bytes())
    if pixels is None:
        raise ValueError(f'image {image}: cannot be read; expected an image such as PNG or JPEG')
    model = load_model(config, checkpoint, device=device)
    task = task_of(model.cfg.model)
    result = task.predict(model, image)
    visualizer = VISUALIZERS.build({**model.cfg.visualizer, 'vis_backends': None, 'name': 'demo'})
    visualizer.dataset_meta = model.dataset_meta
    with output_picture(path) as temporary:
        visualizer.add_datasample(
            'prediction',
            pixels[..., ::-1],
            result.cpu(),
            draw_gt=False,
            show=False,
            out_file=str(temporary),
        )
    return _list_segments(task.segment_map(result), model.dataset_meta['classes'])


def _list_segments(codes: Tensor, classes: Sequence[str]) -> list[tuple[str, float]]:
    """Name the segments of a map of label + 1000 * instance; labels of no class are left out."""
    from mmdet.evaluation.functional import INSTANCE_OFFSET

    values, counts = np.unique(codes.cpu().numpy(), return_counts=True)
    labels = values % INSTANCE_OFFSET
    order = np.argsort(-counts, kind='stable')
    return [
        (classes[labels[i]], float(counts[i] / codes.numel()))
        for i in order
        if labels[i] < len(classes)
    ]
