"""A device that is not there, asked for in each benchmark that takes one."""

import matching
import pytest
import scaling
import torch
import train_step

BENCHMARKS = (matching, scaling, train_step)


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a CUDA device')
@pytest.mark.parametrize('module', BENCHMARKS, ids=lambda module: module.__name__)
def test_device_that_is_not_there(run_benchmark, module):
    message = run_benchmark(module, '--device', 'cuda')
    assert message == 'error: --device cuda: this machine has no CUDA device; use --device cpu'
