"""Where both programs hold the same numbers in another order: pure functions of tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from .tensor_names import CLASSIFIER

STEMS = ('backbone.conv1.weight', 'backbone.patch_embed.projection.weight')
"""Our names of the first convolution, which sees the colour channels."""

Tensors = dict[str, Tensor]

# a layer of a list, which may be a part of the classifier
_LAYER = re.compile(re.escape(CLASSIFIER) + r'(\w+\.)?(\d+)\.(?:weight|bias)')


def patch_merging_to_ours(tensor: Tensor) -> Tensor:
    """Reorder the inputs of a Swin patch merging from theirs to ours.

    Theirs are 4 neighbours (top left, bottom left, top right, bottom right) of C channels each;
    ours are C channels of 4 neighbours each, row by row, as ``nn.Unfold`` gives them.

    Args:
        tensor: Shape (..., 4 C).

    Example:
        >>> patch_merging_to_ours(torch.tensor([0, 1, 10, 11, 20, 21, 30, 31])).tolist()
        [0, 20, 10, 30, 1, 21, 11, 31]
    """
    # (..., 4 C) -> (..., column, row, C) -> (..., C, row, column)
    return tensor.unflatten(-1, (2, 2, -1)).transpose(-3, -1).flatten(-3)


def patch_merging_to_theirs(tensor: Tensor) -> Tensor:
    """Undo :func:`patch_merging_to_ours`."""
    return tensor.unflatten(-1, (-1, 2, 2)).transpose(-3, -1).flatten(-3)


def is_patch_merging(name: str) -> bool:
    """Tell whether a tensor, by either name, belongs to a patch merging of Swin."""
    return re.search(r'^backbone\..*\.downsample\.(norm|reduction)\.', name) is not None


def flip_colours(weight: Tensor) -> Tensor:
    """Exchange red and blue in the first convolution, (C, 3, h, w)."""
    return weight.flip(1)


def has_single_classifier(model: Mapping[str, Tensor]) -> bool:
    """Tell whether a detectron2 model has Mask2Former's one linear layer for all classes."""
    return f'{CLASSIFIER}weight' in model


def classifier_sizes(model: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Return how many classes each layer of a detectron2 model's classifier has, no-object aside.

    One number if it has a single layer; empty if it has no classifier.
    """
    if has_single_classifier(model):
        return (_rows(model[f'{CLASSIFIER}weight']) - 1,)
    # linear layers, or MLPs of three
    ending = 'layers.2.weight' if has_mlps(model) else 'weight'
    sizes: list[int] = []
    while (key := f'{CLASSIFIER}cls.{len(sizes) + 1}.{ending}') in model:
        sizes.append(_rows(model[key]))
    return tuple(sizes)


def has_mlps(model: Mapping[str, Tensor]) -> bool:
    """Tell whether the classifier of a detectron2 model has an MLP per step (ECLIPSE)."""
    return f'{CLASSIFIER}cls.0.layers.2.weight' in model


def _rows(tensor: Tensor) -> int:
    """Return the size of the first axis, 1 if there is none."""
    return tensor.shape[:1].numel()


def growing_layers(model: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Return the layers of a growing classifier, of which the first has no-object as its last row.

    Each step adds a layer of its classes, as in BalConpas. In CoMFormer's incremental classifier
    layer 0 is no-object alone.

    Args:
        model: A detectron2 model.

    Returns:
        The names of the layers, step by step; empty if the classifier is another.
    """
    found = (_LAYER.fullmatch(name) for name in model)
    layers = sorted({(match[1] or '', int(match[2])) for match in found if match})
    lists = {name for name, _ in layers}
    numbers = [number for _, number in layers]
    if len(lists) != 1 or numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        return ()
    first = f'{CLASSIFIER}{layers[0][0]}{layers[0][1]}.weight'
    if first not in model or _rows(model[first]) < 2 or (lists == {'cls.'} and numbers[0] == 1):
        return ()
    return tuple(f'{CLASSIFIER}{name}{number}' for name, number in layers)


def new_growing_layers(count: int) -> tuple[str, ...]:
    """Return the names of a growing classifier of so many steps that comes from no file."""
    return tuple(f'{CLASSIFIER}cls.{step}' for step in range(count))


def split_growing(model: Mapping[str, Tensor], layers: Sequence[str]) -> Tensors:
    """Replace a growing classifier by the incremental one, in which layer 0 is no-object.

    Args:
        model: A detectron2 model.
        layers: From :func:`growing_layers`.
    """
    split = {name: tensor for name, tensor in model.items() if not _LAYER.fullmatch(name)}
    for leaf in ('weight', 'bias'):
        first, *others = (model[f'{layer}.{leaf}'] for layer in layers)
        for index, rows in enumerate([first[-1:], first[:-1], *others]):
            split[f'{CLASSIFIER}cls.{index}.{leaf}'] = rows
    return split


def join_growing(model: Mapping[str, Tensor], layers: Sequence[str]) -> Tensors:
    """Undo :func:`split_growing`."""
    joined = {name: tensor for name, tensor in model.items() if not _LAYER.fullmatch(name)}
    for leaf in ('weight', 'bias'):
        no_object, first, *others = (
            model[f'{CLASSIFIER}cls.{index}.{leaf}'] for index in range(len(layers) + 1)
        )
        for layer, rows in zip(layers, [torch.cat([first, no_object]), *others], strict=True):
            joined[f'{layer}.{leaf}'] = rows
    return joined


def split_classifier(model: Mapping[str, Tensor], increments: Sequence[int]) -> Tensors:
    """Replace a single classifier (classes, no-object last) by one layer per step.

    Args:
        model: A detectron2 model whose single classifier has sum(increments) + 1 rows.
        increments: Number of classes of each step.
    """
    split = dict(model)
    for leaf in ('weight', 'bias'):
        # a missing one is reported with the others
        if f'{CLASSIFIER}{leaf}' in split:
            *layers, no_object = split.pop(f'{CLASSIFIER}{leaf}').split([*increments, 1])
            for index, rows in enumerate([no_object, *layers]):
                split[f'{CLASSIFIER}cls.{index}.{leaf}'] = rows
    return split


def join_classifier(model: Mapping[str, Tensor]) -> Tensors:
    """Undo :func:`split_classifier`."""
    joined = dict(model)
    last = len(classifier_sizes(model))
    for leaf in ('weight', 'bias'):
        rows = [joined.pop(f'{CLASSIFIER}cls.{i}.{leaf}') for i in range(last + 1)]
        joined[f'{CLASSIFIER}{leaf}'] = torch.cat([*rows[1:], rows[0]])
    return joined
