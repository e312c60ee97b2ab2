"""A config is checked before anything is built: unknown names and keys, values of a wrong type.

What mmengine builds is told by a ``type``; its keys are compared with the arguments of the class,
and plain values with their annotations. A key that a class may pass on to where it cannot be
followed is let through, so that nothing that works is refused.
"""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeGuard

import torch
from mmengine import registry as registries
from mmengine.config import Config
from mmengine.registry import DefaultScope, Registry
from torch.utils.data import DataLoader

from ..spelling import closest
from .arguments import arguments, find_component
from .scenario_config import default_scope_of

_Fault = tuple[str, str]
"""Dotted key, and what is wrong with it."""

_RESERVED = frozenset(('type', '_scope_', '_delete_'))
_SLOTS: dict[str, Registry] = {
    'model': registries.MODELS,
    'tta_model': registries.MODELS,
    'dataset': registries.DATASETS,
    'pipeline': registries.TRANSFORMS,
    'tta_pipeline': registries.TRANSFORMS,
    'transforms': registries.TRANSFORMS,
    'sampler': registries.DATA_SAMPLERS,
    'batch_sampler': registries.DATA_SAMPLERS,
    'collate_fn': registries.FUNCTIONS,
    'optim_wrapper': registries.OPTIM_WRAPPERS,
    'optimizer': registries.OPTIMIZERS,
    'param_scheduler': registries.PARAM_SCHEDULERS,
    'val_evaluator': registries.METRICS,
    'test_evaluator': registries.METRICS,
    'default_hooks': registries.HOOKS,
    'custom_hooks': registries.HOOKS,
    'visualizer': registries.VISUALIZERS,
    'vis_backends': registries.VISBACKENDS,
    'log_processor': registries.LOG_PROCESSORS,
    'init_cfg': registries.WEIGHT_INITIALIZERS,
    'match_cost': registries.TASK_UTILS,
    'assigner': registries.TASK_UTILS,
    'memory': registries.TASK_UTILS,
}
"""Registry of what is below a key; what is below an unnamed one is of the registry above it."""
_LOOPS = ('train_cfg', 'val_cfg', 'test_cfg')
_BUILT = (
    *('backbone', 'neck', 'panoptic_head', 'decode_head', 'panoptic_fusion_head'),
    'data_preprocessor',
)
"""Keys of a model that are built, so that they need a type."""
_HEADS = ('model.panoptic_head', 'model.decode_head')
_MAY_LACK = ('neck', 'data_preprocessor')
_FREE: dict[str, tuple[str, ...]] = {
    # what the builders of layers take out before the class gets the rest
    'norm_cfg': ('requires_grad',),
    'conv_cfg': ('fallback_on_stride',),
    'dcn': ('fallback_on_stride',),
    'act_cfg': (),
    'param_scheduler': ('convert_to_iter_based',),
    # taken over by the IncrementalDataset around it
    'dataset': ('ignore_values',),
    'optim_wrapper': ('optimizer', 'constructor', 'paramwise_cfg'),
    # read by the task, before the head is built
    'panoptic_head': ('loss_distill', 'strides', 'num_classes'),
    'decode_head': ('loss_distill', 'strides', 'num_classes'),
}
_DICTS: dict[str, tuple[str, ...]] = {
    'randomness': ('seed', 'diff_rank_seed', 'deterministic'),
    'auto_scale_lr': ('enable', 'base_batch_size'),
    'env_cfg': ('cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'),
    'model.train_cfg': (
        *('match_cost', 'num_points', 'oversample_ratio', 'importance_sample_ratio', 'assigner'),
        'sampler',
    ),
    'model.test_cfg': (
        *('panoptic_on', 'semantic_on', 'instance_on', 'max_per_image', 'object_mask_thr'),
        *('iou_thr', 'filter_low_score', 'mode', 'stride', 'crop_size', 'batched_slide'),
    ),
}
"""Keys of dicts that have no class."""
_OPTIMIZER_DICTS = {
    'clip_grad': (
        *('type', 'max_norm', 'norm_type', 'error_if_nonfinite', 'foreach', 'clip_value'),
    ),
    'ContinualOptimWrapperConstructor': (
        *('backbone_lr_mult', 'norm_decay_mult', 'embed_decay_mult'),
    ),
    'DefaultOptimWrapperConstructor': (
        *('custom_keys', 'bias_lr_mult', 'bias_decay_mult', 'norm_decay_mult'),
        *('dwconv_decay_mult', 'flat_decay_mult', 'bypass_duplicate', 'dcn_offset_lr_mult'),
    ),
}
_AT_LEAST = {
    'batch_size': 1,
    'num_workers': 0,
    'num_queries': 1,
    'max_iters': 1,
    'max_epochs': 1,
    'val_interval': 1,
    'base_batch_size': 1,
}
_NUMBERS = ('lr', 'weight_decay', 'momentum', 'eps', 'lr_mult', 'decay_mult', 'max_norm')


def check_config(cfg: Config) -> None:
    """Check a config before anything is built from it or written.

    Args:
        cfg: The config of a step.

    Raises:
        ValueError: If a component has a key that it does not know, no type or an unknown one, or a
            value of a wrong type; one line that names the key.
    """
    plain = cfg.to_dict()
    with DefaultScope.overwrite_default_scope(default_scope_of(cfg)):
        fault = next(_faults(plain), None)
    if fault is not None:
        raise ValueError(f'{fault[0]}: {fault[1]}')


def _faults(cfg: Mapping[str, Any]) -> Iterator[_Fault]:
    for key, value in cfg.items():
        if key in _LOOPS:
            yield from _loop_faults(value, key)
        elif key.endswith('_dataloader'):
            yield from _loader_faults(value, key)
        elif key in _DICTS:
            yield from _dict_faults(value, key, _DICTS[key])
        elif key in _SLOTS:
            yield from _node_faults(value, key, _SLOTS[key])
    yield from _required(cfg)
    yield from _optimizer_faults(cfg.get('optim_wrapper'))
    yield from _value_faults(cfg, '')
    model = cfg.get('model')
    for name in ('train_cfg', 'test_cfg'):
        node = model.get(name) if _is_dict(model) else None
        if node is not None and not _is_dict(node):
            yield f'model.{name}', f'expected a dict, got {node!r}'
    yield from _channel_faults(model)


def _required(cfg: Mapping[str, Any]) -> Iterator[_Fault]:
    """Yield what is built and has no type."""
    model = cfg.get('model')
    places = {f'model.{key}': model.get(key) for key in _BUILT} if _is_dict(model) else {}
    wrapper = cfg.get('optim_wrapper')
    if _is_dict(wrapper):
        places['optim_wrapper.optimizer'] = wrapper.get('optimizer')
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if _is_dict(cfg.get(name)):
            places.update(_data_places(cfg[name].get('dataset'), f'{name}.dataset'))
    for name in ('custom_hooks', 'param_scheduler'):
        if isinstance(cfg.get(name), (list, tuple)):
            places.update({f'{name}[{i}]': item for i, item in enumerate(cfg[name])})
    hooks = cfg.get('default_hooks')
    if _is_dict(hooks):
        # None leaves a hook out
        named = {f'default_hooks.{name}': hook for name, hook in hooks.items()}
        places.update({key: hook for key, hook in named.items() if hook is not None})
    for key, node in places.items():
        if isinstance(node, (str, int, float)) or (node is None and not key.endswith(_MAY_LACK)):
            if key in _present(cfg) or '[' in key:
                yield key, f'expected a dict with a type, got {node!r}'
        elif _is_dict(node) and 'type' not in node:
            meant = _meant('type', node)
            hint = f'; did you mean type instead of {meant}?' if meant else ''
            yield key, f'it has no type, so that it cannot be built{hint}'


def _present(cfg: Mapping[str, Any]) -> set[str]:
    """Return the dotted keys of two levels that a config has."""
    return {f'{key}.{name}' for key, value in cfg.items() if _is_dict(value) for name in value}


def _data_places(node: Any, key: str) -> Iterator[tuple[str, Any]]:
    if _is_dict(node):
        yield key, node
        pipeline = node.get('pipeline')
        if isinstance(pipeline, (list, tuple)):
            yield from ((f'{key}.pipeline[{i}]', item) for i, item in enumerate(pipeline))
        yield from _data_places(node.get('dataset'), f'{key}.dataset')


def _optimizer_faults(wrapper: Any) -> Iterator[_Fault]:
    if not _is_dict(wrapper):
        return
    clip, known = wrapper.get('clip_grad'), _OPTIMIZER_DICTS['clip_grad']
    yield from _dict_faults(clip, 'optim_wrapper.clip_grad', known)
    if not (clip is None or _is_dict(clip)):
        yield 'optim_wrapper.clip_grad', f'expected a dict such as dict(max_norm=1), got {clip!r}'
    name = wrapper.get('constructor')
    constructors = registries.OPTIM_WRAPPER_CONSTRUCTORS
    if name is not None and find_component(name, constructors) is None:
        yield (
            'optim_wrapper.constructor',
            f'nothing is called {name!r}{_hint(str(name), _names(constructors))}',
        )
    constructor = wrapper.get('constructor', 'DefaultOptimWrapperConstructor')
    factors = _OPTIMIZER_DICTS.get(constructor) if isinstance(constructor, str) else None
    if factors is not None:
        yield from _dict_faults(
            wrapper.get('paramwise_cfg'), 'optim_wrapper.paramwise_cfg', factors
        )


def _loop_faults(node: Any, key: str) -> Iterator[_Fault]:
    if not _is_dict(node):
        return
    default = 'EpochBasedTrainLoop' if node.get('by_epoch') else 'IterBasedTrainLoop'
    kind = node.get('type', default if key == 'train_cfg' else None)
    if kind is not None:
        typed = {**node, 'type': kind}
        yield from _component_faults(typed, key, registries.LOOPS, ('by_epoch',))


def _loader_faults(node: Any, key: str) -> Iterator[_Fault]:
    if not _is_dict(node):
        return
    known = (*arguments(DataLoader).parameters, 'num_batch_per_epoch', 'pseudo')
    yield from _dict_faults(node, key, known)
    for name in ('dataset', 'sampler', 'batch_sampler', 'collate_fn'):
        yield from _node_faults(node.get(name), f'{key}.{name}', _SLOTS[name])


def _dict_faults(node: Any, key: str, known: Collection[str]) -> Iterator[_Fault]:
    if not _is_dict(node):
        return
    for name in node:
        if name not in known and name not in _RESERVED:
            yield f'{key}.{name}', f'nothing reads it{_hint(name, known)}'


def _node_faults(node: Any, key: str, registry: Registry) -> Iterator[_Fault]:
    """Yield what is wrong below a node, whose components are of a registry."""
    if isinstance(node, (list, tuple)):
        for index, item in enumerate(node):
            yield from _node_faults(item, f'{key}[{index}]', registry)
    elif _is_dict(node):
        slot = key.split('.')[-1].split('[')[0]
        if key in _DICTS:
            yield from _dict_faults(node, key, _DICTS[key])
        elif 'type' not in node:
            yield from _untyped_faults(node, key, slot)
        else:
            yield from _component_faults(node, key, registry, _FREE.get(slot, ()))
        # the names of hooks are free, and may be those of other things
        named = {} if key == 'default_hooks' else _SLOTS
        for name, value in node.items():
            yield from _node_faults(value, f'{key}.{name}', named.get(name, registry))


@lru_cache(maxsize=1)
def _untyped() -> dict[str, tuple[Any, ...]]:
    """Return the classes that a dict without a type is passed to, by its key."""
    # not at the top: a command that reads no model starts without them
    from mmcv.cnn.bricks.transformer import FFN, MultiheadAttention
    from mmcv.ops import MultiScaleDeformableAttention
    from mmdet.models import layers

    attention = (MultiheadAttention, MultiScaleDeformableAttention)
    return {
        'transformer_decoder': (
            layers.Mask2FormerTransformerDecoder,
            layers.DetrTransformerDecoder,
        ),
        'encoder': (layers.Mask2FormerTransformerEncoder, layers.DetrTransformerEncoder),
        'self_attn_cfg': attention,
        'cross_attn_cfg': attention,
        'ffn_cfg': (FFN,),
        'positional_encoding': (layers.SinePositionalEncoding,),
    }


def _untyped_faults(node: Mapping[str, Any], key: str, slot: str) -> Iterator[_Fault]:
    """Yield the unknown keys of a dict that is passed to one class, or to one of a few."""
    known = {name for kind in _untyped().get(slot, ()) for name in arguments(kind).parameters}
    if known and key.startswith('model.'):
        yield from _dict_faults(node, key, known)


def _component_faults(
    node: Mapping[str, Any], key: str, registry: Registry, free: Collection[str]
) -> Iterator[_Fault]:
    kind = node['type']
    component = _find(kind, registry)
    if component is None:
        yield f'{key}.type', f'nothing is called {kind!r}{_hint(str(kind), _names(registry))}'
        return
    found = arguments(component)
    for name, value in node.items():
        if name in _RESERVED or name in free:
            continue
        parameter = found.parameters.get(name)
        if parameter is not None:
            expected = _mismatch(parameter, value)
            if expected:
                yield f'{key}.{name}', f'expected {expected}, got {value!r}'
        # mmdet's head ignores what it does not know, ours refuse it
        elif not found.is_open or key in _HEADS:
            known = [*found.parameters, *free]
            title = getattr(component, '__name__', kind)
            yield f'{key}.{name}', f'{title} has no such argument{_hint(name, known)}'


@lru_cache(maxsize=1024)
def _find_named(kind: str, registry: Registry, scope: str) -> Any:
    for candidate in (registry, *_OTHERS):
        found = find_component(kind, candidate)
        if found is not None:
            return found
    return None


_OTHERS = (registries.MODELS, registries.TASK_UTILS, registries.TRANSFORMS)
"""Registries in which components are found too that are below a key of another one."""


def _find(kind: Any, registry: Registry) -> Any:
    if not isinstance(kind, str):
        return kind if callable(kind) else None
    scope = DefaultScope.get_current_instance()
    return _find_named(kind, registry, scope.scope_name if scope else '')


def _names(registry: Registry) -> list[str]:
    children = registry.children.values()
    return [*registry.module_dict, *(name for child in children for name in child.module_dict)]


def _mismatch(parameter: inspect.Parameter, value: Any) -> str:
    """Return what is expected instead of a value; empty if it may be right."""
    names = _type_names(parameter.annotation)
    if names and names <= {'int', 'float'} and isinstance(value, str):
        return f'a number ({" or ".join(sorted(names))})'
    if names == {'bool'} and isinstance(value, str):
        return 'True or False'
    if names == {'str'} and isinstance(value, (int, float)):
        return 'a text'
    return ''


def _type_names(annotation: Any) -> set[str]:
    """Return the names of the types that an annotation allows besides None."""
    if isinstance(annotation, str):
        found = re.sub(r'^Optional\[(.*)\]$', r'\1', annotation).split('|')
        return {name.strip() for name in found} - {'None'}
    members = typing.get_args(annotation)
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return {getattr(member, '__name__', '') for member in members} - {'NoneType'}
    return {getattr(annotation, '__name__', '')}


def _value_faults(node: Any, key: str) -> Iterator[_Fault]:
    """Yield numbers that are none, or too small, wherever they are."""
    if isinstance(node, (list, tuple)):
        for index, item in enumerate(node):
            yield from _value_faults(item, f'{key}[{index}]')
    if not _is_dict(node):
        return
    for name, value in node.items():
        path = f'{key}.{name}' if key else str(name)
        if name in _AT_LEAST and value is not None:
            least = _AT_LEAST[name]
            if type(value) is not int or value < least:
                yield path, f'expected an integer of at least {least}, got {value!r}'
        elif name == 'lr' and isinstance(value, (int, float)) and value < 0:
            yield path, f'expected at least 0, got {value!r}'
        elif name in _NUMBERS and isinstance(value, (str, bool)):
            yield path, f'expected a number, got {value!r}'
        elif path == 'randomness.seed' and not (value is None or type(value) is int):
            yield path, f'expected an integer or None, got {value!r}'
        else:
            yield from _value_faults(value, path)


def _channel_faults(model: Any) -> Iterator[_Fault]:
    """Yield the head's ``in_channels`` if the backbone gives others."""
    if not _is_dict(model) or not _is_dict(model.get('backbone')):
        return
    identity = repr(sorted(model['backbone'].items()))
    given = _channels(identity, model['backbone'])
    if identity in _NOT_BUILT:
        yield 'model.backbone', f'it cannot be built as it is ({_NOT_BUILT[identity]})'
    if model.get('neck'):
        return
    for name in ('panoptic_head', 'decode_head'):
        wanted = (model.get(name) or {}).get('in_channels')
        if not isinstance(wanted, (list, tuple)):
            continue
        if given is not None and list(wanted) != given:
            yield (
                f'model.{name}.in_channels',
                f'expected {given}, which model.backbone gives, got {list(wanted)}',
            )


_KNOWN_CHANNELS: dict[str, list[int] | None] = {}
_NOT_BUILT: dict[str, str] = {}
"""What a backbone raises when it is built."""


def _note_unbuilt(key: str, backbone: Mapping[str, Any]) -> None:
    config = {name: value for name, value in backbone.items() if name != 'init_cfg'}
    try:
        with torch.random.fork_rng(devices=[]):
            registries.MODELS.build(config)
    except _UNTOLD as error:
        text = str(error.args[0]) if error.args else ''
        _NOT_BUILT[key] = ' '.join(text.split()) or type(error).__name__


def _channels(key: str, backbone: Mapping[str, Any]) -> list[int] | None:
    """Return the channels of what a backbone gives; None if that cannot be told."""
    if key not in _KNOWN_CHANNELS:
        _KNOWN_CHANNELS[key] = _run_backbone(backbone)
        if _KNOWN_CHANNELS[key] is None:
            _note_unbuilt(key, backbone)
    return _KNOWN_CHANNELS[key]


def _run_backbone(backbone: Mapping[str, Any]) -> list[int] | None:
    """Run a backbone on shapes alone: nothing is computed, and no random number is drawn."""
    config = {name: value for name, value in backbone.items() if name != 'init_cfg'}
    # some read numbers while they are built, which needs a device that has them
    for device in ('meta', 'cpu'):
        try:
            with torch.random.fork_rng(devices=[]), torch.no_grad():
                with torch.device(device):
                    model = registries.MODELS.build(config)
                model.to('meta').train(False)
                maps = model(torch.zeros(1, 3, 64, 64, device='meta'))
            return [int(one.shape[1]) for one in maps]
        except _UNTOLD:
            continue
    return None


_UNTOLD = (
    *(RuntimeError, NotImplementedError, TypeError, ValueError, AttributeError, AssertionError),
    *(LookupError, ImportError),
)
"""What a backbone raises that shapes alone do not suffice for; it is not checked then."""


def _is_dict(node: Any) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(node, Mapping)


def _meant(name: str, known: Collection[str]) -> str | None:
    return closest(name, [str(one) for one in known], cutoff=0.7)


def _hint(name: str, known: Sequence[str] | Collection[str]) -> str:
    meant = _meant(name, known)
    return f'; did you mean {meant}?' if meant else ''
