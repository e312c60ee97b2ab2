"""What is said when memory, or room on the disk, does not suffice."""

import errno
import os
import resource
import sys

import pytest
import torch
from mmengine.config import Config
from several import run_together

from mmcomformer.atomic import replaced_file
from mmcomformer.engine.cli import command_errors
from mmcomformer.engine.memory import exhausted_memory_explained

CONFIG = Config(
    dict(
        train_dataloader=dict(
            batch_size=8,
            num_workers=3,
            dataset=dict(pipeline=[dict(type='RandomCrop', crop_size=(512, 640))]),
        ),
        test_dataloader=dict(batch_size=2, dataset=dict(pipeline=[dict(type='Resize', scale=9)])),
    )
)
CUDA = 'CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 8 GiB'
HOST = "[enforce fail at alloc_cpu.cpp:114] err == 0. DefaultCPUAllocator: can't allocate memory"


@pytest.mark.parametrize(
    ('error', 'loader', 'expected'),
    [
        (torch.OutOfMemoryError(CUDA), 'train', r'of the device .* batch of 8 images of 512 x 640'),
        (torch.OutOfMemoryError(CUDA), 'train', r'lower train_dataloader.batch_size .*--amp\. The'),
        (torch.OutOfMemoryError(CUDA), 'test', r'2 images of 9 x 9 .*lower test_.* of the images$'),
        (RuntimeError(HOST), 'train', r'the machine .* train_dataloader.num_workers \(3 here'),
        (MemoryError(), 'train', 'the memory of the machine does not suffice'),
        (
            RuntimeError('DataLoader worker (pid 7) is killed by signal: Killed. '),
            'train',
            'of the machine .*num_workers .*--resume$',
        ),
    ],
)
def test_memory(error, loader, expected):
    with (
        pytest.raises(RuntimeError, match=expected),
        exhausted_memory_explained(CONFIG, f'{loader}_dataloader'),
    ):
        raise error


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match='^shapes differ$'), exhausted_memory_explained(CONFIG):
        raise RuntimeError('shapes differ')


def test_memory_that_is_not_there():
    with (
        pytest.raises(RuntimeError, match='the memory of the machine does not suffice'),
        exhausted_memory_explained(CONFIG),
    ):
        torch.empty(2**60)


def line_of(function):
    with pytest.raises(SystemExit) as ended, command_errors():
        function()
    return str(ended.value.code).splitlines()[0]


def test_full_disk(tmp_path):
    """The file that was there stays, and the message has the path and what to do."""
    path = tmp_path / 'iter_2.pth'
    path.write_text('old')

    def write():
        with replaced_file(path), open('/dev/full', 'w') as full:
            full.write('new')

    expected = f'error: {path}: No space left on device; make room and run the command again'
    assert line_of(write).startswith(expected)
    assert path.read_text() == 'old'
    assert os.listdir(tmp_path) == ['iter_2.pth']


def test_limit_of_a_file(tmp_path):
    """A real refusal by the system, in the middle of a file."""
    path = tmp_path / 'iter_2.pth'
    path.write_text('old')

    def work(_):
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        with pytest.raises(OSError, match='iter_2') as error, replaced_file(path) as temporary:
            torch.save(torch.zeros(10_000), temporary.open('wb'))
        assert error.value.errno == errno.EFBIG

    run_together(work, 1)
    assert path.read_text() == 'old'
    assert os.listdir(tmp_path) == ['iter_2.pth']


@pytest.mark.skipif(sys.platform == 'win32' or os.geteuid() == 0, reason='root writes anywhere')
def test_folder_without_rights(tmp_path):
    tmp_path.chmod(0o500)

    def write():
        with replaced_file(tmp_path / 'a') as temporary:
            temporary.touch()

    assert 'Permission denied; choose another folder' in line_of(write)


def test_read_only(tmp_path):
    def write():
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(tmp_path / 'a'))

    expected = f'error: {tmp_path / "a"}: Read-only file system; choose another folder'
    assert line_of(write).startswith(expected)
