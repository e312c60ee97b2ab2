"""What detectron2's Mask2Former and this package call the same tensor.

Pure Python: names only, no tensors and no files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from ..tasks import TASKS

HEADS = tuple(dict.fromkeys(task.head for task in TASKS.values()))
"""What the head is called in a detector and in a segmentor of ours; ``head`` in the rules below."""

# {i} is a number, {x} a word; a name has the same ones on both sides
_RESNET = [
    ('backbone.stem.conv1.weight', 'backbone.conv1.weight'),
    ('backbone.stem.conv1.norm.{x}', 'backbone.bn1.{x}'),
    *(
        (f'backbone.res{stage + 1}.{{i}}.{theirs}', f'backbone.layer{stage}.{{i}}.{ours}')
        for stage in (1, 2, 3, 4)
        for theirs, ours in (
            ('conv{i}.weight', 'conv{i}.weight'),
            ('conv{i}.norm.{x}', 'bn{i}.{x}'),
            ('shortcut.weight', 'downsample.0.weight'),
            ('shortcut.norm.{x}', 'downsample.1.{x}'),
        )
    ),
]
_SWIN = [
    ('backbone.patch_embed.proj.{x}', 'backbone.patch_embed.projection.{x}'),
    ('backbone.patch_embed.norm.{x}', 'backbone.patch_embed.norm.{x}'),
    ('backbone.norm{i}.{x}', 'backbone.norm{i}.{x}'),
    ('backbone.layers.{i}.downsample.{x}.{x}', 'backbone.stages.{i}.downsample.{x}.{x}'),
    *(
        (
            f'backbone.layers.{{i}}.blocks.{{i}}.{theirs}',
            f'backbone.stages.{{i}}.blocks.{{i}}.{ours}',
        )
        for theirs, ours in (
            ('norm{i}.{x}', 'norm{i}.{x}'),
            ('attn.{x}', 'attn.w_msa.{x}'),
            ('attn.{x}.{x}', 'attn.w_msa.{x}.{x}'),
            ('mlp.fc1.{x}', 'ffn.layers.0.0.{x}'),
            ('mlp.fc2.{x}', 'ffn.layers.1.{x}'),
        )
    ),
]
_PIXEL_DECODER = [
    (f'sem_seg_head.pixel_decoder.{theirs}', f'head.pixel_decoder.{ours}')
    for theirs, ours in (
        ('input_proj.{i}.0.{x}', 'input_convs.{i}.conv.{x}'),
        ('input_proj.{i}.1.{x}', 'input_convs.{i}.gn.{x}'),
        ('transformer.level_embed', 'level_encoding.weight'),
        (
            'transformer.encoder.layers.{i}.self_attn.{x}.{x}',
            'encoder.layers.{i}.self_attn.{x}.{x}',
        ),
        ('transformer.encoder.layers.{i}.norm1.{x}', 'encoder.layers.{i}.norms.0.{x}'),
        ('transformer.encoder.layers.{i}.linear1.{x}', 'encoder.layers.{i}.ffn.layers.0.0.{x}'),
        ('transformer.encoder.layers.{i}.linear2.{x}', 'encoder.layers.{i}.ffn.layers.1.{x}'),
        ('transformer.encoder.layers.{i}.norm2.{x}', 'encoder.layers.{i}.norms.1.{x}'),
        # one level above the encoder's: theirs count from 1
        ('adapter_1.{x}', 'lateral_convs.0.conv.{x}'),
        ('adapter_1.norm.{x}', 'lateral_convs.0.gn.{x}'),
        ('layer_1.{x}', 'output_convs.0.conv.{x}'),
        ('layer_1.norm.{x}', 'output_convs.0.gn.{x}'),
        ('mask_features.{x}', 'mask_feature.{x}'),
    )
]
_DECODER = [
    (f'sem_seg_head.predictor.{theirs}', f'head.{ours}')
    for theirs, ours in (
        *(
            (
                f'transformer_{theirs}_layers.{{i}}.{part}',
                f'transformer_decoder.layers.{{i}}.{target}',
            )
            for theirs, pairs in (
                # a layer attends to the image first, then to the other queries
                (
                    'cross_attention',
                    (
                        ('multihead_attn.{x}', 'cross_attn.attn.{x}'),
                        ('multihead_attn.{x}.{x}', 'cross_attn.attn.{x}.{x}'),
                        ('norm.{x}', 'norms.0.{x}'),
                    ),
                ),
                (
                    'self_attention',
                    (
                        ('self_attn.{x}', 'self_attn.attn.{x}'),
                        ('self_attn.{x}.{x}', 'self_attn.attn.{x}.{x}'),
                        ('norm.{x}', 'norms.1.{x}'),
                    ),
                ),
                (
                    'ffn',
                    (
                        ('linear1.{x}', 'ffn.layers.0.0.{x}'),
                        ('linear2.{x}', 'ffn.layers.1.{x}'),
                        ('norm.{x}', 'norms.2.{x}'),
                    ),
                ),
            )
            for part, target in pairs
        ),
        ('decoder_norm.{x}', 'transformer_decoder.post_norm.{x}'),
        ('query_feat.weight', 'query_feat.weight'),
        ('query_embed.weight', 'query_embed.weight'),
        ('level_embed.weight', 'level_embed.weight'),
        ('input_proj.{i}.{x}', 'decoder_input_projs.{i}.{x}'),
        # activations have a place in our sequence, and none in theirs
        ('mask_embed.layers.0.{x}', 'mask_embed.0.{x}'),
        ('mask_embed.layers.1.{x}', 'mask_embed.2.{x}'),
        ('mask_embed.layers.2.{x}', 'mask_embed.4.{x}'),
        # ECLIPSE's, which step 0 does not have
        ('prompt_feat.{i}.weight', 'prompts.{i}.features.weight'),
        ('prompt_embed.{i}.{i}.weight', 'prompts.{i}.positions.{i}.weight'),
        ('prompt_mask_embed.{i}.layers.0.{x}', 'prompts.{i}.mask_embed.0.{x}'),
        ('prompt_mask_embed.{i}.layers.1.{x}', 'prompts.{i}.mask_embed.2.{x}'),
        ('prompt_mask_embed.{i}.layers.2.{x}', 'prompts.{i}.mask_embed.4.{x}'),
    )
]
_RULES = [*_RESNET, *_SWIN, *_PIXEL_DECODER, *_DECODER]

COUNTER = '.num_batches_tracked'
"""Ending of the tensors that norms count batches with, in both programs."""

CLASSIFIER = 'sem_seg_head.predictor.class_embed.'
_OUR_CLASSIFIER = 'head.cls_embed.'
# their layer 0 is no-object, layer 1 the classes of step 0; each is linear, or an MLP (ECLIPSE)
_THEIR_LAYER = re.compile(
    re.escape(CLASSIFIER) + r'cls\.(\d+)\.(?:layers\.([012])\.)?(weight|bias)'
)
_OUR_LAYER = re.compile(
    re.escape(_OUR_CLASSIFIER) + r'(?:steps\.(\d+)|no_object)\.(?:([024])\.)?(weight|bias)'
)
_PLAIN_PROMPT = re.compile(r'sem_seg_head\.predictor\.prompt_(feat\.\d+|embed\.\d+\.\d+)')


def _compile(pairs: Iterator[tuple[str, str]]) -> list[tuple[re.Pattern[str], str]]:
    """Turn pairs of templates into a pattern for the first and a format for the second."""
    compiled = []
    for source, target in pairs:
        pattern = re.escape(source).replace(r'\{i\}', r'(\d+)').replace(r'\{x\}', r'([a-z_]+)')
        compiled.append((re.compile(pattern), re.sub(r'\{[ix]\}', '{}', target)))
    return compiled


_TO_OURS = _compile((theirs, ours) for theirs, ours in _RULES)
_TO_THEIRS = _compile((ours, theirs) for theirs, ours in _RULES)


def _translate(name: str, rules: list[tuple[re.Pattern[str], str]]) -> str | None:
    for pattern, target in rules:
        match = pattern.fullmatch(name)
        if match:
            return target.format(*match.groups())
    return None


def head_of(names: Iterable[str]) -> str | None:
    """Return which of :data:`HEADS` tensors of ours belong to; None if there is no head.

    Example:
        >>> head_of(['backbone.conv1.weight', 'decode_head.query_feat.weight'])
        'decode_head'
    """
    found = {name.partition('.')[0] for name in names}
    return next((head for head in HEADS if head in found), None)


def to_ours(name: str, head: str = HEADS[0]) -> str | None:
    """Return what this package calls a tensor of detectron2's Mask2Former, None if unknown.

    The classifier is the incremental one of CoMFormer or of ECLIPSE, in which layer 0 is no-object.

    Args:
        name: Their name.
        head: One of :data:`HEADS`.
    """
    layer = _THEIR_LAYER.fullmatch(name)
    if layer is None:
        ours = _translate(name, _TO_OURS)
    else:
        index = int(layer[1])
        module = f'steps.{index - 1}' if index else 'no_object'
        part = '' if layer[2] is None else f'{2 * int(layer[2])}.'
        ours = f'{_OUR_CLASSIFIER}{module}.{part}{layer[3]}'
    return ours and re.sub(r'^head\.', f'{head}.', ours)


def to_theirs(name: str) -> str | None:
    """Return what detectron2's Mask2Former calls a tensor of ours; inverse of :func:`to_ours`."""
    first, _, rest = name.partition('.')
    if first in HEADS:
        name = f'head.{rest}'
    layer = _OUR_LAYER.fullmatch(name)
    if layer is None:
        return _translate(name, _TO_THEIRS)
    index = 0 if layer[1] is None else int(layer[1]) + 1
    part = '' if layer[2] is None else f'layers.{int(layer[2]) // 2}.'
    return f'{CLASSIFIER}cls.{index}.{part}{layer[3]}'


def upgrade(name: str) -> str:
    """Return the present name of a tensor that an older Mask2Former named differently.

    Before version 2 of its head, the pixel decoder had no prefix of its own, and the queries were
    called ``static_query``. Model-zoo files still use these names. Tables of prompts may be plain
    parameters.
    """
    if is_plain_prompt(name):
        return f'{name}.weight'
    if name == 'sem_seg_head.predictor.static_query.weight':
        return 'sem_seg_head.predictor.query_feat.weight'
    head, _, rest = name.partition('.')
    if head == 'sem_seg_head' and not rest.startswith(('predictor.', 'pixel_decoder.')):
        return f'sem_seg_head.pixel_decoder.{rest}'
    return name


def is_plain_prompt(name: str) -> bool:
    """Tell whether a tensor of theirs is a table of prompts that is no embedding's weight."""
    return _PLAIN_PROMPT.fullmatch(name) is not None


def is_loss_state(name: str) -> bool:
    """Tell whether a tensor of theirs only holds class weights of the loss, a setting of ours."""
    return name == 'criterion.empty_weight'
