"""The one line in which a command ends, whatever process the error comes from."""

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from mmcomformer.datasets.class_index import ClassIndex
from mmcomformer.datasets.label_maps import read_label_map
from mmcomformer.engine.cli import command_errors

pytestmark = pytest.mark.families


class Maps(torch.utils.data.Dataset):
    """Label maps, as a worker of a data loader reads them."""

    def __init__(self, path):
        self.path = path

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return read_label_map(self.path)


@pytest.fixture
def lossy(tmp_path):
    path = tmp_path / 'a.jpg'
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(path)
    return path


def line_of(function, **options):
    with pytest.raises(SystemExit) as error, command_errors(**options):
        function()
    return error.value.code.split('\n')[0]


@pytest.mark.parametrize('workers', [0, 1])
def test_data_loader(lossy, workers):
    loader = torch.utils.data.DataLoader(Maps(lossy), num_workers=workers)
    line = line_of(lambda: next(iter(loader)))
    assert line.startswith(f'error: label map {lossy} is in a lossy format')


@pytest.mark.parametrize('workers', [1, 2])
def test_pool(lossy, workers):
    def index():
        ClassIndex.from_label_maps([lossy] * 4, num_classes=2, workers=workers)

    assert line_of(index).startswith(f'error: label map {lossy} is in a lossy format')


def test_opencv():
    line = line_of(lambda: cv2.resize(np.zeros((0, 0), np.uint8), (2, 2)))
    assert line.startswith('error: OpenCV could not work on a picture: ')


def test_debug_shows_the_trace(lossy):
    with pytest.raises(ValueError, match='lossy'), command_errors(debug=True):
        read_label_map(lossy)
