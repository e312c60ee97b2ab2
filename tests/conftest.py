"""Fixtures that several test modules share."""

import importlib.util
import random
from pathlib import Path

import environment  # noqa: F401  (before torch)
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from small_runs import CONFIG, WatchTeacherHook, small_options

import mmcomformer.components  # noqa: F401  (once, before forks too)
from mmcomformer.datasets.shapes import ShapesParameters, generate_shapes
from mmcomformer.engine import driver
from mmcomformer.engine.request import Request

TESTS = Path(__file__).parent


@pytest.fixture(autouse=True, scope='session')
def clean_environment():
    """Take away what a shell may have exported to choose a step, a setting or a method."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ('STEP', 'SETTING', 'METHOD', 'RECIPE'):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(autouse=True, scope='session')
def plain_configs():
    """Write configs without laying them out, which takes longer than a small training."""

    def text(config):
        return ''.join(f'{key} = {value!r}\n' for key, value in config.to_dict().items())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Config, 'pretty_text', property(text))
        yield


# files that take long, of which a process should have begun before the others have nothing left
_FIRST = (
    *('test_end_to_end', 'test_kill_campaign', 'test_configs', 'test_semantic_end_to_end'),
    *('test_training', 'test_accelerator', 'test_custom_dataset', 'test_run', 'test_converters'),
)


def pytest_collection_modifyitems(items):
    """Put long files first; run_tests.sh hands them out in this order."""
    place = {name: number for number, name in enumerate(_FIRST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))


@pytest.fixture(autouse=True)
def seeded():
    """Give every test the same random numbers, whatever ran before it."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope='session')
def repo_root():
    """Folder of the repository."""
    return TESTS.parent


@pytest.fixture(scope='session')
def shapes_root(tmp_path_factory):
    """A small Shapes set: 24 training and 8 validation images of 64x64, 12 classes."""
    root = tmp_path_factory.mktemp('shapes') / 'set'
    generate_shapes(root, ShapesParameters(num_train=24, num_val=8, size=64))
    return root


@pytest.fixture(scope='session')
def ade_root(tmp_path_factory):
    """A miniature in ADE20K's panoptic layout: 30 training and 10 validation images."""
    spec = importlib.util.spec_from_file_location('ade_miniature', TESTS / 'ade_miniature.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.write_ade_miniature(tmp_path_factory.mktemp('ade'))


@pytest.fixture
def mmdet_scope():
    """Resolve type names as a config with ``default_scope = 'mmdet'`` does."""
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


@pytest.fixture(scope='session')
def finished_run(shapes_root, tmp_path_factory):
    """Return the folder of a run of all three steps, and what the teacher was meanwhile."""
    work_dir = tmp_path_factory.mktemp('run') / 'shapes'
    WatchTeacherHook.records.clear()
    options = small_options(shapes_root)
    options['custom_hooks'] = [
        {'type': 'PseudoLabelHook'},
        {'type': 'SummaryHook', 'method': 'CoMFormer'},
        {'type': 'WatchTeacherHook'},
    ]
    threads = torch.get_num_threads()
    with_report = {
        **options,
        'default_hooks.report.enabled': True,
        'visualizer.vis_backends': [{'type': 'TensorboardVisBackend'}],
    }
    driver.run(Request(config=CONFIG, work_dir=str(work_dir), cfg_options=with_report))
    torch.set_num_threads(threads)
    return work_dir, list(WatchTeacherHook.records), options
