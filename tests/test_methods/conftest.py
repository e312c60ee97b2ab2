"""Same random numbers whatever ran before, and one thread."""

import pytest
import torch


@pytest.fixture(autouse=True)
def seeded():
    """Seed torch, and keep it from waiting for threads, which tiny tensors do not repay."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)
