import argparse
import gc
import json
import os
import socket
import time

import measuring
import pytest

import mmcomformer


def test_spread():
    assert measuring.spread([3.0, 1.0, 2.0]) == {'median': 2.0, 'min': 1.0, 'max': 3.0, 'runs': 3}


def test_in_turn():
    calls = []
    functions = {name: lambda call, name=name: calls.append((name, call)) for name in 'ab'}
    times = measuring.time_in_turn(functions, runs=2, items=2)
    assert calls == [(name, call) for call in range(4) for name in 'ab']
    assert [len(values) for values in times.values()] == [2, 2]
    assert all(seconds >= 0 for values in times.values() for seconds in values)


def test_child_has_memory_of_its_own():
    before = measuring.peak_megabytes()
    peak = measuring.in_child(lambda: bytearray(300 * measuring.MEGABYTE) and peak_of_child())
    assert peak > 300
    assert measuring.peak_megabytes() < before + 100


def peak_of_child():
    return measuring.peak_megabytes()


def test_child_leaves_what_its_parent_would_collect():
    finalized = []

    class Loader:
        def __init__(self):
            self.workers = self

        def __del__(self):
            finalized.append(os.getpid())

    gc.disable()
    try:
        Loader()
        assert measuring.in_child(lambda: (gc.collect(), list(finalized))[1]) == []
    finally:
        gc.enable()
    gc.collect()
    assert finalized == [os.getpid()]


def test_memory_of_this_process():
    assert 0 < measuring.private_megabytes() <= measuring.proportional_megabytes() * 1.05
    assert measuring.private_megabytes(os.getpid()) > 0


def test_child_that_fails(capfd):
    with pytest.raises(measuring.BenchmarkError, match='ZeroDivisionError: division by zero'):
        measuring.in_child(lambda: 1 / 0)
    assert 'ZeroDivisionError' in capfd.readouterr().err


def test_child_that_is_killed():
    with pytest.raises(measuring.BenchmarkError, match='a process was killed'):
        measuring.in_child(lambda: os.kill(os.getpid(), 9))


@pytest.mark.parametrize('kind', ['memory', 'disk'])
def test_size_that_does_not_fit(tmp_path, kind):
    measuring.require(tmp_path, memory=1, disk=1)
    match = rf'does not fit: about 1000000000 MB of {kind} are needed and \d+ MB are free'
    with pytest.raises(SystemExit, match=match), measuring.one_line_errors():
        measuring.require(tmp_path, **{kind: 1e9})


@pytest.mark.parametrize('text', ['0', '-1'])
def test_not_positive(text):
    with pytest.raises(argparse.ArgumentTypeError, match=f'expected at least 1, got {text}'):
        measuring.positive(text)


def test_report(tmp_path, capsys):
    out = tmp_path / 'deep' / 'figures.json'
    measuring.report(
        'name',
        {'seconds': [1.0, 3.0]},
        arguments=argparse.Namespace(images=2, json=str(out)),
        checks={'same': True},
        out=str(out),
    )
    assert '| seconds |   2.00 | 1.00 | 3.00 |' in capsys.readouterr().out
    text = out.read_text()
    content = json.loads(text)
    machine = content.pop('machine')
    assert content == {
        'benchmark': 'name',
        'version': mmcomformer.__version__,
        'arguments': {'images': 2},
        'figures': {'seconds': {'median': 2.0, 'min': 1.0, 'max': 3.0, 'runs': 2}},
        'checks': {'same': True},
    }
    assert machine['cores'] >= 1
    assert machine['libraries']['torch']
    # neither host nor path
    assert socket.gethostname() not in text
    assert str(tmp_path) not in text


def test_device_and_its_memory():
    measuring.require_device('cpu', memory=1)
    with pytest.raises(measuring.BenchmarkError, match='about 1000000000 MB of memory are needed'):
        measuring.require_device('cpu', memory=1e9)


def test_ratios_and_waiting():
    assert measuring.ratios([2.0, 9.0], [1.0, 3.0]) == [2.0, 3.0]
    assert measuring.waiting(len, 'cpu')('abc') == 3


def test_processor_time_does_not_count_waiting():
    functions = {'sleep': lambda call: time.sleep(0.05)}
    for clock, least, most in ((measuring.clock_of('cpu'), 0, 0.04), (None, 0.05, 10)):
        settings = {} if clock is None else {'clock': clock}
        [seconds] = measuring.time_in_turn(functions, runs=1, items=1, **settings)['sleep']
        assert least <= seconds < most
    assert measuring.clock_of('cuda') is time.perf_counter
