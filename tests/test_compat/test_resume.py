from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.dataset import InfiniteSampler
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import DataLoader, Dataset

from mmcomformer import compat

pytestmark = pytest.mark.families


class Numbers(Dataset):
    """24 numbers; writes each index that is read to a file, from whichever process."""

    metainfo = {'classes': ('number',)}

    def __init__(self, log):
        self.log = log

    def __len__(self):
        return 24

    def __getitem__(self, index):
        with self.log.open('a') as file:
            file.write(f'{index}\n')
        return {'number': float(index)}

    def read(self):
        return [int(line) for line in self.log.read_text().split()]


class TinyModel(BaseModel):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def forward(self, number, mode='tensor'):
        return {'loss': self.layer(torch.tensor(number)[:, None]).square().mean()}


class Recorder(Hook):
    """Skips as a hook of the package does, and keeps the batches that are trained on."""

    def __init__(self):
        self.batches = []

    def before_train(self, runner):
        compat.skip_trained_batches(runner.train_loop)

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.batches.append([int(number) for number in data_batch['number']])


def train(work_dir, iterations, workers, resume):
    """Train for so many iterations in all; return the batches and the indices that were read."""
    dataset = Numbers(work_dir / f'read-{iterations}-{resume}.txt')
    recorder = Recorder()
    runner = Runner(
        model=TinyModel(),
        work_dir=str(work_dir),
        train_dataloader={
            'dataset': dataset,
            'batch_size': 2,
            'num_workers': workers,
            'persistent_workers': workers > 0,
            'sampler': {'type': 'InfiniteSampler', 'seed': 3},
            'collate_fn': {'type': 'pseudo_collate'},
        },
        train_cfg={'by_epoch': False, 'max_iters': iterations, 'val_interval': 1000},
        optim_wrapper={'optimizer': {'type': 'AdamW', 'lr': 0.01}},
        param_scheduler={'type': 'LinearLR', 'start_factor': 0.1, 'end': 5, 'by_epoch': False},
        custom_hooks=[recorder],
        default_hooks={
            'checkpoint': {'type': 'CheckpointHook', 'interval': 5, 'by_epoch': False},
            'logger': {'type': 'LoggerHook', 'interval': 1},
        },
        resume=resume,
        experiment_name=f'{work_dir}-{iterations}-{resume}'.replace('/', '-'),
        log_level='ERROR',
    )
    runner.train()
    return recorder.batches, dataset.read()


class TestResume:
    @pytest.mark.parametrize('workers', [0, 2])
    def test_runner_resumes_its_own_checkpoint_with_the_same_batches(self, tmp_path, workers):
        stream = iter(InfiniteSampler(range(24), seed=3))
        whole = [[next(stream), next(stream)] for _ in range(12)]
        first, _ = train(tmp_path, 5, workers, resume=False)
        second, read = train(tmp_path, 12, workers, resume=True)
        # stock mmengine builds its iterator, whose workers prefetch, before any hook can act
        prefetched = 2 * workers * 2

        assert (len(first), len(second)) == (5, 7)
        assert first + second == whole
        assert len(read) <= 7 * 2 + 2 * prefetched

        # also after a load by mmengine, which shortens the allow-list in one family
        checkpoint = compat.load_weights_only(tmp_path / 'iter_12.pth')
        assert checkpoint['meta']['iter'] == 12
        losses = checkpoint['message_hub']['log_scalars']['train/loss'].data[0]
        assert isinstance(losses, np.ndarray)
        assert len(losses) == 12

    def test_batch_sampler_of_its_own_is_left_alone(self):
        dataset = torch.arange(8)
        batches = [[0, 1], [2], [3, 4, 5]]
        loader = DataLoader(dataset, batch_sampler=batches)
        loop = SimpleNamespace(iter=2, dataloader=loader, dataloader_iterator=iter(loader))
        before = loop.dataloader_iterator
        compat.skip_trained_batches(loop)
        assert loop.dataloader_iterator is before

    def test_skipping_restarts_the_stream(self):
        dataset = torch.arange(10)
        loader = DataLoader(dataset, batch_size=3, sampler=InfiniteSampler(dataset, seed=0))
        uninterrupted = iter(loader)
        expected = [next(uninterrupted).tolist() for _ in range(9)]
        loop = SimpleNamespace(iter=5, dataloader=loader, dataloader_iterator=uninterrupted)
        compat.skip_trained_batches(loop)
        assert [next(loop.dataloader_iterator) for _ in range(5)] == [None] * 5
        assert [next(loop.dataloader_iterator).tolist() for _ in range(4)] == expected[5:]
