"""Pictures of what training sees at a step: images after the pipeline, labels, pseudo-labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.runner import set_random_seed

from ..engine.checkpoint import check_previous_step, continual_meta, raw_weights, read_checkpoint
from ..engine.checkpoint_fit import check_weights_fit
from ..engine.hooks import PseudoLabelHook
from ..engine.hooks.previous_step_hook import find_hooks
from ..engine.request import Request, load_config
from ..engine.scenario_config import default_scope_of, model_at_step, scenario_of
from ..models.teacher import FrozenTeacher
from ..outputs import check_outputs, output_file
from ..registry import DATASETS, MODELS
from ..scenario import Scenario
from ..tasks import Task, task_of
from .drawing import Segment, draw_segments, enlargement, join_panels


@dataclass(frozen=True)
class Browse:
    """What to draw.

    Attributes:
        config: Path of the config.
        step: The step.
        num: Largest number of pictures; None draws all images of the step.
        memory: Whether to draw the images from memory only.
        checkpoint: Checkpoint of the step before, for pseudo-labels.
        cfg_options: Settings that override the config's, by dotted key.
    """

    config: str
    step: int = 0
    num: int | None = None
    memory: bool = False
    checkpoint: str | None = None
    cfg_options: Mapping[str, Any] = field(default_factory=dict)


def browse(request: Browse) -> Iterator[tuple[str, np.ndarray]]:
    """Yield a name and a picture (RGB, uint8) of each training image of a step.

    Raises:
        FileNotFoundError: If the config, the checkpoint or a file of the data is missing.
        RuntimeError: If the checkpoint is not of the step before.
        ValueError: If the config or the data are wrong, a checkpoint is given at step 0, or there
            is no image in memory to draw.
    """
    cfg = load_config(Request(request.config, cfg_options=request.cfg_options), request.step)
    init_default_scope(default_scope_of(cfg))
    scenario = scenario_of(cfg)
    labeller = None
    if request.checkpoint is not None:
        labeller = _PseudoLabels(cfg, scenario, request.checkpoint)
    task = task_of(cfg.model)
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    # the same crops each time
    set_random_seed(cfg.get('randomness', {}).get('seed') or 0)
    for index in _chosen(request, dataset):
        packed = dataset[index]
        name = Path(packed['data_samples'].img_path).name
        yield (
            f'{index:05d}_{Path(name).stem}',
            _draw(packed, name, dataset.metainfo, task, labeller),
        )


def _chosen(request: Browse, dataset: Any) -> range:
    """Return the samples to draw; those from memory are the last ones of a dataset."""
    first = 0
    if request.memory:
        stored = getattr(dataset, 'num_from_memory', 0)
        first = len(dataset) - stored
        if not stored:
            raise ValueError(
                f'--memory: step {request.step} has no image from memory; choose a later step, and '
                f'a config with one, as with --cfg-options memory.size=30'
            )
    last = len(dataset) if request.num is None else min(first + request.num, len(dataset))
    return range(first, last)


def _draw(
    packed: dict[str, Any],
    name: str,
    metainfo: Mapping[str, Any],
    task: Task,
    labeller: _PseudoLabels | None,
) -> np.ndarray:
    # the data preprocessor turns the channels round later
    image = np.ascontiguousarray(packed['inputs'].permute(1, 2, 0).numpy()[..., ::-1])
    scenario = Scenario.from_config(metainfo['scenario'])
    segments = task.ground_truth(packed['data_samples'], scenario.num_classes)
    labels = [_segment(mask, label, metainfo) for mask, label in segments]
    scale = enlargement(*image.shape[:2])
    panels = [
        ('image', image.repeat(scale, axis=0).repeat(scale, axis=1)),
        (f'labelled segments: {len(labels)}; hatched: not labelled', draw_segments(image, labels)),
    ]
    if labeller is not None:
        pseudo = [_segment(mask, label, metainfo) for mask, label in labeller(packed)]
        caption = f'pseudo-labels of the teacher: {len(pseudo)}; hatched: none'
        panels.append((caption, draw_segments(image, pseudo)))
    stored = packed['data_samples'].metainfo.get('from_memory', False)
    source = ' (from memory)' if stored else ''
    return join_panels(panels, f'step {scenario.step}, {scenario.setting}: {name}{source}')


def _segment(mask: np.ndarray, label: int, metainfo: Mapping[str, Any]) -> Segment:
    red, green, blue = metainfo['palette'][label]
    name = metainfo['classes'][label]
    # ADE20K lists synonyms, which would cover the picture
    short = name if len(name) <= _LONGEST_NAME else name.split(',')[0]
    return Segment(mask, short, (int(red), int(green), int(blue)))


_LONGEST_NAME = 20


class _PseudoLabels:
    """The pseudo-labels that the teacher of a config gives to an image.

    Args:
        cfg: The config at the step.
        scenario: Its scenario.
        checkpoint: Checkpoint of the step before.
    """

    def __init__(self, cfg: Config, scenario: Scenario, checkpoint: str) -> None:
        if scenario.step == 0:
            raise ValueError(
                f'checkpoint {checkpoint}: step 0 has no teacher; choose a later step with --step'
            )
        content = read_checkpoint(checkpoint)
        check_previous_step(continual_meta(content, checkpoint), scenario, checkpoint)
        model = MODELS.build(model_at_step(cfg.model, scenario.step - 1))
        check_weights_fit(model, content, checkpoint)
        names = [name for name, _ in model.named_parameters()]
        model.load_state_dict(raw_weights(content, names), strict=True)
        self._teacher = FrozenTeacher(model)
        self._labels = scenario.learning_to_label
        hooks = [hook for hook in find_hooks(cfg) if hook['type'] == PseudoLabelHook.__name__]
        hook = PseudoLabelHook(**_without_type(hooks[0]) if hooks else {})
        self._labeller = hook.build_labeller(model.mask_head)

    @torch.no_grad()
    def __call__(self, packed: dict[str, Any]) -> list[tuple[np.ndarray, int]]:
        """Return mask, (H, W), bool, and dataset label of each pseudo-label."""
        height, width = packed['inputs'].shape[-2:]
        model = self._teacher.model
        batch = model.data_preprocessor(pseudo_collate([packed]), True)
        output = self._teacher(batch['inputs'], batch['data_samples'])
        truth = model.mask_head.build_targets(batch['data_samples'])
        (targets,) = self._labeller(truth, output)
        found = [
            (targets.mask_of(index)[:height, :width].numpy(), int(targets.labels[index]))
            for index in torch.nonzero(targets.is_pseudo & targets.valid)[:, 0].tolist()
        ]
        return [(mask, self._labels[label]) for mask, label in found if mask.any()]


def _without_type(hook: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in hook.items() if key != 'type'}


def write_pictures(request: Browse, out_dir: str, *, overwrite: bool = False) -> list[Path]:
    """Write the pictures as PNG files and return their paths.

    Raises:
        FileExistsError: If one is there that these tools did not write, and ``overwrite`` is false.
        OSError: If the folder cannot be written.
    """
    import cv2

    paths = []
    for name, picture in browse(request):
        path = Path(out_dir) / f'{name}.png'
        check_outputs([path], folder=out_dir, overwrite=overwrite)
        with output_file(path) as temporary:
            _, content = cv2.imencode('.png', picture[..., ::-1])
            temporary.write_bytes(content.tobytes())
        paths.append(path)
    return paths


def show_pictures(request: Browse) -> int:
    """Show the pictures in mmengine's visualiser, one after the other, and return their number.

    Raises:
        ValueError: If there is no display.
    """
    import matplotlib
    from mmengine.visualization import Visualizer

    if matplotlib.get_backend().lower() == 'agg':
        raise ValueError('there is no display to show pictures on; write files with --out-dir')
    visualizer = Visualizer()
    count = 0
    for name, picture in browse(request):
        visualizer.show(picture, win_name=name)
        count += 1
    return count
