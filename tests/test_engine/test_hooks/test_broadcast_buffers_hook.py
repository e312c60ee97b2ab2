"""All processes evaluate what the checkpoint holds."""

from types import SimpleNamespace

import torch
from several import run_two
from torch import nn

from mmcomformer.engine.hooks import BroadcastBuffersHook


def test_two_processes_get_the_buffers_of_the_first(tmp_path):
    def work(rank):
        model = nn.BatchNorm1d(3)
        model.running_mean.fill_(float(rank + 5))
        model.num_batches_tracked.fill_(rank + 5)
        with torch.no_grad():
            model.weight.fill_(float(rank))
        BroadcastBuffersHook().before_val_epoch(SimpleNamespace(model=model))
        return model.running_mean.tolist(), int(model.num_batches_tracked), model.weight.tolist()

    first, second = run_two(work, tmp_path)
    assert first == ([5.0] * 3, 5, [0.0] * 3)
    # parameters are equal anyway, and not its business
    assert second == ([5.0] * 3, 5, [1.0] * 3)


def test_alone():
    model = nn.BatchNorm1d(3)
    BroadcastBuffersHook().before_val_epoch(SimpleNamespace(model=model))
    assert model.running_mean.tolist() == [0.0] * 3
