"""Random generators are given back exactly as they were."""

import random

import numpy as np
import torch

from mmcomformer.random_state import (
    kept_host_generators,
    random_state,
    restore_random_state,
    seed_host_generators,
)


def draw():
    # an odd number of normal variates, of which the next one is kept in reserve
    return (
        [random.random(), random.gauss(0, 1)],
        np.random.normal(size=3).tolist(),
        np.random.randint(1 << 30),
        torch.rand(3).tolist(),
        torch.randperm(20).tolist(),
    )


def test_numbers_go_on_from_a_file(tmp_path):
    draw()
    torch.save(random_state(), tmp_path / 'state.pth')
    expected = [draw() for _ in range(3)]
    restore_random_state(torch.load(tmp_path / 'state.pth', weights_only=True))
    assert [draw() for _ in range(3)] == expected


class Devices:
    """Two CUDA devices, of which torch keeps the generators."""

    def __init__(self, monkeypatch, count=2):
        self.states = [torch.tensor([i, 7], dtype=torch.uint8) for i in range(count)]
        monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
        monkeypatch.setattr(torch.cuda, 'device_count', lambda: len(self.states))
        monkeypatch.setattr(torch.cuda, 'get_rng_state_all', lambda: list(self.states))
        monkeypatch.setattr(torch.cuda, 'set_rng_state_all', self.set)

    def set(self, states):
        self.states = list(states)


def test_every_device(monkeypatch):
    devices = Devices(monkeypatch)
    kept = random_state()
    expected, devices.states = devices.states, [torch.zeros(2)] * 2
    restore_random_state(kept)
    assert all(map(torch.equal, devices.states, expected))


def test_another_number_of_devices(monkeypatch):
    Devices(monkeypatch)
    kept = random_state()
    expected = torch.rand(1)
    devices = Devices(monkeypatch, count=1)
    devices.states = [torch.zeros(2)]
    restore_random_state(kept)
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(devices.states[0], torch.zeros(2))


def test_kept():
    state = random_state()
    expected = draw()
    restore_random_state(state)
    with kept_host_generators():
        seed_host_generators(5)
        draw()
    assert draw() == expected


class TestSeed:
    def drawn(self, *key):
        seed_host_generators(*key)
        return draw()

    def test_the_key_decides(self):
        assert self.drawn(0, 3) == self.drawn(0, 3)

    def test_every_part_of_the_key_counts_for_every_generator(self):
        draws = [self.drawn(*key) for key in ((0, 3), (0, 4), (1, 3), (3, 0), (0, 1 << 33))]
        for part in zip(*draws, strict=True):
            assert len(set(map(str, part))) == len(draws)

    def test_generators_differ(self):
        # of one seed, NumPy and Python would draw the same uniform numbers
        seed_host_generators(0, 3)
        assert random.random() != np.random.random()

    def test_accelerators_are_left_alone(self, monkeypatch):
        seeded = []
        monkeypatch.setattr(torch.cuda, 'manual_seed_all', seeded.append)
        seed_host_generators(0)
        assert seeded == []
