"""The released program's narrow checkpoints, and what they convert to."""

import official
import pytest
import torch

from mmcomformer.engine.checkpoint import read_checkpoint
from mmcomformer.model_converters import convert_from_detectron2


@pytest.fixture(scope='session')
def config(tmp_path_factory):
    """Config of the narrow model, 6 + 3 classes."""
    return official.write_config(tmp_path_factory.mktemp('official'))


@pytest.fixture(scope='session', params=[0, 1], ids=['step0', 'step1'])
def step(request):
    return request.param


@pytest.fixture
def theirs(step):
    """The model of the released program."""
    return torch.load(official.checkpoint_path(step), weights_only=True)['model']


@pytest.fixture(scope='session')
def converted(config, step, tmp_path_factory):
    """Path of the converted checkpoint."""
    path = tmp_path_factory.mktemp('converted') / 'step.pth'
    convert_from_detectron2(official.checkpoint_path(step), path, config=config)
    return path


@pytest.fixture
def ours(converted):
    """What the converted checkpoint holds."""
    return read_checkpoint(converted)
