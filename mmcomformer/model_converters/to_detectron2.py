"""From a checkpoint of this package to one that the released detectron2 programs load."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ..engine.checkpoint import read_checkpoint
from . import layouts
from .files import check_destination, with_metadata, write_checkpoint
from .from_detectron2 import ORIGIN_KEY
from .tensor_names import COUNTER, HEADS, head_of, is_plain_prompt, to_theirs

CLASSIFIERS = ('incremental', 'single', 'growing')


def convert_to_detectron2(
    source: str | Path,
    destination: str | Path,
    *,
    classifier: str | None = None,
    overwrite: bool = False,
) -> int:
    """Convert a checkpoint of this package to detectron2's form.

    What :func:`~mmcomformer.model_converters.convert_from_detectron2` made comes back bit for bit.
    Norms that have never counted a batch are taken to be frozen.

    Args:
        source: A checkpoint of a training, or a converted one.
        destination: Where to write (``.pth``); written only if every tensor has a place.
        classifier: ``incremental`` (CoMFormer's, one layer per step and one for no-object),
            ``single`` (Mask2Former's) or ``growing`` (BalConpas's, one layer per step, no-object
            in the first); that of the file it was converted from by default, else incremental.
        overwrite: Whether a file that is there, and was not written by these tools, is replaced.

    Returns:
        Number of tensors written.

    Raises:
        FileNotFoundError: If there is no such file.
        RuntimeError: If it is damaged, would execute code, or is no model that detectron2's
            Mask2Former has.
        ValueError: If an argument is wrong.
    """
    if classifier not in (None, *CLASSIFIERS):
        raise ValueError(f'classifier: expected one of {CLASSIFIERS}, got {classifier!r}')
    check_destination(source, destination, overwrite=overwrite)
    checkpoint = read_checkpoint(source)
    meta = checkpoint.get('meta') or {}
    origin = meta.get(ORIGIN_KEY) or {}
    model = _translated(checkpoint['state_dict'], origin, source)
    kind = classifier or origin.get('classifier')
    if kind in ('single', 'growing') and layouts.has_mlps(model):
        raise ValueError(
            f'classifier: {source} has an MLP per step, which cannot be {kind!r}; use '
            f"'incremental', or leave it out"
        )
    if kind == 'single':
        model = layouts.join_classifier(model)
    elif kind == 'growing':
        steps = len(layouts.classifier_sizes(model))
        layers = origin.get('layers') or layouts.new_growing_layers(steps)
        model = layouts.join_growing(model, layers)
    model.update(origin.get('loss_state', {}))
    content: dict[str, Any] = {'model': with_metadata(model)}
    iteration = origin['iteration'] if origin else meta.get('iter', 0) - 1
    if iteration is not None and iteration >= 0:
        content['iteration'] = iteration
    write_checkpoint(content, destination)
    return len(model)


def _translated(
    state_dict: Mapping[str, Tensor], origin: Mapping[str, Any], source: str | Path
) -> dict[str, Tensor]:
    names = {name: to_theirs(name) for name in state_dict}
    unknown = [name for name, theirs in names.items() if theirs is None]
    no_object = f'{head_of(names)}.cls_embed.no_object'
    if unknown or not {f'{no_object}.weight', f'{no_object}.4.weight'} & set(names):
        raise RuntimeError(
            f'checkpoint {source}: expected a ContinualMaskFormer or a ContinualEncoderDecoder, '
            f"which detectron2's Mask2Former corresponds to; {_describe(unknown)}"
        )
    counters = {name: tensor for name, tensor in state_dict.items() if name.endswith(COUNTER)}
    counts = origin.get('counts_batches', any(bool(tensor) for tensor in counters.values()))
    translated = {}
    for name, theirs in names.items():
        if theirs is None or (name in counters and not counts):
            continue
        tensor = state_dict[name]
        if layouts.is_patch_merging(name):
            tensor = layouts.patch_merging_to_theirs(tensor)
        if origin.get('flipped_stem') and name in layouts.STEMS:
            tensor = layouts.flip_colours(tensor)
        if origin.get('plain_prompts') and is_plain_prompt(theirs.removesuffix('.weight')):
            theirs = theirs.removesuffix('.weight')
        translated[theirs] = tensor.contiguous()
    return translated


def _describe(unknown: list[str]) -> str:
    if not unknown:
        classifiers = ' or '.join(f'{head}.cls_embed.no_object.weight' for head in HEADS)
        return f'it has no {classifiers}'
    more = f' and {len(unknown) - 10} more' if len(unknown) > 10 else ''
    return f'there is no place for {", ".join(unknown[:10])}{more}'
