"""A config is checked before anything is built: unknown names and keys, values of a wrong type.

What mmengine builds is told by a ``type``; its keys are compared with the arguments of the class,
and plain values with their annotations. A key that a class may pass on to where it cannot be
followed is let through, so that nothing that works is refused.
"""

from __future__ import annotations

import itertools
import traceback
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, TypeGuard

import torch
from mmengine import registry as registries
from mmengine.config import Config, ConfigDict
from mmengine.dataset import BaseDataset
from mmengine.registry import DefaultScope, Registry
from mmengine.runner import Priority
from torch.utils.data import DataLoader

from ..config_tree import MISSING, look_up
from ..recipe import evaluators, find_scenarios
from ..spelling import closest
from ..tasks import TASKS, Task, task_of
from .arguments import arguments, find_component
from .scenario_config import default_scope_of, model_at_step
from .setting_types import DICTS, FACTORS, HOOKS, TOP_LEVEL
from .value_types import accepts, described, mismatch, shown

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
_OPTIMIZERS = registries.OPTIMIZERS
_OF_LOADERS = dict.fromkeys(('num_batch_per_epoch', 'pseudo'), Any) | {
    'dataset': dict[str, Any],
    'sampler': dict[str, Any] | None,
    'batch_sampler': dict[str, Any] | None,
    'collate_fn': Any,
}
"""What mmengine reads of a loader besides torch's arguments, or builds."""
_LOOPS = ('train_cfg', 'val_cfg', 'test_cfg')
_LIBRARIES = ('mmdet', 'mmseg', 'mmengine', 'mmcomformer')
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
    # annotated as a text, where it may be a number too
    'optim_wrapper': ('optimizer', 'constructor', 'paramwise_cfg', 'loss_scale'),
    # read by the task, before the head is built
    'panoptic_head': ('loss_distill', 'strides', 'num_classes'),
    'decode_head': ('loss_distill', 'strides', 'num_classes'),
}
_AT_LEAST = {
    'batch_size': 1,
    'num_workers': 0,
    'num_queries': 1,
    'max_iters': 1,
    'max_epochs': 1,
    'val_interval': 1,
    'base_batch_size': 1,
    'num_layers': 1,
    'num_heads': 1,
    'num_points': 1,
    'num_feats': 1,
    'feat_channels': 1,
    'out_channels': 1,
    'num_transformer_feat_level': 1,
    'accumulative_counts': 1,
}
_NUMBERS = ('lr', 'weight_decay', 'momentum', 'eps', 'lr_mult', 'decay_mult', 'max_norm')


def check_types(cfg: Config) -> None:
    """Check the types of the top-level settings, which whatever works with the config relies on.

    Raises:
        ValueError: If one is of another type; one line that names it.
    """
    plain = cfg.to_dict()
    fault = next(itertools.chain(_type_faults(plain), _scope_faults(plain)), None)
    if fault is not None:
        raise ValueError(f'{fault[0]}: {fault[1]}')


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
    yield from _type_faults(cfg)
    for key, value in cfg.items():
        if key in _LOOPS:
            yield from _loop_faults(value, key)
        elif key.endswith('_dataloader'):
            yield from _loader_faults(value, key)
        elif key in _SLOTS:
            yield from _node_faults(value, key, _SLOTS[key])
    for key, known in DICTS.items():
        yield from _dict_faults(look_up(cfg, key), key, known)
    yield from _hook_name_faults(cfg.get('default_hooks'))
    yield from _evaluation_faults(cfg)
    yield from _metric_faults(cfg)
    yield from _source_faults(cfg)
    yield from _unbuilt_metrics(cfg)
    yield from _required(cfg)
    yield from _optimizer_faults(cfg.get('optim_wrapper'))
    yield from _value_faults(cfg, '')
    model = cfg.get('model')
    yield from _channel_faults(model)
    yield from _build_faults(model)


def _type_faults(cfg: Mapping[str, Any]) -> Iterator[_Fault]:
    """Yield the top-level settings that are of another type than what reads them expects."""
    for key, value in cfg.items():
        kind = TOP_LEVEL.get(key)
        if kind is None:
            continue
        # what one component may be, several may be; but here lists are told apart
        is_other = isinstance(value, (list, tuple)) and 'a list' not in described(kind)
        if is_other or not accepts(kind, value):
            yield key, f'expected {described(kind)}, got {shown(value)}'


def _scope_faults(cfg: Mapping[str, Any]) -> Iterator[_Fault]:
    scope = cfg.get('default_scope')
    if scope and scope not in registries.MODELS.children and find_spec(scope) is None:
        yield 'default_scope', f'no library is called {scope!r}{_hint(scope, _LIBRARIES)}'


def _hook_name_faults(hooks: Any) -> Iterator[_Fault]:
    for name in hooks if _is_dict(hooks) else ():
        meant = closest(str(name), HOOKS)
        if name not in HOOKS and meant:
            yield f'default_hooks.{name}', f'no hook is known by this name; did you mean {meant}?'


def _evaluation_faults(cfg: Mapping[str, Any]) -> Iterator[_Fault]:
    """Yield what an evaluation lacks; without any of it there is none."""
    for split in ('val', 'test'):
        names = [f'{split}_dataloader', f'{split}_cfg', f'{split}_evaluator']
        given = [name for name in names if cfg.get(name) is not None]
        for name in names:
            if given and name not in given:
                yield name, f'it is missing, and {" and ".join(given)} need it'


def _metric_faults(cfg: Mapping[str, Any]) -> Iterator[_Fault]:
    """Yield the metrics of another task than that of the model."""
    task, by_metric = _task(cfg), {each.metric: each for each in TASKS.values()}
    if task is None:
        return
    for key, node in evaluators(cfg):
        name = str(node.get('type')).rpartition('.')[-1]
        if by_metric.get(name, task) is not task:
            yield (
                f'{key}.type',
                f'{name} is for {by_metric[name].name} models, and this one is '
                f'{task.name}; use {task.metric}, or inherit a base of configs/_base_ for '
                f'{by_metric[name].name} data',
            )


def _unbuilt_metrics(cfg: Mapping[str, Any]) -> Iterator[_Fault]:
    """Yield why a metric of this package cannot be built, which its values decide."""
    # not at the top: a command that reads no model starts without mmdet and mmseg
    from ..evaluation.seen_class_metric import SeenClassMetric

    for key, node in evaluators(cfg):
        kind = _find(node.get('type'), registries.METRICS)
        if not (isinstance(kind, type) and issubclass(kind, SeenClassMetric)):
            continue
        try:
            registries.METRICS.build(dict(node))
        except _UNTOLD as error:
            yield key, f'it cannot be built as it is ({_said(error)})'


def _source_faults(cfg: Mapping[str, Any]) -> Iterator[_Fault]:
    """Yield the datasets whose labels are of another task than the model."""
    # not at the top: a command that reads no model starts without mmdet and mmseg
    from ..datasets.incremental_dataset import SOURCES, source_of

    task = _task(cfg)
    # a task of another package may read what one of ours reads
    if task is None or task.name not in {kind.task for kind in SOURCES}:
        return
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        for key, node in _incremental(look_up(cfg, f'{name}.dataset'), f'{name}.dataset'):
            inner = _find(look_up(node, 'dataset.type'), registries.DATASETS)
            if not (isinstance(inner, type) and issubclass(inner, BaseDataset)):
                continue
            found = source_of(inner).task
            if found != task.name:
                asks = f'model.{task.head}'
                asks += f' and model.test_cfg.{task.test_key}' if task.test_key else ''
                yield (
                    f'{key}.dataset.type',
                    f'{inner.__name__} is read as {found} data, and the model is for {task.name} '
                    f'segmentation ({asks}); use a dataset for it, or inherit a model of '
                    f'configs/_base_ for {found} segmentation',
                )


def _incremental(node: Any, key: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the ``IncrementalDataset`` within a dataset, and its key."""
    from ..datasets.incremental_dataset import IncrementalDataset

    if not _is_dict(node):
        return
    kind = _find(node.get('type'), registries.DATASETS)
    if isinstance(kind, type) and issubclass(kind, IncrementalDataset):
        yield key, node
    elif _is_dict(node.get('dataset')):
        yield from _incremental(node['dataset'], f'{key}.dataset')
    elif isinstance(node.get('datasets'), (list, tuple)):
        for index, item in enumerate(node['datasets']):
            yield from _incremental(item, f'{key}.datasets[{index}]')


def _task(cfg: Mapping[str, Any]) -> Task | None:
    """Return the task of the model; None without a head of a known one."""
    model = cfg.get('model')
    if not _is_dict(model) or not any(task.head in model for task in TASKS.values()):
        return None
    return task_of(model)


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
    name = wrapper.get('constructor')
    constructors = registries.OPTIM_WRAPPER_CONSTRUCTORS
    if name is not None and find_component(name, constructors) is None:
        yield (
            'optim_wrapper.constructor',
            f'nothing is called {name!r}{_hint(str(name), _names(constructors))}',
        )
    constructor = wrapper.get('constructor', 'DefaultOptimWrapperConstructor')
    factors = FACTORS.get(constructor) if isinstance(constructor, str) else None
    if factors is not None:
        yield from _dict_faults(
            wrapper.get('paramwise_cfg', MISSING), 'optim_wrapper.paramwise_cfg', factors
        )
    yield from _unbuilt_optimizer(wrapper.get('optimizer'))


def _unbuilt_optimizer(optimizer: Any) -> Iterator[_Fault]:
    """Yield why an optimizer cannot be built, which its values decide."""
    if not _is_dict(optimizer) or find_component(optimizer.get('type'), _OPTIMIZERS) is None:
        return
    try:
        _OPTIMIZERS.build({**optimizer, 'params': [torch.nn.Parameter(torch.zeros(1))]})
    except _UNTOLD as error:
        yield 'optim_wrapper.optimizer', f'it cannot be built as it is ({_said(error)})'


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
    parameters = arguments(DataLoader).parameters
    known = {name: parameter.annotation for name, parameter in parameters.items()}
    known.update(_OF_LOADERS)
    yield from _dict_faults(node, key, known)
    pipeline = look_up(node, 'dataset.pipeline')
    if isinstance(pipeline, (list, tuple)) and not pipeline:
        yield f'{key}.dataset.pipeline', 'expected at least one transform, got []'
    for name in ('dataset', 'sampler', 'batch_sampler', 'collate_fn'):
        yield from _node_faults(node.get(name), f'{key}.{name}', _SLOTS[name])


def _dict_faults(
    node: Any, key: str, known: Mapping[str, Any] | Collection[str]
) -> Iterator[_Fault]:
    """Yield the keys of a dict that nothing reads, and values of another type than is known."""
    if node is MISSING or (node is None and not key.startswith('env_cfg')):
        return
    if not _is_dict(node):
        yield key, f'expected a dict, got {shown(node)}'
        return
    for name, value in node.items():
        if name not in known and name not in _RESERVED:
            yield f'{key}.{name}', f'nothing reads it{_hint(name, known)}'
        kind = known.get(name, Any) if isinstance(known, Mapping) else Any
        if not accepts(kind, value):
            yield f'{key}.{name}', f'expected {described(kind)}, got {shown(value)}'


def _node_faults(node: Any, key: str, registry: Registry) -> Iterator[_Fault]:
    """Yield what is wrong below a node, whose components are of a registry."""
    if isinstance(node, (list, tuple)):
        for index, item in enumerate(node):
            yield from _node_faults(item, f'{key}[{index}]', registry)
    elif _is_dict(node):
        slot = key.split('.')[-1].split('[')[0]
        if 'type' in node:
            yield from _component_faults(node, key, registry, _FREE.get(slot, ()))
        elif key not in DICTS:
            yield from _untyped_faults(node, key, slot)
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
    kinds = _untyped().get(slot, ()) if key.startswith('model.') else ()
    known = {name for kind in kinds for name in arguments(kind).parameters}
    if not known:
        return
    yield from _dict_faults(node, key, known)
    for name, value in node.items():
        found = [arguments(kind).parameters.get(name) for kind in kinds]
        wrong = [mismatch(parameter, value) for parameter in found if parameter is not None]
        # one of the classes may accept it
        if wrong and all(wrong):
            yield f'{key}.{name}', f'expected {wrong[0]}, got {shown(value)}'


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
        if name == 'priority' and registry is registries.HOOKS:
            yield from _priority_faults(value, f'{key}.priority')
            continue
        if name in _RESERVED or name in free:
            continue
        parameter = found.parameters.get(name)
        if parameter is not None:
            expected = mismatch(parameter, value)
            if expected:
                yield f'{key}.{name}', f'expected {expected}, got {shown(value)}'
        # mmdet's head ignores what it does not know, ours refuse it
        elif not found.is_open or key in _HEADS:
            known = [*found.parameters, *free]
            title = getattr(component, '__name__', kind)
            yield f'{key}.{name}', f'{title} has no such argument{_hint(name, known)}'


def _priority_faults(value: Any, key: str) -> Iterator[_Fault]:
    """Yield a priority that there is none of; the runner takes it out before a hook is built."""
    names = Priority.__members__
    if not (type(value) is int and 0 <= value <= 100) and str(value).upper() not in names:
        yield key, f'expected one of {", ".join(names)}, or a number from 0 to 100, got {value!r}'


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
            # those of a backbone may be lists
            if not isinstance(value, (list, tuple)) and (type(value) is not int or value < least):
                yield path, f'expected an integer of at least {least}, got {value!r}'
        elif name == 'lr' and isinstance(value, (int, float)) and value < 0:
            yield path, f'expected at least 0, got {value!r}'
        elif path == 'randomness.seed' and not (value is None or type(value) is int):
            yield path, f'expected an integer or None, got {value!r}'
        elif name == 'loss_scale' and isinstance(value, str) and value != 'dynamic':
            yield path, f"expected a number or 'dynamic', got {value!r}"
        elif name in _NUMBERS and isinstance(value, (str, bool)):
            yield path, f'expected a number, got {value!r}'
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
        _NOT_BUILT[key] = _said(error)


def _said(error: Exception) -> str:
    # that of a KeyError is quoted otherwise
    text = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return ' '.join(text.split()) or f'{type(error).__name__}: {frame.line}'


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
    *(LookupError, ImportError, OSError),
)
"""What a backbone raises that shapes alone do not suffice for; it is not checked then."""


def _build_faults(model: Any) -> Iterator[_Fault]:
    """Yield what cannot be built of a model, which is tried on shapes alone."""
    if not _is_dict(model) or 'backbone' not in model:
        return
    found = _unbuilt(_Identity(model))
    if found is not None:
        yield found


class _Identity:
    """A model's config, which is equal to another one that is written in the same way."""

    def __init__(self, model: Mapping[str, Any]) -> None:
        self.model = model
        self._text = repr(model)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


@lru_cache(maxsize=64)
def _unbuilt(identity: _Identity) -> _Fault | None:
    """Return the part of a model that cannot be built, and why; None if all of it can."""
    steps = [scenario.get('step') for _, scenario in find_scenarios(identity.model)]
    model = model_at_step(identity.model, steps[0] if steps and isinstance(steps[0], int) else 0)
    found = None
    # some read numbers while they are built, which needs a device that has them
    for device in ('meta', 'cpu'):
        try:
            with torch.random.fork_rng(devices=[]), torch.device(device), _silence():
                registries.MODELS.build(ConfigDict(model))
            return None
        except _UNTOLD as error:
            if 'process group' in str(error):
                # only there where training runs
                return None
            place = '.'.join(('model', *_place(error, model)))
            found = place, f'it cannot be built as it is ({_said(error)})'
    return found


@contextmanager
def _silence() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        yield


def _place(error: BaseException, model: Mapping[str, Any]) -> Sequence[str]:
    """Return the keys to the innermost component whose building an error has ended."""
    built = [
        frame.f_locals['cfg']
        for frame, _ in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_name == 'build_from_cfg' and _is_dict(frame.f_locals.get('cfg'))
    ]
    for config in reversed(built):
        for keys, node in _components(model, ()):
            # a model adds to what it builds, so only the name stays
            if node.get('type') == config.get('type'):
                return keys
    return ()


def _components(node: Any, keys: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if _is_dict(node):
        if 'type' in node:
            yield keys, node
        for name, value in node.items():
            yield from _components(value, (*keys, str(name)))


def _is_dict(node: Any) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(node, Mapping)


def _meant(name: str, known: Collection[str]) -> str | None:
    return closest(name, [str(one) for one in known], cutoff=0.7)


def _hint(name: str, known: Sequence[str] | Collection[str]) -> str:
    meant = _meant(name, known)
    return f'; did you mean {meant}?' if meant else ''
