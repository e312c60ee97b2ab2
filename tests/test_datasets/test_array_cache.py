import os

import numpy as np
import pytest
from several import run_together

from mmcomformer import processes
from mmcomformer.datasets import array_cache
from mmcomformer.datasets.array_cache import cached_arrays, files_key


class Computation:
    """Counts how often the arrays are computed."""

    def __init__(self, value=1):
        self.calls = 0
        self.value = value

    def __call__(self):
        self.calls += 1
        return {'a': np.full(3, self.value)}


def get(path, compute, key='k', accept=lambda arrays: True):
    return cached_arrays(path, key=lambda: key, compute=compute, accept=accept)['a'].tolist()


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'deep' / 'cache.npz'


def test_computed_once(path):
    compute = Computation()
    assert get(path, compute) == get(path, compute) == [1, 1, 1]
    assert compute.calls == 1
    # nothing temporary is left
    assert list(path.parent.iterdir()) == [path]


def test_another_key(path):
    get(path, Computation(1))
    assert get(path, Computation(2), key='other') == [2, 2, 2]
    assert get(path, Computation(3), key='other') == [2, 2, 2]


def test_refused(path):
    get(path, Computation(1))
    assert get(path, Computation(2), accept=lambda arrays: False) == [2, 2, 2]


def damage_byte(content):
    # in the data of the array, where only the checksum tells
    position = content.index(np.full(3, 1).tobytes())
    return content[:position] + b'\x07' + content[position + 1 :]


@pytest.mark.parametrize(
    'damage',
    [
        lambda content: b'',
        lambda content: b'not a zip file',
        lambda content: content[: len(content) // 2],
        lambda content: content[:-30],
        damage_byte,
    ],
    ids=['empty', 'text', 'half', 'end missing', 'one byte'],
)
def test_damaged(path, damage):
    get(path, Computation(1))
    path.write_bytes(damage(path.read_bytes()))
    assert get(path, Computation(2)) == [2, 2, 2]
    # and the file was replaced
    assert get(path, Computation(3)) == [2, 2, 2]


@pytest.mark.parametrize('other', [np.arange(3), {'key': np.array('k')}], ids=['npy', 'no arrays'])
def test_another_file(path, other):
    path.parent.mkdir()
    with open(path, 'wb') as file:
        np.savez(file, **other) if isinstance(other, dict) else np.save(file, other)
    assert get(path, Computation(2), accept=lambda arrays: 'a' in arrays) == [2, 2, 2]


def test_never_unpickled(path):
    path.parent.mkdir()
    with open(path, 'wb') as file:
        np.savez(file, key=np.array('k'), a=np.array([object()], dtype=object))
    assert get(path, Computation(2)) == [2, 2, 2]


def test_failure_leaves_no_file(path):
    def fail():
        raise ValueError('map 7 is damaged')

    with pytest.raises(ValueError, match='map 7 is damaged'):
        get(path, fail)
    assert not path.exists()


def test_not_writable(path, monkeypatch):
    lines = []
    monkeypatch.setattr(array_cache, 'print_log', lambda message, **_: lines.append(message))
    path.parent.touch()
    compute = Computation()
    assert get(path, compute) == get(path, compute) == [1, 1, 1]
    assert compute.calls == 2
    assert str(path) in lines[0]


class TestRanks:
    @pytest.fixture
    def follower(self, monkeypatch):
        """This process is not the first; it gets what the first is said to send."""
        sent = [None, None]

        def broadcast(outcome):
            assert outcome == [None, None]
            outcome[:] = sent

        monkeypatch.setattr(processes, 'is_main_process', lambda: False)
        monkeypatch.setattr(processes, 'broadcast_object_list', broadcast)
        return sent

    def test_others_neither_read_nor_write(self, follower, path):
        follower[0] = {'a': np.full(3, 5)}
        compute = Computation()
        assert get(path, compute) == [5, 5, 5]
        assert compute.calls == 0
        assert not path.parent.exists()

    def test_others_get_the_error(self, follower, path):
        follower[1] = ValueError('map 7 is damaged')
        with pytest.raises(ValueError, match='map 7 is damaged'):
            get(path, Computation())

    def test_first_sends_its_error(self, path, monkeypatch):
        sent = []
        monkeypatch.setattr(processes, 'is_distributed', lambda: True)
        monkeypatch.setattr(processes, 'broadcast_object_list', lambda data: sent.extend(data))
        with pytest.raises(FileNotFoundError):
            cached_arrays(
                path,
                key=lambda: files_key([path]),
                compute=Computation(),
                accept=lambda arrays: True,
            )
        assert isinstance(sent[1], FileNotFoundError)


class TestFilesKey:
    @pytest.fixture
    def files(self, tmp_path):
        files = [tmp_path / name for name in ('a.png', 'b.png')]
        for file in files:
            file.write_bytes(b'content')
        return files

    def test_unchanged(self, files):
        assert files_key(files, classes=3) == files_key(list(map(str, files)), classes=3)

    def test_order_number_and_settings(self, files):
        keys = {
            files_key(files, classes=3),
            files_key(files[::-1], classes=3),
            files_key(files[:1], classes=3),
            files_key(files, classes=4),
            files_key(files),
        }
        assert len(keys) == 5

    def test_other_content_of_the_same_size_and_time(self, files):
        before, status = files_key(files), files[0].stat()
        replacement = files[0].with_name('new.png')
        replacement.write_bytes(b'CONTENT')
        os.utime(replacement, ns=(status.st_atime_ns, status.st_mtime_ns))
        os.replace(replacement, files[0])
        assert files[0].stat().st_mtime_ns == status.st_mtime_ns
        assert files_key(files) != before

    def test_missing(self, tmp_path):
        with pytest.raises(FileNotFoundError, match='nothing.png'):
            files_key([tmp_path / 'nothing.png'])


def test_several_processes_at_once(path):
    """Of independent runs that start together each gets the arrays, and the file is whole."""

    def work(number):
        for _ in range(20):
            assert get(path, Computation()) == [1, 1, 1]

    run_together(work, 4)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    compute = Computation()
    get(path, compute)
    assert compute.calls == 0
