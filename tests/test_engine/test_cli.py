"""Errors of commands as one line."""

import errno
import io
import os
import sys

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from mmcomformer.datasets.class_index import ClassIndex
from mmcomformer.datasets.label_maps import read_label_map
from mmcomformer.datasets.parallel import parallel
from mmcomformer.datasets.png import image_size
from mmcomformer.engine.cli import command_errors, parse_options


def foreign_fault(number):
    return [][number]


def size_of(path):
    return image_size(path)


def line_of(action, **options):
    with pytest.raises(SystemExit) as caught, command_errors(**options):
        action()
    return str(caught.value).splitlines()[0]


@pytest.mark.parametrize('workers', [1, 2])
def test_from_worker_pools(tmp_path, workers):
    paths = [tmp_path / f'{number}.png' for number in range(4)]
    found = line_of(lambda: list(parallel(size_of, paths, workers=workers, title='')))
    assert found == f'error: {paths[0]} does not exist'


def test_bugs_in_worker_pools_keep_their_trace():
    with pytest.raises(IndexError), command_errors():
        list(parallel(foreign_fault, [0, 1, 2], workers=2, title=''))


@pytest.mark.parametrize('number', [errno.ENOSPC, errno.EROFS, errno.EISDIR, errno.ENAMETOOLONG])
def test_refused_by_the_system(number):
    def action():
        raise OSError(number, os.strerror(number), '/data/a.json')

    assert line_of(action).startswith(f'error: /data/a.json: {os.strerror(number)}')


def test_opencv():
    found = line_of(lambda: cv2.cvtColor(np.zeros((2, 2, 5), np.uint8), cv2.COLOR_BGR2GRAY))
    assert found.startswith('error: OpenCV could not work on a picture: ')


def test_memory():
    def action():
        raise MemoryError

    assert (
        line_of(action) == 'error: there is too little memory (none is left); use fewer --workers'
    )


def test_debug(tmp_path):
    with pytest.raises(FileNotFoundError), command_errors(debug=True):
        image_size(tmp_path / 'a.png')


def test_names_that_the_terminal_cannot_show(monkeypatch):
    terminal = io.TextIOWrapper(io.BytesIO(), encoding='ascii')
    monkeypatch.setattr(sys, 'stdout', terminal)
    with command_errors():
        sys.stdout.write('bär \udcff')
    terminal.flush()
    assert terminal.buffer.getvalue() == rb'b\xe4r \udcff'


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


def test_blanks_of_an_option_stay():
    found = parse_options(['data_root=/a/b c/', 'increments=[1, 2]', 'x.y=1', 'name=" a "'])
    assert found['data_root'] == '/a/b c/'
    assert found['increments'] == [1, 2]
    assert found['x.y'] == 1


@pytest.mark.parametrize('value', ['dict(type=A,b=True)', '[1,2', '(1,[2)'])
def test_options_that_cannot_be_read(value):
    message = r"--cfg-options: 'x.y=.*': expected a number, a text, or a list .* x.y.type=\.\.\. "
    with pytest.raises(ValueError, match=message):
        parse_options(['a=1', f'x.y={value}'])
