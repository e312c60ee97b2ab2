"""Same random numbers whatever ran before."""

import pytest
import torch


@pytest.fixture(autouse=True)
def seeded():
    """Seed torch before each test."""
    torch.manual_seed(0)
