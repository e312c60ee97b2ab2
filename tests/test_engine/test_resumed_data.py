"""A resumed loop goes on in the data without loading what was trained, in both library families."""

from types import SimpleNamespace

import pytest
from mmengine.dataset import InfiniteSampler
from torch.utils.data import BatchSampler, DataLoader

from mmcomformer.datasets import ContinualSampler
from mmcomformer.engine.resumed_data import data_position, resume_data

pytestmark = pytest.mark.families


class Numbers:
    def __init__(self):
        self.loaded = []

    def __len__(self):
        return 10

    def __getitem__(self, index):
        self.loaded.append(index)
        return index


def make_loader(kind=ContinualSampler, batch_size=2):
    dataset = Numbers()
    sampler = kind(dataset, seed=4)
    return DataLoader(dataset, batch_size=batch_size, sampler=sampler, collate_fn=list)


def expected_batches(count):
    batches = iter(make_loader())
    return [next(batches) for _ in range(count)]


@pytest.mark.parametrize('asks_to_skip', [True, False])
def test_goes_on(asks_to_skip):
    loader = make_loader()
    loop = SimpleNamespace(iter=3, dataloader=loader, dataloader_iterator=None)
    resume_data(loop, {'seed': 4, 'draws': 6})
    if asks_to_skip:
        # as OneDL's loop
        loop.dataloader_iterator.skip_iter(3)
    else:
        # as the stock loop
        assert [next(loop.dataloader_iterator) for _ in range(3)] == [None] * 3
    batches = [next(loop.dataloader_iterator) for _ in range(4)]
    assert batches == expected_batches(7)[3:]
    assert loader.dataset.loaded == sum(batches, [])


def test_another_batch_size_goes_on_at_the_same_image():
    loader = make_loader(batch_size=4)
    loop = SimpleNamespace(iter=3, dataloader=loader, dataloader_iterator=None)
    resume_data(loop, {'seed': 4, 'draws': 6})
    loop.dataloader_iterator.skip_iter(3)
    assert next(loop.dataloader_iterator) == sum(expected_batches(5)[3:], [])
    # 6 before, 4 in each of 2 iterations since
    assert data_position(loader, 5) == {'seed': 4, 'draws': 14}


def test_position():
    assert data_position(make_loader(), 5) == {'seed': 4, 'draws': 10}


def test_another_sampler_is_left_alone():
    loader = make_loader(InfiniteSampler)
    loop = SimpleNamespace(iter=3, dataloader=loader, dataloader_iterator='its own')
    assert data_position(loader, 5) is None
    resume_data(loop, {'seed': 4, 'draws': 6})
    assert loop.dataloader_iterator == 'its own'


def test_batches_of_any_size_are_left_alone():
    dataset = Numbers()
    batches = BatchSampler(ContinualSampler(dataset, seed=4), 2, drop_last=False)
    assert data_position(DataLoader(dataset, batch_sampler=batches), 5) is None
