import io
import os
import signal

import pytest

from mmcomformer.datasets import parallel as module
from mmcomformer.datasets.parallel import Progress, default_workers, parallel


def square(number):
    return number * number


def fail_at_three(number):
    if number == 3:
        raise ValueError('three')
    return number


def die_at_three(number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.parametrize('workers', [1, 2, None])
def test_in_order(workers):
    results = parallel(square, range(50), workers=workers, title='squares')
    assert list(results) == [number * number for number in range(50)]


@pytest.mark.parametrize('workers', [1, 2])
def test_error(workers):
    with pytest.raises(ValueError, match='three'):
        list(parallel(fail_at_three, range(50), workers=workers, title=''))


def test_killed_worker():
    with pytest.raises(RuntimeError, match='one of 2 processes was killed.*goes on where'):
        list(parallel(die_at_three, range(50), workers=2, title=''))


def test_no_items():
    assert list(parallel(square, [], workers=2, title='')) == []


def test_workers():
    assert default_workers() >= 1
    with pytest.raises(ValueError, match='workers: expected at least 1, got 0'):
        list(parallel(square, [1], workers=0, title=''))


class Terminal(io.StringIO):
    def isatty(self):
        return True


class TestProgress:
    @pytest.fixture
    def clock(self, monkeypatch):
        now = [0.0]
        monkeypatch.setattr(module.time, 'monotonic', lambda: now[0])
        return now

    def run(self, stream, clock, seconds):
        progress = Progress('work', 1000, stream=stream)
        for _ in range(1000):
            clock[0] += seconds
            progress.update()
        return stream.getvalue()

    def test_no_terminal(self, clock):
        text = self.run(io.StringIO(), clock, 0.125)
        assert text.splitlines() == [
            'work: 240/1000, 8/s, 95 s left',
            'work: 480/1000, 8/s, 65 s left',
            'work: 720/1000, 8/s, 35 s left',
            'work: 960/1000, 8/s, 5 s left',
            'work: 1000/1000, 8/s, 0 s left',
        ]

    def test_terminal(self, clock):
        text = self.run(Terminal(), clock, 0.1)
        assert text.count('\n') == 1
        assert text.endswith('\n')
        assert 300 < text.count('\r') <= 500


class TwoArgumentsError(Exception):
    """Pickled with one argument, and built with two."""

    def __init__(self, first, second):
        super().__init__(f'{first} and {second}')


def fail_with_two_arguments(number):
    if number == 3:
        raise TwoArgumentsError('a', 'b')
    return number


def test_error_that_cannot_be_sent():
    with pytest.raises(RuntimeError, match='^3: TwoArgumentsError: a and b$'):
        list(parallel(fail_with_two_arguments, range(50), workers=2, title=''))
