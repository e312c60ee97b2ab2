"""How the tensors of a detectron2 model fit a model of ours, and how to say so."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import Tensor

from .tensor_names import COUNTER, HEADS, head_of, to_ours, to_theirs

_LISTED = 40


@dataclass(frozen=True)
class Comparison:
    """How the tensors of a file fit a model, by their detectron2 names.

    A tensor of ours that detectron2's Mask2Former has none for is missing by our name.

    Attributes:
        unused: Tensors of the file that the model does not have, and that are not allowed.
        missing: Tensors of the model that the file does not have, and that are not allowed.
        wrong: Tensors of another shape or type, with both.
        dropped: Unused ones that are allowed.
        initial: Missing ones that are allowed.
    """

    unused: tuple[str, ...]
    missing: tuple[str, ...]
    wrong: tuple[str, ...]
    dropped: tuple[str, ...]
    initial: tuple[str, ...]

    @property
    def fits(self) -> bool:
        """Whether everything fits or is allowed."""
        return not (self.unused or self.missing or self.wrong)


def by_their_names(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors of ours by detectron2's names, or by ours where it has no such tensor."""
    return {to_theirs(name) or name: tensor for name, tensor in state_dict.items()}


def compare(
    model: Mapping[str, Tensor], expected: Mapping[str, Tensor], allow: Sequence[str] = ()
) -> Comparison:
    """Compare a detectron2 model with the state dict of a model of ours.

    Counters of batches may be missing: detectron2's frozen norms have none.

    Args:
        model: Their tensors by their names, with an incremental classifier.
        expected: Our tensors by our names.
        allow: Names of theirs, or patterns with ``*``, that may be unused or missing.
    """
    own = by_their_names(expected)
    head = head_of(expected) or HEADS[0]
    shared = [name for name in model if to_ours(name, head) in expected]
    unused = [name for name in model if to_ours(name, head) not in expected]
    missing = [name for name in own if name not in shared and not name.endswith(COUNTER)]
    dropped, initial = _allowed(unused, allow), _allowed(missing, allow)
    return Comparison(
        unused=tuple(name for name in unused if name not in dropped),
        missing=tuple(name for name in missing if name not in initial),
        wrong=tuple(x for name in shared for x in _difference(name, model[name], own[name])),
        dropped=dropped,
        initial=initial,
    )


def _allowed(names: Sequence[str], allow: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in names if any(fnmatchcase(name, pattern) for pattern in allow))


def _difference(name: str, theirs: Tensor, ours: Tensor) -> list[str]:
    if theirs.shape != ours.shape:
        return [f'{name} is {tuple(theirs.shape)}, expected {tuple(ours.shape)}']
    if theirs.dtype != ours.dtype:
        return [f'{name} is {theirs.dtype}, expected {ours.dtype}']
    return []


def report(
    comparison: Comparison, model: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> str:
    """Say what does not fit, line by line."""
    lines = []
    theirs, ours = describe(model), describe(by_their_names(expected))
    if theirs != ours:
        lines.append(f'  it is of another architecture: {theirs}; expected: {ours}')
    for kind in ('unused', 'missing', 'wrong'):
        names = getattr(comparison, kind)
        if names:
            rest = len(names) - _LISTED
            more = f' and {rest} more' if rest > 0 else ''
            lines.append(f'  {kind} ({len(names)}): {", ".join(names[:_LISTED])}{more}')
    return '\n'.join(lines)


def describe(model: Mapping[str, Tensor]) -> str:
    """Describe the architecture of a detectron2 model in a few words, by its names and shapes."""
    encoder = _count(model, r'sem_seg_head\.pixel_decoder\.transformer\.encoder\.layers\.(\d+)')
    decoder = _count(model, r'sem_seg_head\.predictor\.transformer_ffn_layers\.(\d+)')
    parts = [_describe_backbone(model), f'{encoder} encoder layers', f'{decoder} decoder layers']
    queries = model.get('sem_seg_head.predictor.query_feat.weight')
    if queries is not None and queries.ndim == 2:
        parts.append(f'{queries.shape[0]} queries of {queries.shape[1]} channels')
    prompts = [x for name, x in model.items() if re.search(r'\.prompt_feat\.\d+\.weight$', name)]
    if prompts:
        sizes = sorted({x.shape[:1].numel() for x in prompts})
        parts.append(f'{len(prompts)} groups of {" or ".join(map(str, sizes))} prompts')
    return ', '.join(parts)


def _describe_backbone(model: Mapping[str, Tensor]) -> str:
    for kind, stem, block in (
        ('ResNet', 'backbone.stem.conv1.weight', r'backbone\.res{}\.(\d+)'),
        ('Swin', 'backbone.patch_embed.proj.weight', r'backbone\.layers\.{}\.blocks\.(\d+)'),
    ):
        if stem in model:
            depths = [_count(model, block.format(stage)) for stage in range(6)]
            blocks = '-'.join(str(depth) for depth in depths if depth)
            return f'{kind} of {blocks} blocks and {len(model[stem])} channels'
    return 'unknown backbone'


def _count(names: Mapping[str, Tensor], pattern: str) -> int:
    """Count the different numbers that a pattern finds at the start of names."""
    found = (re.match(pattern + r'\.', name) for name in names)
    return len({match[1] for match in found if match})
