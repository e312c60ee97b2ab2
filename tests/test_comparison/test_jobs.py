"""Jobs run in order, some at a time, and once."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmcomformer.comparison.jobs import JobRunner, stopped_by_user

from .conftest import shown


@pytest.fixture
def run(train):
    """Run a comparison; return whether it is complete, and what was reported."""

    def start(comparison, at_a_time=2, **arguments):
        lines, finished = [], []
        runner = JobRunner(
            comparison.jobs,
            train,
            at_a_time=at_a_time,
            threads=1,
            report=lines.append,
            finished=lambda: finished.append(len(lines)),
            **arguments,
        )
        return runner.run(), lines, finished

    return start


def test_step_0_is_trained_once_for_equal_models(make, run, trained):
    comparison = make('a', 'b', 'own')
    complete, lines, finished = run(comparison)
    assert complete
    # in any order that the dependencies allow
    expected = {('a', 0, False), ('own', 0, False), ('a', 1, False), ('b', 1, True)}
    assert {shown(args) for args in trained()} == expected | {('own', 1, False)}
    assert len(trained()) == 5 == len(finished)
    teacher = next(args for args in trained() if shown(args) == ('b', 1, True))
    first = comparison.runs[0].folder / 'step0' / 'iter_5.pth'
    assert teacher[teacher.index('--teacher') + 1] == str(first)
    assert teacher[-2:] == ['--cfg-options', 'randomness.seed=0']
    assert any(line.startswith('done    own, seed 0, step 1; 5 of 5 steps') for line in lines)


def test_what_is_done_is_not_done_again(make, run, trained):
    assert run(make('a'))[0]
    before = len(trained())
    complete, lines, _ = run(make('a', 'b', seeds=(0, 1)))
    assert complete
    assert sorted(shown(args) for args in trained()[before:]) == [
        ('a', 0, False),
        ('a', 1, False),
        ('b', 1, True),
        ('b', 1, True),
    ]
    assert not any('a, seed 0' in line for line in lines if line.startswith('started'))


def test_what_was_begun_goes_on(make, run):
    comparison = make('a')
    step = comparison.runs[0].folder / 'step0'
    step.mkdir(parents=True)
    (step / 'iter_2.pth').write_text('')
    _, lines, _ = run(comparison)
    assert lines[0] == f'started a, seed 0, step 0, goes on (log: {comparison.jobs[0].log})'


def test_a_failure_stops_only_what_needs_it(make, run, trained):
    complete, lines, _ = run(make('broken', 'a'), at_a_time=1)
    assert not complete
    failed = [line for line in lines if line.startswith('FAILED')]
    assert len(failed) == 1
    assert failed[0].startswith('FAILED  broken, seed 0, step 1: error: it broke (log: ')
    assert shown(trained()[-1]) == ('a', 1, True)


def test_what_needs_a_failure_is_left_out(make, run, trained):
    # its first step ends without results
    complete, lines, _ = run(make('silent', 'b'))
    assert not complete
    assert [line for line in lines if line.startswith('left out')] == [
        'left out silent, seed 0, step 1: it needs silent, seed 0, step 0',
        'left out b, seed 0, step 1: it needs silent, seed 0, step 0',
    ]
    assert len(trained()) == 1


@pytest.mark.parametrize('at_a_time', [1, 3])
def test_as_many_at_a_time_as_asked_for(make, train, at_a_time):
    counts = []

    class Counted(JobRunner):
        def _collect(self, done):
            counts.append(len(self._running))
            super()._collect(done)

    comparison = make('own1', 'own2', 'own3')
    arguments = {'report': lambda line: None, 'finished': lambda: None, 'threads': 1}
    assert Counted(comparison.jobs, train, at_a_time=at_a_time, **arguments).run()
    assert max(counts) == at_a_time


def test_says_how_far_it_is(make, run):
    _, lines, _ = run(make('a'), every=0.0)
    assert '0 of 2 steps' in lines
    assert any(line.startswith('1 of 2 steps, time left 0:00:') for line in lines)


def test_ctrl_c_says_how_to_go_on():
    lines = []
    with pytest.raises(SystemExit) as stopped, stopped_by_user(lines.append):
        raise KeyboardInterrupt
    assert stopped.value.code == 130
    assert lines == ['stopped; the same command goes on from the last checkpoints']


@pytest.mark.skipif(sys.platform != 'linux', reason='only Linux tells children')
def test_trainings_end_with_a_killed_comparison(tmp_path):
    code = (
        'import subprocess, sys, time\n'
        'from mmcomformer.comparison.jobs import _end_with_parent\n'
        'child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"],\n'
        '                         preexec_fn=_end_with_parent)\n'
        'print(child.pid, flush=True)\n'
        'time.sleep(60)\n'
    )
    parent = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 10
    while _lives(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    alive = _lives(child)
    if alive:
        os.kill(child, signal.SIGKILL)
    assert not alive


def _lives(pid):
    try:
        state = Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != 'Z'
