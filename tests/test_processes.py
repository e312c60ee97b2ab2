"""What two processes decide together, and what one says when the other is gone."""

import os
import signal
import time

import pytest
import torch
from mmengine.dist import all_reduce, is_distributed
from several import run_two

from mmcomformer.processes import lost_processes_explained, on_first_process


def test_alone():
    assert on_first_process(lambda: 3) == 3
    with pytest.raises(ValueError, match='mine'):
        on_first_process(lambda: fail('mine'))


def fail(message):
    raise ValueError(message)


def test_the_first_decides_for_all(tmp_path):
    """The second would find something else, and is not asked."""

    def find(rank):
        (tmp_path / f'asked{rank}').touch()
        return {'found by': rank}

    seen = run_two(lambda rank: on_first_process(lambda: find(rank)), tmp_path)
    assert seen == [{'found by': 0}, {'found by': 0}]
    assert (tmp_path / 'asked0').exists()
    assert not (tmp_path / 'asked1').exists()


def test_all_get_the_error_of_the_first(tmp_path):
    errors = run_two(lambda rank: on_first_process(lambda: fail(f'rank {rank}')), tmp_path)
    assert [type(error) for error in errors] == [ValueError, ValueError]
    assert [str(error) for error in errors] == ['rank 0', 'rank 0']


@pytest.mark.parametrize('way', ['killed', 'silent'])
def test_a_process_that_is_gone(tmp_path, way):
    """The other ends with a message that says so: at once, or after the timeout."""

    def work(rank):
        all_reduce(torch.zeros(1))
        if rank == 1:
            if way == 'killed':
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(4)
            return
        with lost_processes_explained():
            all_reduce(torch.zeros(1))
        return

    start = time.monotonic()
    error, _ = run_two(work, tmp_path, timeout=2)
    assert isinstance(error, RuntimeError)
    assert str(error).startswith('another process of this training is gone, or did not answer')
    assert 'env_cfg.dist_cfg.timeout' in str(error)
    assert '--resume' in str(error)
    assert time.monotonic() - start < 30


def test_other_errors_pass(monkeypatch):
    monkeypatch.setattr('mmcomformer.processes.is_distributed', lambda: True)
    assert not is_distributed()
    with pytest.raises(RuntimeError, match='^losses timed out$'), lost_processes_explained():
        raise RuntimeError('losses timed out')
