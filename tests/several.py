"""Several processes, of a distributed run or independent ones, forked from that of the tests."""

import os
import pickle
import signal
import time
import traceback
from datetime import timedelta

from torch import distributed


def run_together(function, count):
    """Call ``function(number)`` in independent processes at the same time; each has to end well."""
    children = []
    for number in range(count):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                function(number)
                code = 0
            except BaseException:  # noqa: BLE001
                traceback.print_exc()
            finally:
                os._exit(code)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert codes == [0] * count


def run_two(function, folder, *, timeout=60.0):
    """Call ``function(rank)`` in two processes of a group, and return what became of each.

    Args:
        function: Called with 0 and 1.
        folder: An empty folder to meet in.
        timeout: Seconds that a collective operation waits.

    Returns:
        For each rank its result, or the exception that it raised, or None if it was killed.
    """
    children = []
    for rank in range(2):
        child = os.fork()
        if child == 0:
            _work(function, rank, folder, timeout)
        children.append(child)
    limit = time.monotonic() + 120
    waiting = list(children)
    while waiting and time.monotonic() < limit:
        waiting = [child for child in waiting if os.waitpid(child, os.WNOHANG)[0] == 0]
        time.sleep(0.01)
    for child in waiting:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert not waiting, 'a process did not end'
    return [_result(folder / f'result{rank}') for rank in range(2)]


def _work(function, rank, folder, timeout):
    try:
        distributed.init_process_group(
            'gloo',
            init_method=f'file://{folder / "meeting"}',
            rank=rank,
            world_size=2,
            timeout=timedelta(seconds=timeout),
        )
        try:
            result = function(rank)
        except Exception as error:  # noqa: BLE001
            traceback.print_exc()
            result = error
        (folder / f'result{rank}').write_bytes(pickle.dumps(result))
    finally:
        os._exit(0)


def _result(path):
    return pickle.loads(path.read_bytes()) if path.exists() else None
