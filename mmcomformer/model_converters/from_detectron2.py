"""From a detectron2 checkpoint to one that the next step can start from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mmengine
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor

from ..engine.checkpoint import META_KEY
from ..engine.request import Request, load_config
from ..engine.scenario_config import default_scope_of, model_at_step, scenario_of
from ..registry import DATASETS, MODELS
from ..scenario import Scenario
from . import layouts
from .comparison import Comparison, compare, report
from .files import check_destination, read_detectron2, write_checkpoint
from .tensor_names import (
    CLASSIFIER,
    COUNTER,
    HEADS,
    head_of,
    is_loss_state,
    is_plain_prompt,
    to_ours,
    upgrade,
)

ORIGIN_KEY = 'detectron2'
"""Key of the meta that says how the tensors were laid out in the file they come from."""

INPUT_FORMATS = ('RGB', 'BGR')


@dataclass(frozen=True)
class Conversion:
    """What a conversion did.

    Attributes:
        scenario: The scenario, at the step of the checkpoint.
        num_tensors: Number of tensors taken over.
        flipped_stem: Whether red and blue were exchanged in the first convolution.
        left_out: What the file also holds and the result does not: allowed tensors and entries
            such as ``optimizer``.
        initial: Tensors that the file lacks and that have the values of a new model, as allowed.
    """

    scenario: Scenario
    num_tensors: int
    flipped_stem: bool
    left_out: tuple[str, ...]
    initial: tuple[str, ...]


def convert_from_detectron2(
    source: str | Path,
    destination: str | Path,
    *,
    config: str | Path,
    step: int | None = None,
    allow: Sequence[str] = (),
    input_format: str = 'RGB',
    overwrite: bool = False,
) -> Conversion:
    """Convert a checkpoint of CoMFormer, Mask2Former, ECLIPSE or BalConpas.

    The result is a checkpoint of the config's model at the checkpoint's step, with that step and
    the scenario in its meta: it can be the teacher of the next step at once. Classes are taken to
    be in the learning order of the config's scenario. Whether masks are softmax or sigmoid, and
    where a ResNet has its strides, is not in a checkpoint; the config says it.

    Args:
        source: A ``.pth`` with ``model``, or a ``.pkl`` of a model zoo.
        destination: Where to write; written only if everything fits.
        config: The config whose model and scenario the checkpoint is for.
        step: The step of the checkpoint; found by its classifier by default.
        allow: Names, or patterns with ``*``, of tensors in the file that the model does not have
            and may be dropped, and of tensors that it lacks and may keep the values of a new model;
            all by their detectron2 names.
        input_format: Channel order of the images the checkpoint was trained on, ``RGB`` or ``BGR``
            (detectron2's ``INPUT.FORMAT``). Where it is not the config's, the first convolution is
            flipped; mean and standard deviation are the config's.
        overwrite: Whether a file that is there, and was not written by these tools, is replaced.

    Returns:
        What was done.

    Raises:
        FileNotFoundError: If a file is missing.
        RuntimeError: If the file is damaged, would execute code, or does not fit the config.
        ValueError: If an argument is wrong.
    """
    if input_format not in INPUT_FORMATS:
        raise ValueError(f'input_format: expected one of {INPUT_FORMATS}, got {input_format!r}')
    check_destination(source, destination, overwrite=overwrite)
    checkpoint = read_detectron2(source)
    model = _upgraded(checkpoint.model, source)
    plain_prompts = any(map(is_plain_prompt, checkpoint.model))
    growing = layouts.growing_layers(model)
    if growing:
        _check_growing(model, growing, source)
        model = layouts.split_growing(model, growing)
    single = layouts.has_single_classifier(model)
    cfg = _config_of(model, config, step, source)
    scenario = scenario_of(cfg)
    if single:
        model = _split(model, scenario, source)
    loss_state = {name: model.pop(name) for name in list(model) if is_loss_state(name)}
    state_dict = _new_state_dict(cfg)
    comparison = _check(model, state_dict, allow, source=source, config=config)
    flip = input_format != _format_of(cfg)
    state_dict.update(_translated(model, state_dict, flip_stem=flip))
    origin = dict(
        classifier='single' if single else 'growing' if growing else 'incremental',
        layers=list(growing),
        flipped_stem=flip,
        plain_prompts=plain_prompts,
        counts_batches=any(name.endswith(COUNTER) for name in model),
        loss_state=loss_state,
        iteration=checkpoint.iteration,
    )
    meta = {**_meta(cfg, scenario, checkpoint.iteration), ORIGIN_KEY: origin}
    write_checkpoint(dict(meta=meta, state_dict=state_dict), destination)
    return Conversion(
        scenario=scenario,
        num_tensors=len(model) - len(comparison.dropped),
        flipped_stem=flip,
        left_out=(*comparison.dropped, *checkpoint.others),
        initial=comparison.initial,
    )


def _upgraded(model: Mapping[str, Tensor], source: str | Path) -> dict[str, Tensor]:
    """Give tensors their present names, and check that this is a Mask2Former at all."""
    upgraded: dict[str, Tensor] = {}
    for name, tensor in model.items():
        present = upgrade(name)
        if present in upgraded:
            raise RuntimeError(
                f'checkpoint {source}: it has {present} twice, under its present and its old '
                f'name; remove one of them'
            )
        upgraded[present] = tensor
    if not layouts.classifier_sizes(upgraded) and not layouts.growing_layers(upgraded):
        raise RuntimeError(
            f'checkpoint {source}: expected a Mask2Former, with sem_seg_head.predictor.class_embed'
            f'.weight, .class_embed.cls.1.weight or .class_embed.cls.1.layers.2.weight, found '
            f"tensors such as {list(model)[:3]}; a backbone alone is loaded with the config's "
            f'init_cfg'
        )
    return upgraded


def _config_of(
    model: Mapping[str, Tensor], config: str | Path, step: int | None, source: str | Path
) -> Config:
    """Load the config at the step of a model."""
    request = Request(config=str(config))
    scenario = scenario_of(load_config(request, 0))
    return load_config(request, find_step(model, scenario, step, source=source, config=config))


def find_step(
    model: Mapping[str, Tensor],
    scenario: Scenario,
    asked: int | None = None,
    *,
    source: str | Path,
    config: str | Path,
) -> int:
    """Find out from the size of its classifier which step a detectron2 model is of.

    Args:
        model: The model, with an incremental or a single classifier.
        scenario: The scenario it was trained in.
        asked: The step it should be of.
        source: File of the model, for messages.
        config: File of the scenario, for messages.

    Raises:
        RuntimeError: If it is of another step, or of no step of the scenario.
        ValueError: If the scenario has no such step.
    """
    sizes = layouts.classifier_sizes(model)
    increments = scenario.increments
    if layouts.has_single_classifier(model):
        described = f'{sizes[0]} classes (class_embed.weight has {sizes[0] + 1} rows)'
        fitting = [t for t in range(len(increments)) if sum(increments[: t + 1]) == sizes[0]]
    else:
        described = f'{list(sizes)} classes, step by step (class_embed.cls.1, .cls.2, ...)'
        fitting = [len(sizes) - 1] if tuple(increments[: len(sizes)]) == sizes else []
    if not fitting:
        raise RuntimeError(
            f'checkpoint {source}: its classifier has {described}, but the scenario of {config} '
            f'teaches {list(increments)}, step by step; pass the --config of its scenario'
        )
    if asked is not None and scenario.at_step(asked).step != fitting[0]:
        raise RuntimeError(
            f'checkpoint {source}: by step {asked} there are {sum(increments[: asked + 1])} '
            f'classes, but its classifier has {described}, which is step {fitting[0]}; pass --step '
            f'{fitting[0]}, or leave it out'
        )
    return fitting[0]


def _split(
    model: Mapping[str, Tensor], scenario: Scenario, source: str | Path
) -> dict[str, Tensor]:
    """Split a single classifier, whose weight has the right number of rows, by step."""
    bias = model.get(f'{CLASSIFIER}bias')
    if bias is not None and bias.shape != (scenario.num_seen + 1,):
        raise RuntimeError(
            f'checkpoint {source}: {CLASSIFIER}bias is {tuple(bias.shape)}, expected '
            f'({scenario.num_seen + 1},), one value for each row of {CLASSIFIER}weight'
        )
    return layouts.split_classifier(model, scenario.seen_increments)


def _check_growing(model: Mapping[str, Tensor], layers: Sequence[str], source: str | Path) -> None:
    """Check, by the names of the file, that each layer of a growing classifier is whole."""
    for layer in layers:
        weight, bias = (model.get(f'{layer}.{leaf}') for leaf in ('weight', 'bias'))
        shapes = [None if part is None else tuple(part.shape) for part in (weight, bias)]
        if weight is None or bias is None or bias.shape != weight.shape[:1]:
            raise RuntimeError(
                f'checkpoint {source}: {layer}.weight is {shapes[0]} and {layer}.bias is '
                f'{shapes[1]}; expected one value of the bias for each row of the weight'
            )


def _new_state_dict(cfg: Config) -> dict[str, Tensor]:
    """Return the state dict of a new model of a config, with torch's metadata."""
    with DefaultScope.overwrite_default_scope(default_scope_of(cfg)):
        return MODELS.build(model_at_step(cfg.model, scenario_of(cfg).step)).state_dict()


def _check(
    model: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    allow: Sequence[str],
    *,
    source: str | Path,
    config: str | Path,
) -> Comparison:
    comparison = compare(model, expected, allow)
    if not comparison.fits:
        raise RuntimeError(
            f'checkpoint {source} does not fit the model of {config}:\n'
            f'{report(comparison, model, expected)}\n'
            f'pass the --config of the model it was trained with; what may be dropped (unused) or '
            f'keep the values of a new model (missing) can be named with --allow'
        )
    return comparison


def _format_of(cfg: Config) -> str:
    """Return the channel order in which a config's model sees images, which are read as BGR."""
    preprocessor = cfg.model.get('data_preprocessor') or {}
    return 'RGB' if preprocessor.get('bgr_to_rgb') else 'BGR'


def _translated(
    model: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, flip_stem: bool
) -> dict[str, Tensor]:
    translated = {}
    head = head_of(expected) or HEADS[0]
    for name, tensor in model.items():
        ours = to_ours(name, head)
        if ours is None or ours not in expected:
            continue
        if layouts.is_patch_merging(ours):
            tensor = layouts.patch_merging_to_ours(tensor)
        if flip_stem and ours in layouts.STEMS:
            tensor = layouts.flip_colours(tensor)
        # a copy: one row of a shared storage would save all of it
        translated[ours] = tensor.clone(memory_format=torch.contiguous_format)
    return translated


def _meta(cfg: Config, scenario: Scenario, iteration: int | None) -> dict[str, Any]:
    """Return the meta that a finished training of the step would have written."""
    iters = 0 if iteration is None else iteration + 1
    continual = dict(step=scenario.step, scenario=scenario.to_dict(), teacher=None, max_iters=iters)
    return {
        'epoch': 0,
        'iter': iters,
        'cfg': cfg.pretty_text,
        'experiment_name': f'{Path(cfg.filename).stem}_step{scenario.step}',
        'mmengine_version': mmengine.__version__,
        'dataset_meta': _dataset_meta(cfg, scenario),
        META_KEY: continual,
    }


def _dataset_meta(cfg: Config, scenario: Scenario) -> dict[str, Any]:
    """Return the dataset's class names and palette, without opening its files."""
    dataset = cfg.get('train_dataloader', {}).get('dataset')
    if dataset is None:
        return dict(
            classes=scenario.classes,
            thing_classes=scenario.thing_classes,
            stuff_classes=scenario.stuff_classes,
        )
    with DefaultScope.overwrite_default_scope(default_scope_of(cfg)):
        return dict(DATASETS.build({**dataset, 'lazy_init': True}).metainfo)
