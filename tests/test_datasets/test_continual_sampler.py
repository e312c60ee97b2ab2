"""What a training sees depends on the seed alone, not on who loads it."""

import itertools
import pickle
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.dataset import BaseDataset, InfiniteSampler, RepeatDataset
from mmengine.registry import DATA_SAMPLERS, DefaultScope
from mmengine.runner import Runner
from small_runs import CONFIG, small_options
from torch.utils.data import DataLoader

from mmcomformer.datasets import ContinualSampler
from mmcomformer.datasets import continual_sampler as module
from mmcomformer.datasets.continual_sampler import Draw
from mmcomformer.engine.request import Request, load_config
from mmcomformer.random_state import random_state, restore_random_state

pytestmark = pytest.mark.families
NUM_IMAGES = 10


class Noise:
    """Images that are all noise, from each of the three generators."""

    def __len__(self):
        return NUM_IMAGES

    def __getitem__(self, index):
        assert type(index) is int
        return index, random.random(), np.random.rand(), torch.rand(1).item()


@pytest.fixture
def processes(monkeypatch):
    def be(rank, count):
        monkeypatch.setattr(module, 'get_dist_info', lambda: (rank, count))

    return be


def batches(count, *, batch_size=4, workers=0, dataset=None, state=None, seed=3):
    dataset = Noise() if dataset is None else dataset
    sampler = ContinualSampler(dataset, seed=seed)
    if state is not None:
        sampler.load_state(state, iterations=5)
    loader = DataLoader(dataset, batch_size, sampler=sampler, num_workers=workers, collate_fn=list)
    return list(itertools.islice(iter(loader), count))


def test_order_is_that_of_the_infinite_sampler():
    expected = list(itertools.islice(InfiniteSampler(range(NUM_IMAGES), seed=3), 45))
    assert list(itertools.islice(ContinualSampler(Noise(), seed=3), 45)) == expected
    plain = list(itertools.islice(ContinualSampler(Noise(), shuffle=False, seed=3), 13))
    assert plain == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2]


@pytest.mark.parametrize('workers', [2, 8])
def test_number_of_workers(workers):
    assert batches(9, workers=workers) == batches(9)


def test_number_of_processes(processes):
    alone = batches(6)
    shares = []
    for rank in range(2):
        processes(rank, 2)
        shares.append(batches(6, batch_size=2))
    assert shares[0] != shares[1]
    for whole, first, second in zip(alone, *shares, strict=True):
        assert sorted(first + second) == sorted(whole)


def test_every_draw_of_an_image_differs():
    drawn = sum(batches(10), [])
    assert len(drawn) == 4 * NUM_IMAGES
    for column in range(1, 4):
        assert len({sample[column] for sample in drawn}) == len(drawn)
    assert batches(3, seed=4) != batches(3)


def test_generators_of_the_model_are_left_alone():
    dataset = Noise()
    ContinualSampler(dataset, seed=3)
    state = random_state()
    expected = dataset[0]
    restore_random_state(state)
    dataset.__getitems__([Draw(2, (0, 3)), Draw(4, (0, 4))])
    assert dataset[0] == expected


class NoiseOfMMEngine(BaseDataset):
    def load_data_list(self):
        return [{}] * NUM_IMAGES

    def __getitem__(self, index):
        return Noise()[index]


def test_wrapped_dataset():
    dataset = RepeatDataset(NoiseOfMMEngine(), 3)
    drawn = sum(batches(9, dataset=dataset, workers=2), [])
    assert drawn == sum(batches(9, dataset=dataset), [])
    assert len({noise for _, noise, *_ in drawn}) == len(drawn)


def test_other_samplers_go_on_as_before():
    """A dataset that has met ours loads plain indices with the generators as they are."""
    dataset = Noise()
    ContinualSampler(dataset, seed=3)
    torch.manual_seed(0)
    expected = torch.rand(4).tolist()
    torch.manual_seed(0)
    loaded = dataset.__getitems__([4, 2]) + dataset.__getitems__([4, 2])
    assert [noise for *_, noise in loaded] == expected


def test_key_reaches_the_workers():
    draw = pickle.loads(pickle.dumps(Draw(4, (3, 17))))
    assert (draw, draw.key) == (4, (3, 17))


class TestPosition:
    def test_continued(self):
        sampler = ContinualSampler(Noise(), seed=3)
        state = sampler.state_after(5, batch_size=4)
        assert state == {'seed': 3, 'draws': 20}
        # the seed of the checkpoint counts, not that of a config which has none
        assert batches(4, state=state, seed=99) == batches(9)[5:]

    def test_with_another_batch_and_more_processes(self, processes):
        state = ContinualSampler(Noise(), seed=3).state_after(5, batch_size=4)
        expected = sum(batches(9)[5:], [])
        processes(1, 2)
        assert sum(batches(8, batch_size=1, state=state), []) == expected[1::2]

    def test_continued_again(self, processes):
        processes(0, 2)
        sampler = ContinualSampler(Noise(), seed=3)
        sampler.load_state({'seed': 8, 'draws': 20}, iterations=5)
        assert sampler.state_after(7, batch_size=3) == {'seed': 8, 'draws': 32}

    def test_skipped_by_mmengine(self, processes):
        processes(1, 2)
        sampler = ContinualSampler(Noise(), seed=3)
        expected = list(itertools.islice(sampler, 12))
        sampler.skip(8)
        assert list(itertools.islice(sampler, 4)) == expected[8:]
        assert sampler.state_after(9, batch_size=2) == {'seed': 3, 'draws': 36}


def test_seed_by_default_is_drawn_for_all_processes(monkeypatch):
    monkeypatch.setattr(module, 'sync_random_seed', lambda: 12)
    assert ContinualSampler(Noise()).seed == 12


@pytest.mark.parametrize('scope', ['mmdet', 'mmseg'])
def test_found_by_configs(scope):
    sampler = DATA_SAMPLERS.build(
        {'type': 'ContinualSampler', 'dataset': Noise(), '_scope_': scope}
    )
    assert isinstance(sampler, ContinualSampler)


def test_pipeline_of_a_config(shapes_root):
    """The transforms of the libraries draw from the generators that are seeded."""
    options = small_options(shapes_root)
    cfg = load_config(Request(config=CONFIG, cfg_options=options), 0)
    loader_cfg = cfg.train_dataloader
    loader_cfg.dataset.pipeline.insert(
        2, {'type': 'RandomChoiceResize', 'scales': [(64, 64), (80, 80)], '_scope_': 'mmdet'}
    )
    loader_cfg.dataset.pipeline.insert(
        3, {'type': 'RandomCrop', 'crop_size': (48, 48), '_scope_': 'mmdet'}
    )
    loader_cfg.dataset.pipeline.insert(4, {'type': 'SSDColorJitter'})
    images = []
    for workers in (0, 2):
        loader = Runner.build_dataloader({**loader_cfg, 'num_workers': workers}, seed=0)
        drawn = list(itertools.islice(iter(loader), 6))
        images.append(torch.stack(sum((batch['inputs'] for batch in drawn), [])))
        torch.manual_seed(5), np.random.seed(5), random.seed(5)
    assert torch.equal(*images)
    flips = [sample.flip for batch in drawn for sample in batch['data_samples']]
    assert len(set(flips)) == 2


OF_TASKS = {
    'comformer_shapes_instances_6-2.py': (0, 'panoptic_head'),
    # their step 1 also shows images from memory
    'balconpas_replay_shapes_6-3.py': (1, 'panoptic_head'),
    'balconpas_replay_shapes_semantic_6-3.py': (1, 'decode_head'),
}


@pytest.mark.parametrize('name', OF_TASKS)
def test_every_task_and_memory(name, shapes_root, processes, monkeypatch):
    """Two workers, and two processes with half the batch each, load what one process does."""
    monkeypatch.delenv('METHOD', raising=False)
    step, head = OF_TASKS[name]
    request = Request(
        config=str(Path(CONFIG).with_name(name)),
        cfg_options=small_options(shapes_root, head=head, **{'train_dataloader.batch_size': 4}),
    )
    cfg = load_config(request, step)
    cfg.train_dataloader.dataset.pipeline.insert(1, {'type': 'SSDColorJitter'})

    def load(batch_size=4, workers=0):
        loader_cfg = {**cfg.train_dataloader, 'batch_size': batch_size, 'num_workers': workers}
        with DefaultScope.overwrite_default_scope(cfg.default_scope):
            loader = Runner.build_dataloader(loader_cfg, seed=0)
        drawn = list(itertools.islice(iter(loader), 7))
        return [
            (sample.img_path, 'from_memory' in sample, image.numpy().tobytes())
            for batch in drawn
            for sample, image in zip(batch['data_samples'], batch['inputs'], strict=True)
        ]

    alone = load()
    assert load(workers=2) == alone
    for rank in range(2):
        processes(rank, 2)
        assert load(batch_size=2) == alone[rank::2]
    assert any(from_memory for _, from_memory, _ in alone) == bool(step)
    # an image that comes again is another one
    assert len({image for *_, image in alone}) == len(alone) > len({path for path, *_ in alone})
