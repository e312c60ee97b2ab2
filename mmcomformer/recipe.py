"""What a config need not say: everything that follows from its scenario, schedule and method.

A leaf config says what differs and ends with :func:`complete`, which adds the rest::

    _base_ = ['_base_/ade20k_panoptic_r50.py', '_base_/methods/comformer.py']
    from mmcomformer.recipe import complete

    scenario = dict(increments=[100, 50])
    complete(globals(), '{{fileBasenameNoExtension}}')

Pure Python but for the merging of configs: no torch.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, MutableMapping, Sequence
from types import FunctionType, ModuleType
from typing import Any

from mmengine.config import Config

from .config_tree import MISSING, look_up, mark, merged, plain, put
from .method_settings import (
    PARTS,
    RECIPES,
    check_parts,
    mark_of,
    part_settings,
    recipe_of,
    scaled_weights,
    step_of,
)
from .scenario import parse_step, scenario_settings
from .spelling import check_keys
from .tasks import TASKS

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
SCHEDULE_KEYS = (
    'base_iters', 'iters_per_class', 'later_iters', 'base_lr', 'later_lr', 'val_interval',
    'end_offset', 'base_drops', 'later_drops',
)  # fmt: skip
SETTINGS = (
    'scenario', 'schedule', *PARTS, 'per_method', 'recipe', 'dataset', 'data_root', 'crop_size',
    'image_size', 'memory', 'step', 'derived',
)  # fmt: skip
"""The top-level keys that are read or written here."""
MEMORY = 'ClassProportionalMemory'
"""Type of a ``memory`` that names none."""
_OF_SCHEDULE = ('optim_wrapper.optimizer.lr', 'train_cfg.max_iters', 'train_cfg.val_interval')


def complete(config: MutableMapping[str, Any], name: str) -> None:
    """Add to a leaf config what follows from what it and its bases say.

    A setting that the config gives itself stays as it is.

    Args:
        config: The ``globals()`` of the config, whose ``_base_`` is read already; changed in place.
        name: Name of the config, after which the folder of its runs is called.

    Raises:
        TypeError: If there is no scenario, or it or the schedule has unknown keys or other types.
        ValueError: If the schedule lacks a key, or a method or backbone changed that is built in.
    """
    base = plain(config['_base_'])
    own = {key: plain(value) for key, value in config.items() if _is_setting(key, value)}
    completed = _completed(base, own, name)
    for key, value in completed.items():
        if key in base and value == base[key]:
            continue
        # as a whole: nothing of the base is merged into it again
        replaces = isinstance(value, dict) and key in base
        config[key] = {**value, '_delete_': True} if replaces else value


def _completed(base: dict[str, Any], own: dict[str, Any], name: str) -> dict[str, Any]:
    config = merged(base, own)
    scenario_settings(config.get('scenario'))
    record = base.get('derived') or _recorded(base)
    check_parts(config, record)
    settings = [
        part_settings(config, part) for part in PARTS if part in config and part not in record
    ]
    if settings:
        config = merged(base, *settings, own)
    derive(config, record, name)
    return config


def _recorded(base: dict[str, Any]) -> dict[str, Any]:
    """Return the record of bases: what they say is there for configs that are not completed."""
    ends = [f'param_scheduler.{i}.end' for i in range(len(base.get('param_scheduler') or []))]
    named = ['image_size'] if 'image_size' in base else []
    keys = (*named, *_of_image_size(base), *_of_data(base), *_OF_SCHEDULE, *ends)
    values = {key: look_up(base, key) for key in keys}
    return {key: mark(value) for key, value in values.items() if value is not MISSING}


def _is_setting(key: str, value: Any) -> bool:
    hidden = key == '_base_' or key.startswith('__')
    return not hidden and not isinstance(value, (FunctionType, ModuleType))


def settle(config: dict[str, Any], name: str, options: Collection[str] = ()) -> None:
    """Derive anew what follows from settings that changed after :func:`complete`.

    A config that inherits a complete one is such a case, and so are options of the command line.

    Args:
        config: The parsed config, as plain dicts; changed in place. One that was not completed is
            left as it is.
        name: Name of the config.
        options: Dotted keys that were set by hand, even if to the value that was derived.

    Raises:
        TypeError: If the scenario or the schedule has unknown keys or other types.
        ValueError: If the schedule lacks a key, or a method or backbone changed that is built in.
    """
    record = config.get('derived')
    if record is None:
        return
    scenario_settings(config.get('scenario'))
    check_parts(config, record)
    kept = {key: mark for key, mark in record.items() if key == 'image_size' or key not in options}
    derive(config, kept, name)


def stale_values(config: dict[str, Any]) -> list[str]:
    """Return the keys of a parsed config whose values no longer follow from what it says.

    Args:
        config: The config, as plain dicts.

    Raises:
        TypeError: If the scenario or the schedule has unknown keys or other types.
        ValueError: If the schedule lacks a key, or a method or backbone changed that is built in.
    """
    settled = plain(config)
    settle(settled, '')
    keys = [key for key in settled.get('derived', {}) if key not in (*PARTS, 'work_dir')]
    return [key for key in keys if look_up(settled, key) != look_up(config, key)]


def derive(config: dict[str, Any], record: Mapping[str, Any], name: str) -> None:
    """Set what follows from a config's scenario, schedule, method and data.

    Args:
        config: The config, as plain dicts; changed in place. Its ``derived`` becomes the record of
            what was set.
        record: What was set before, by dotted key. A value that is still the recorded one is set
            anew; one that is another was set by hand and stays.
        name: Name of the config.

    Raises:
        ValueError: If there is an ``image_size`` that nothing reads.
    """
    values = _Values(config, record)
    if config.get('method', {}).get('at_once'):
        _merge_steps(config, values)
    scenario = config['scenario']
    if 'method' in config:
        config['recipe'] = recipe_of(config)
    values.record['scenario'] = mark(scenario)
    for key, found in find_scenarios(config):
        if key != 'scenario' and (not found or mark(found) == record.get('scenario')):
            put(config, key, plain(scenario))
    for part in PARTS:
        if part in config:
            values.record[part] = record.get(part, mark_of(config, part))
    if 'image_size' in config:
        if 'image_size' not in record:
            raise ValueError(
                'image_size: nothing reads it in this config, whose base of the data has none; set '
                'crop_size and the pipelines, or inherit one that has, such as '
                '_base_/datasets/custom_panoptic.py'
            )
        values.record['image_size'] = record['image_size']
        for key, value in _of_image_size(config).items():
            values.put(key, value)
    for key, value in {**_of_data(config), **scaled_weights(config)}.items():
        values.put(key, value)
    if 'schedule' in config:
        _derive_schedule(config, values)
    step = parse_step(scenario.get('step', 0))
    suffix = record.get('suffix', _suffix(config, name))
    values.record['suffix'] = suffix
    values.put('work_dir', f'./work_dirs/{name}{suffix}/step{step}')
    config['derived'] = values.record


def _merge_steps(config: dict[str, Any], values: _Values) -> None:
    """Make one step of those of the scenario; the first one's classes go on counting as base.

    Increments that are the sum of those merged before stand for them; other ones are merged anew.
    """
    _, increments = step_of(config)
    steps = values.former.get('at_once', increments)
    if increments != [sum(steps)]:
        steps = increments
    values.record['at_once'] = list(steps)
    config['scenario'] = {**config['scenario'], 'increments': [sum(steps)]}
    num_base = steps[0] if len(steps) > 1 else None
    known = {task.metric for task in TASKS.values()}
    for key, metric in evaluators(config):
        if str(metric.get('type')).rpartition('.')[-1] not in known:
            continue
        if num_base or f'{key}.num_base' in values.former:
            values.put(f'{key}.num_base', num_base)


def evaluators(config: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the dotted key and the settings of each metric of a config."""
    for key in ('val_evaluator', 'test_evaluator'):
        found: Any = config.get(key)
        listed = isinstance(found, (list, tuple))
        for index, node in enumerate(found if listed else [found]):
            if isinstance(node, Mapping):
                yield f'{key}.{index}' if listed else key, node


class _Values:
    """A config whose derived values are set, unless somebody has set them by hand."""

    def __init__(self, config: dict[str, Any], record: Mapping[str, Any]) -> None:
        self.config = config
        self.former = record
        self.record: dict[str, Any] = {}

    def put(self, key: str, value: Any) -> Any:
        """Set a value by dotted key, and return the one that holds then."""
        current = look_up(self.config, key)
        self.record[key] = mark(value)
        if current not in (MISSING, None) and mark(current) != self.former.get(key, MISSING):
            return current
        put(self.config, key, value)
        return value


def _of_data(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the loaders and the padding of the model take from top-level keys."""
    values: dict[str, Any] = {}
    for loader in LOADERS:
        key, node = f'{loader}.dataset', config.get(loader, {}).get('dataset', {})
        while 'dataset' in node and node.get('type') != 'IncrementalDataset':
            key, node = f'{key}.dataset', node['dataset']
        if 'dataset' not in node:
            continue
        if 'data_root' in config:
            values[f'{key}.dataset.data_root'] = config['data_root']
        for name, value in config.get('dataset', {}).items():
            metainfo = name == 'metainfo' and value == 'scenario'
            values[f'{key}.dataset.{name}'] = _class_names(config) if metainfo else value
        if 'memory' in config and loader == 'train_dataloader':
            values[f'{key}.memory'] = _typed_memory(config['memory'])
        if 'crop_size' in config and loader == 'train_dataloader':
            values.update(_of_crop(config['crop_size'], f'{key}.pipeline', node['pipeline']))
    if 'crop_size' in config:
        values.update(_of_padding(config['crop_size'], config.get('model', {})))
    return values


def _of_image_size(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what follows from the length of the shorter side of the images, ``image_size``.

    As in the recipe of ADE20K: training resizes it to half to twice that and crops, testing
    resizes to it; no side is longer than four times as much.

    Raises:
        TypeError: If it is no positive whole number.
    """
    size = config.get('image_size')
    if size is None:
        return {}
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise TypeError(f'image_size: expected a number of pixels such as 640, got {size!r}')
    values: dict[str, Any] = {'crop_size': (size, size)}
    for loader in LOADERS:
        dataset = config.get(loader, {}).get('dataset', {})
        for index, transform in enumerate(dataset.get('pipeline') or []):
            key = f'{loader}.dataset.pipeline.{index}'
            if transform.get('type') == 'RandomChoiceResize':
                values[f'{key}.scales'] = [int(size * 0.1 * k) for k in range(5, 21)]
                values[f'{key}.max_size'] = 4 * size
            elif transform.get('type') == 'Resize':
                values[f'{key}.scale'] = (4 * size, size)
    ratios = config.get('tta_ratios') or []
    resizes = look_up(config, 'tta_pipeline.1.transforms.0')
    if resizes is MISSING or len(resizes) != len(ratios):
        return values
    for index, ratio in enumerate(ratios):
        scale = (int(4 * size * ratio), int(size * ratio))
        values[f'tta_pipeline.1.transforms.0.{index}.scale'] = scale
    return values


def _class_names(config: Mapping[str, Any]) -> dict[str, Any]:
    scenario = config.get('scenario', {})
    things, stuff = scenario.get('thing_classes'), scenario.get('stuff_classes', [])
    if things is None:
        return {'classes': stuff}
    return {'classes': [*things, *stuff], 'thing_classes': things, 'stuff_classes': stuff}


def _typed_memory(memory: Any) -> dict[str, Any] | None:
    if memory is None:
        return None
    if not isinstance(memory, Mapping):
        raise TypeError(
            f'memory: expected a dict such as dict(size=300), the number of images of earlier '
            f'steps that a step is shown again, or None, got {memory!r}'
        )
    return {'type': MEMORY, **memory}


def _of_crop(size: Any, prefix: str, pipeline: list[dict[str, Any]]) -> dict[str, Any]:
    sizes = {'RandomCrop': 'crop_size', 'Pad': 'size'}
    return {
        f'{prefix}.{index}.{sizes[transform["type"]]}': size
        for index, transform in enumerate(pipeline)
        if transform.get('type') in sizes
    }


def _of_padding(size: Any, model: Mapping[str, Any]) -> dict[str, Any]:
    # transforms say (width, height), models (height, width)
    width, height = size
    preprocessor, key = model.get('data_preprocessor', {}), 'model.data_preprocessor'
    values = {f'{key}.size': (height, width)} if 'size' in preprocessor else {}
    for index, augment in enumerate(preprocessor.get('batch_augments') or []):
        if augment.get('type') == 'BatchFixedSizePad':
            values[f'{key}.batch_augments.{index}.size'] = (height, width)
    return values


def _derive_schedule(config: dict[str, Any], values: _Values) -> None:
    schedule = config['schedule']
    _check_schedule(schedule)
    step, increments = step_of(config)
    iters = _iterations(schedule, step, increments)
    merged_steps = values.record.get('at_once', [])
    iters += sum(_iterations(schedule, k, merged_steps) for k in range(1, len(merged_steps)))
    rate = schedule.get('later_lr') if step else None
    values.put('optim_wrapper.optimizer.lr', schedule['base_lr'] if rate is None else rate)
    if not str(config['train_cfg'].get('type', '')).endswith('IterBasedTrainLoop'):
        return
    iters = values.put('train_cfg.max_iters', iters)
    values.put('train_cfg.val_interval', schedule.get('val_interval') or iters)
    for index, scheduler in enumerate(config.get('param_scheduler') or []):
        key = f'param_scheduler.{index}.end'
        if not scheduler.get('by_epoch', True):
            values.put(key, iters + schedule.get('end_offset', 0))
    _derive_drops(config, values, iters, 'later_drops' if step else 'base_drops')


def _iterations(schedule: Mapping[str, Any], step: int, increments: Sequence[int]) -> int:
    if step == 0:
        return schedule['base_iters']
    later = schedule.get('later_iters')
    return schedule.get('iters_per_class', 0) * increments[step] if later is None else later


def _derive_drops(config: Mapping[str, Any], values: _Values, iters: int, name: str) -> None:
    """Set where the learning rate drops, given as shares of the step's iterations."""
    drops = config['schedule'].get(name)
    if drops is None:
        return
    key = f'schedule.{name}'
    if not isinstance(drops, (list, tuple)) or not all(
        isinstance(drop, (int, float)) and 0 < drop < 1 for drop in drops
    ):
        raise TypeError(f'{key}: expected shares of the iterations in (0, 1), got {drops!r}')
    schedulers = config.get('param_scheduler') or []
    found = [i for i, item in enumerate(schedulers) if item.get('type') == 'MultiStepLR']
    if not found:
        raise ValueError(f'{key}: param_scheduler has no MultiStepLR, which would read it')
    for index in found:
        values.put(f'param_scheduler.{index}.milestones', [round(iters * drop) for drop in drops])


def _check_schedule(schedule: Mapping[str, Any]) -> None:
    check_keys('schedule', schedule, SCHEDULE_KEYS)
    missing = sorted({'base_iters', 'base_lr'} - set(schedule))
    if missing:
        raise ValueError(f'schedule: keys {missing} are missing')


def _suffix(config: Mapping[str, Any], name: str) -> str:
    """Return what tells the folder of a chosen method or recipe from that of the config."""
    key, recipe = config.get('method', {}).get('key'), config.get('recipe', RECIPES[0])
    # the former bases of semantic segmentation are those of the methods
    chosen = key is not None and os.environ.get('METHOD', '').removesuffix('_semantic') == key
    method = f'_{key}' if chosen and f'_{key}_' not in f'_{name}_' else ''
    other = recipe != RECIPES[0] and recipe not in name.split('_')
    return f'{method}_{recipe}' if other else method


def find_scenarios(node: Any, prefix: str = '') -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each scenario dict below a config node, with its dotted key."""
    # a Config is no mapping
    if isinstance(node, (Mapping, Config)):
        for key, value in node.items():
            name = f'{prefix}.{key}' if prefix else str(key)
            if key == 'scenario' and isinstance(value, dict):
                yield name, value
            elif key not in (*PARTS, 'derived') or prefix:
                yield from find_scenarios(value, name)
    elif isinstance(node, (list, tuple)):
        for index, value in enumerate(node):
            yield from find_scenarios(value, f'{prefix}.{index}')
