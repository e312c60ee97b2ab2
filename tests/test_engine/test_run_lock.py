"""One run, one owner: who holds a folder, who is told, and which locks count as left behind."""

import json
import os
import signal
import threading
import time
from contextlib import suppress

import pytest

from mmcomformer.engine.run_lock import FILE_NAME, RunLock, owned_run


def forked(function):
    """Run a function in a process of its own, which has said that it started; return its id.

    A fork has the libraries imported already.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            function(lambda: os.write(writing, b'x'))
        finally:
            os._exit(1)
    assert os.read(reading, 1) == b'x'
    os.close(reading)
    os.close(writing)
    return child


def exit_code(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of the folder."""

    def hold(ready):
        with owned_run(tmp_path):
            ready()
            time.sleep(60)

    child = forked(hold)
    yield child
    with suppress(ProcessLookupError, ChildProcessError):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def write_lock(folder, **changes):
    """Leave a lock as this process would, but for some of its values."""
    lock = RunLock(folder)
    lock._create()
    content = {**json.loads(lock.path.read_text()), **changes}
    lock.path.write_text(json.dumps(content))
    return lock.path


def test_held_and_given_back(tmp_path):
    folder = tmp_path / 'work' / 'run'
    with owned_run(folder):
        owner = json.loads((folder / FILE_NAME).read_text())
        assert owner['pid'] == os.getpid()
        with pytest.raises(RuntimeError, match='another training works in it'):
            RunLock(folder).acquire()
        assert (folder / FILE_NAME).exists()
    assert not (tmp_path / 'work').exists()


def test_a_folder_with_something_in_it_stays(tmp_path):
    with owned_run(tmp_path / 'run'):
        (tmp_path / 'run' / 'step0').mkdir()
    assert [path.name for path in (tmp_path / 'run').iterdir()] == ['step0']


def test_given_back_after_an_error(tmp_path):
    with pytest.raises(KeyboardInterrupt), owned_run(tmp_path):
        raise KeyboardInterrupt
    assert not (tmp_path / FILE_NAME).exists()


def test_another_process(tmp_path, holder):
    start = time.monotonic()
    with pytest.raises(RuntimeError) as caught:
        RunLock(tmp_path).acquire()
    assert time.monotonic() - start < 1
    message = str(caught.value)
    assert f'process {holder} on {os.uname().nodename}, since 2' in message
    assert str(tmp_path / FILE_NAME) in message
    assert '--work-dir' in message


@pytest.mark.parametrize('reaped', [False, True])
def test_killed_process_does_not_block(tmp_path, holder, reaped):
    """Not even as a zombie, whose id is still taken."""
    os.kill(holder, signal.SIGKILL)
    if reaped:
        exit_code(holder)
    else:
        os.waitid(os.P_PID, holder, os.WEXITED | os.WNOWAIT)
    assert (tmp_path / FILE_NAME).exists()
    with owned_run(tmp_path):
        assert json.loads((tmp_path / FILE_NAME).read_text())['pid'] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_terminated_process_gives_back(tmp_path, holder):
    os.kill(holder, signal.SIGTERM)
    assert exit_code(holder) == -signal.SIGTERM
    assert not (tmp_path / FILE_NAME).exists()


def test_a_process_id_that_is_used_again(tmp_path):
    """Process 1 lives, but it was not it that took the lock."""
    write_lock(tmp_path, pid=os.getppid(), started='1')
    with owned_run(tmp_path):
        assert json.loads((tmp_path / FILE_NAME).read_text())['pid'] == os.getpid()


class TestOtherMachine:
    def test_without_sign_of_life(self, tmp_path):
        write_lock(tmp_path, host='far', machine='far')
        with owned_run(tmp_path, patience=0.2):
            assert json.loads((tmp_path / FILE_NAME).read_text())['pid'] == os.getpid()

    def test_alive(self, tmp_path):
        """A lock that is touched meanwhile is held, whatever its clock says."""
        write_lock(tmp_path, host='far', machine='far', pid=7)
        path = tmp_path / FILE_NAME
        os.utime(path, (0, 0))
        touch = threading.Timer(0.2, os.utime, (path, (9, 9)))
        touch.start()
        with pytest.raises(RuntimeError, match='process 7 on far, since'):
            RunLock(tmp_path, patience=20).acquire()
        touch.join()

    def test_touches(self, tmp_path):
        with owned_run(tmp_path, beat=0.05):
            os.utime(tmp_path / FILE_NAME, (0, 0))
            limit = time.monotonic() + 5
            while (tmp_path / FILE_NAME).stat().st_mtime == 0:
                assert time.monotonic() < limit
                time.sleep(0.02)


def test_cut_off_lock(tmp_path):
    """As a machine leaves it that loses power while it is written: nothing tells whose it was."""
    (tmp_path / FILE_NAME).write_text('{"ho')
    with owned_run(tmp_path, patience=0.2):
        assert json.loads((tmp_path / FILE_NAME).read_text())['pid'] == os.getpid()


def test_lock_that_is_being_written(tmp_path, holder):
    """Its owner is known a moment later."""
    path = tmp_path / FILE_NAME
    content = path.read_text()
    path.write_text('')
    write = threading.Timer(0.2, path.write_text, (content,))
    write.start()
    with pytest.raises(RuntimeError, match=f'process {holder} on'):
        RunLock(tmp_path, patience=20).acquire()
    write.join()


def test_lock_of_another_owner_is_not_removed(tmp_path):
    lock = RunLock(tmp_path, beat=0.01)
    lock.acquire()
    lock.path.write_text('of another')
    lock.release()
    assert lock.path.read_text() == 'of another'


def test_forked_worker_gives_nothing_back(tmp_path):
    """A worker of a data loader inherits the handler of SIGTERM, which ends it."""
    with owned_run(tmp_path):

        def work(ready):
            ready()
            time.sleep(60)

        child = forked(work)
        os.kill(child, signal.SIGTERM)
        assert exit_code(child) == -signal.SIGTERM
        assert (tmp_path / FILE_NAME).exists()


def test_not_writable(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(RuntimeError, match=r'run.lock cannot be written \(.+\); choose a --work'):
        RunLock(tmp_path / 'file' / 'run').acquire()


def test_many_at_once(tmp_path):
    """Of several processes that find a stale lock, one gets the folder at a time."""
    write_lock(tmp_path, pid=1, started='1')

    def work(ready):
        ready()
        try:
            with owned_run(tmp_path):
                (tmp_path / 'inside').mkdir()
                time.sleep(0.2)
                (tmp_path / 'inside').rmdir()
        except RuntimeError:
            os._exit(3)
        os._exit(0)

    codes = [exit_code(child) for child in [forked(work) for _ in range(6)]]
    assert set(codes) <= {0, 3}
    assert 0 in codes
