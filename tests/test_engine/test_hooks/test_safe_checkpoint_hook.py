"""A kill at any moment of saving leaves a checkpoint that can be loaded."""

import functools
import importlib
import os
import random
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.hooks import CheckpointHook, Hook
from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from mmengine.runner import Runner, find_latest_checkpoint
from torch.utils.data import DataLoader, Dataset

from mmcomformer import atomic
from mmcomformer.atomic import replaced_file
from mmcomformer.compat import load_weights_only
from mmcomformer.engine.hooks import SafeCheckpointHook
from mmcomformer.engine.hooks import safe_checkpoint_hook as module
from mmcomformer.engine.hooks.safe_checkpoint_hook import DATA_KEY, RANDOM_KEY
from mmcomformer.engine.run_comparison import differences
from mmcomformer.random_state import random_state, restore_random_state

pytestmark = pytest.mark.families


class Line(BaseModel):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, inputs, mode='loss'):
        return {'loss': (self.weight * inputs).sum()}


class Killed(BaseException):
    """Ends a run as a kill does: no handler of ours sees it."""


def run(work_dir, hook, iters=6, name='save', **resumed):
    MessageHub._instance_dict.clear()
    data = [{'inputs': torch.tensor([float(i)])} for i in range(8)]
    loader = DataLoader(data, batch_size=1)
    runner = Runner(
        model=Line(),
        work_dir=str(work_dir),
        train_dataloader=loader,
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.1}},
        train_cfg={'by_epoch': False, 'max_iters': iters},
        default_hooks={'checkpoint': None, 'logger': None},
        custom_hooks=hook if isinstance(hook, list) else [hook],
        experiment_name=f'{name}_{work_dir.name}',
        **resumed,
    )
    runner.train()


def hook_of(kind=SafeCheckpointHook, **arguments):
    return kind(by_epoch=False, interval=2, **arguments)


def files(work_dir):
    return sorted(path.name for path in Path(work_dir).glob('iter_*'))


@pytest.mark.parametrize('keep', [1, 2, -1])
def test_keeps_what_the_stock_hook_keeps(tmp_path, keep):
    run(tmp_path / 'ours', hook_of(max_keep_ckpts=keep))
    run(tmp_path / 'stock', hook_of(CheckpointHook, max_keep_ckpts=keep))
    assert files(tmp_path / 'ours') == files(tmp_path / 'stock')
    latest = find_latest_checkpoint(str(tmp_path / 'ours'))
    assert Path(latest).name == 'iter_6.pth'
    assert Path(latest).is_file()


def test_a_kill_while_writing(tmp_path, monkeypatch):
    """The third checkpoint is cut short: the second is there, complete, and pointed to."""
    saved = []

    def save(self, out_dir, filename, *args, **kwargs):
        saved.append(filename)
        if len(saved) == 3:
            (Path(out_dir) / filename).write_bytes(b'half')
            raise Killed
        original(self, out_dir, filename, *args, **kwargs)

    original = Runner.save_checkpoint
    monkeypatch.setattr(Runner, 'save_checkpoint', save)
    with pytest.raises(Killed):
        run(tmp_path, hook_of(max_keep_ckpts=1))
    latest = find_latest_checkpoint(str(tmp_path))
    assert Path(latest).name == 'iter_4.pth'
    assert torch.load(latest, weights_only=False)['meta']['iter'] == 4


class BestHook(Hook):
    """Saves a best checkpoint after the last iteration, as a validation would."""

    priority = 'LOWEST'

    def __init__(self, checkpoint_hook):
        self.checkpoint_hook = checkpoint_hook

    def after_train(self, runner):
        self.checkpoint_hook.after_val_epoch(runner, {'score': 1.0})


def test_kept_checkpoints_are_known_after_a_resume(tmp_path):
    """Else the oldest of before would stay for ever."""
    run(tmp_path, hook_of(max_keep_ckpts=2))
    assert files(tmp_path) == ['iter_4.pth', 'iter_6.pth']
    run(tmp_path, hook_of(max_keep_ckpts=2), iters=10, name='resumed', resume=True)
    assert files(tmp_path) == ['iter_10.pth', 'iter_8.pth']


def test_a_copied_run_leaves_the_best_checkpoint_of_the_original(tmp_path):
    """The paths that a checkpoint remembers are followed by name, in the present folder."""
    best = {'save_best': 'score', 'rule': 'greater', 'max_keep_ckpts': 1}
    original, copy = tmp_path / 'original', tmp_path / 'copy'
    hook = hook_of(**best)
    run(original, [BestHook(hook), hook], iters=2)
    # it has to be in a checkpoint, as after a validation in the middle of training
    path = original / 'iter_2.pth'
    checkpoint = torch.load(path, weights_only=False)
    checkpoint['message_hub']['runtime_info'].update(
        best_score=1.0, best_ckpt=str(original / 'best_score_iter_2.pth')
    )
    torch.save(checkpoint, path)
    shutil.copytree(original, copy)
    hook = hook_of(**best)
    hook.is_better_than = {'score': lambda new, old: True}
    run(copy, [BestHook(hook), hook], iters=4, resume=True, load_from=str(copy / 'iter_2.pth'))
    assert (original / 'best_score_iter_2.pth').exists()
    assert [path.name for path in copy.glob('best*')] == ['best_score_iter_4.pth']


def test_a_kill_before_the_pointer(tmp_path, monkeypatch):
    """Between renaming and pointing: the pointer names the older one, which still exists."""
    calls = []

    def replaced(path):
        calls.append(path)
        if Path(path).name == 'last_checkpoint' and len(calls) == 4:
            raise Killed
        return original(path)

    original = module.replaced_file
    monkeypatch.setattr(module, 'replaced_file', replaced)
    with pytest.raises(Killed):
        run(tmp_path, hook_of(max_keep_ckpts=1))
    latest = find_latest_checkpoint(str(tmp_path))
    assert Path(latest).name == 'iter_2.pth'
    assert Path(latest).is_file()


def test_written_to_last(tmp_path, monkeypatch):
    """The file is on the disk before it gets its name, and the name before the old file goes."""
    events = []
    flush, rename, unlink = os.fsync, os.replace, Path.unlink

    def note(verb, path):
        path = Path(path)
        name = 'folder' if path == tmp_path else re.sub(r'\.[0-9a-f]{8}-\d+\.tmp$', '', path.name)
        events.append((verb, name.lstrip('.')))

    def fsync(descriptor):
        note('flush', os.readlink(f'/proc/self/fd/{descriptor}'))
        flush(descriptor)

    def replace(source, target):
        note('rename', target)
        rename(source, target)

    def removed(path, missing_ok=False):
        if path.exists():
            note('remove', path)
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(os, 'fsync', fsync)
    monkeypatch.setattr(os, 'replace', replace)
    monkeypatch.setattr(Path, 'unlink', removed)
    run(tmp_path, hook_of(max_keep_ckpts=1), iters=4)
    expected = []
    for name in ('iter_4.pth', 'last_checkpoint'):
        expected += [('flush', name), ('rename', name), ('flush', 'folder')]
    assert events[-8:] == [*expected, ('rename', 'last.pth'), ('remove', 'iter_2.pth')]


class RisingHook(BestHook):
    """Saves a best checkpoint after every second iteration."""

    def after_train(self, runner):
        pass

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if batch_idx % 2:
            self.checkpoint_hook.after_val_epoch(runner, {'score': float(batch_idx)})


def rising():
    hook = hook_of(save_best='score', rule='greater', max_keep_ckpts=1)
    return [RisingHook(hook), hook]


def test_best_checkpoints_are_written_to_last(tmp_path, monkeypatch):
    """The new one is on the disk, with its name, when the former one goes."""
    removed, original = [], Path.unlink

    def unlink(path, missing_ok=False):
        if path.name == 'best_score_iter_1.pth':
            removed.append(sorted(one.name for one in tmp_path.glob('best_*')))
        original(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, 'unlink', unlink)
    run(tmp_path, rising(), iters=4)
    assert removed == [['best_score_iter_1.pth', 'best_score_iter_3.pth']]
    assert [path.name for path in tmp_path.glob('best_*')] == ['best_score_iter_3.pth']
    assert torch.load(tmp_path / 'best_score_iter_3.pth', weights_only=False)['meta']['iter'] == 3


def test_a_kill_while_a_best_checkpoint_is_written(tmp_path, monkeypatch):
    original = Runner.save_checkpoint

    def save(self, out_dir, filename, *args, **kwargs):
        if 'best_score_iter_3' in filename:
            (Path(out_dir) / filename).write_bytes(b'half')
            raise Killed
        original(self, out_dir, filename, *args, **kwargs)

    monkeypatch.setattr(Runner, 'save_checkpoint', save)
    with pytest.raises(Killed):
        run(tmp_path, rising(), iters=4)
    assert [path.name for path in tmp_path.glob('best_*')] == ['best_score_iter_1.pth']
    torch.load(tmp_path / 'best_score_iter_1.pth', weights_only=False)


def test_leftovers_of_killed_processes(tmp_path):
    """A run removes what a kill left half written, but nothing that another process writes."""
    killed = subprocess.Popen(['true'])
    killed.wait()
    with replaced_file(tmp_path / 'iter_3.pth') as temporary:
        temporary.touch()
        own = temporary.name.split('.')[-2].split('-')[0]
    for mark in ('', f'{own}-'):
        for process in (killed.pid, os.getpid(), os.getppid()):
            (tmp_path / f'.iter_3.pth.{mark}{process}.tmp').touch()
    # on another machine a process of that number may be writing
    for age in (0, 2 * 24 * 3600):
        foreign = tmp_path / f'.iter_{age}.pth.00000000-{killed.pid}.tmp'
        foreign.touch()
        os.utime(foreign, (time.time() - age,) * 2)
    run(tmp_path, hook_of())
    assert sorted(path.name for path in tmp_path.glob('.*')) == sorted(
        [
            f'.iter_0.pth.00000000-{killed.pid}.tmp',
            f'.iter_3.pth.{os.getppid()}.tmp',
            f'.iter_3.pth.{own}-{os.getppid()}.tmp',
        ]
    )


def test_machines_write_different_temporary_files(tmp_path, monkeypatch):
    names = []
    for host in ('one', 'two'):
        monkeypatch.setattr(socket, 'gethostname', lambda host=host: host)
        atomic._machine_mark.cache_clear()
        with replaced_file(tmp_path / 'a') as temporary:
            names.append(temporary.name)
            temporary.touch()
    atomic._machine_mark.cache_clear()
    assert names[0] != names[1]


def test_two_runs_write_different_temporary_files(tmp_path, monkeypatch):
    names = []
    original = Runner.save_checkpoint

    def save(self, out_dir, filename, *args, **kwargs):
        names.append(filename)
        original(self, out_dir, filename, *args, **kwargs)

    monkeypatch.setattr(Runner, 'save_checkpoint', save)
    for number, process in enumerate((11, 12)):
        monkeypatch.setattr(os, 'getpid', lambda process=process: process)
        run(tmp_path / 'run', hook_of(), iters=2, name=f'run{number}')
    assert [name.rpartition('-')[2] for name in names] == ['11.tmp', '12.tmp']


class Images(Dataset):
    """Each image has noise of its own."""

    def __len__(self):
        return 6

    def __getitem__(self, index):
        return {'inputs': index + random.random() + np.random.rand()}


class Noisy(BaseModel):
    """Uses every generator in training, and in validation too."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(2))
        self.norm = torch.nn.BatchNorm1d(1)

    def forward(self, inputs, mode='loss'):
        noise = torch.rand(2) + random.random() + np.random.rand()
        value = self.norm(torch.tensor(inputs, dtype=torch.float32)[:, None]).sum()
        if mode == 'predict':
            return [value]
        return {'loss': ((self.weight * noise).sum() * value - 1).square()}


class Score(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results.append(float(data_samples[0]))

    def compute_metrics(self, results):
        return {'score': results[0]}


class KillHook(Hook):
    """Ends the run before an iteration, or in a validation."""

    def __init__(self, before=None, in_validation_at=None):
        self.before, self.in_validation_at = before, in_validation_at

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.before:
            raise Killed

    def before_val_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.in_validation_at:
            raise Killed


def loader(workers, sampler):
    return {
        'dataset': Images(),
        'sampler': {'type': sampler},
        'batch_size': 2,
        'num_workers': workers,
        'persistent_workers': False,
        'collate_fn': {'type': 'pseudo_collate'},
    }


def noisy_run(
    work_dir, *, resume=False, kill=None, workers=0, hooks=(), keep=-1, model=Noisy, **settings
):
    """Train for 9 iterations, with a validation after 4 and 8, and return the last checkpoint."""
    MessageHub._instance_dict.clear()
    arguments = {
        'optim_wrapper': {'optimizer': {'type': 'AdamW', 'lr': 0.01}},
        'param_scheduler': {'type': 'PolyLR', 'by_epoch': False, 'end': 9},
        'randomness': {'seed': 5},
        'train_cfg': {'by_epoch': False, 'max_iters': 9, 'val_interval': 4},
        'log_level': 'ERROR',
        'interval': 1,
        'by_epoch': False,
        'sampler': 'ContinualSampler',
        **settings,
    }
    interval, by_epoch = arguments.pop('interval'), arguments.pop('by_epoch')
    runner = Runner(
        model=model(),
        work_dir=str(work_dir),
        train_dataloader=loader(workers, arguments.pop('sampler')),
        val_dataloader=loader(0, 'DefaultSampler'),
        val_cfg={},
        val_evaluator=Evaluator(Score()),
        default_hooks={
            'logger': None,
            'checkpoint': {
                'type': 'SafeCheckpointHook',
                'by_epoch': by_epoch,
                'interval': interval,
                'max_keep_ckpts': keep,
                **arguments.pop('saving', {}),
            },
        },
        custom_hooks=[KillHook(**(kill or {})), *hooks],
        experiment_name=f'{work_dir}-{len(list(work_dir.glob("*")))}'.replace('/', '-'),
        resume=resume,
        **arguments,
    )
    try:
        runner.train()
    finally:
        # ends worker processes at once; the garbage collector lets them wait for seconds
        runner.train_loop.dataloader_iterator = None
    return load_weights_only(work_dir / ('epoch_3.pth' if by_epoch else 'iter_9.pth'))


def assert_equal(checkpoint, expected):
    """Compare bit by bit all that a training goes on with."""
    keys = ('state_dict', 'optimizer', 'param_schedulers', 'ema_state_dict', RANDOM_KEY, DATA_KEY)
    parts = [{key: file.get(key) for key in keys} for file in (expected, checkpoint)]
    assert differences(*parts) == []
    assert None not in (parts[0][RANDOM_KEY], parts[0][DATA_KEY])
    losses = [
        file['message_hub']['log_scalars']['train/loss'].data[0] for file in (expected, checkpoint)
    ]
    assert len(losses[0]) == 9
    assert differences(*losses) == []


KILLS = [{'before': 1}, {'in_validation_at': 4}, {'before': 7}, {'in_validation_at': 8}]


class TestSameBits:
    @pytest.mark.parametrize(('workers', 'kills'), [(0, KILLS), (2, KILLS[1:2])])
    def test_killed_again_and_again(self, tmp_path, workers, kills):
        expected = noisy_run(tmp_path / 'whole')
        for number, kill in enumerate(kills):
            with pytest.raises(Killed):
                noisy_run(tmp_path / 'killed', resume=number > 0, kill=kill, workers=workers)
        assert_equal(noisy_run(tmp_path / 'killed', resume=True, workers=workers), expected)

    @pytest.mark.parametrize('interval', [2, 3])
    def test_with_checkpoints_now_and_then(self, tmp_path, interval):
        expected = noisy_run(tmp_path / 'whole', interval=interval)
        with pytest.raises(Killed):
            noisy_run(tmp_path / 'killed', kill={'before': 5}, interval=interval)
        assert_equal(noisy_run(tmp_path / 'killed', resume=True, interval=interval), expected)

    def test_validation_changes_nothing(self, tmp_path):
        expected = noisy_run(tmp_path / 'whole')
        checkpoint = noisy_run(
            tmp_path / 'blind', train_cfg={'by_epoch': False, 'max_iters': 9, 'val_interval': 100}
        )
        assert_equal(checkpoint, expected)

    def test_moving_average(self, tmp_path):
        ema = {'type': 'EMAHook', 'momentum': 0.1, 'update_buffers': True}
        expected = noisy_run(tmp_path / 'whole', hooks=[ema])
        with pytest.raises(Killed):
            noisy_run(tmp_path / 'killed', kill={'before': 5}, hooks=[ema])
        checkpoint = noisy_run(tmp_path / 'killed', resume=True, hooks=[ema])
        assert_equal(checkpoint, expected)
        weights = (
            checkpoint['state_dict']['weight'],
            checkpoint['ema_state_dict']['module.weight'],
        )
        assert not torch.equal(*weights)

    def test_accumulated_gradients(self, tmp_path):
        """No checkpoint holds gradients, so it waits for the update."""
        settings = {
            'optim_wrapper': {'optimizer': {'type': 'SGD', 'lr': 0.01}, 'accumulative_counts': 4}
        }
        expected = noisy_run(tmp_path / 'whole', interval=3, **settings)
        assert files(tmp_path / 'whole') == ['iter_4.pth', 'iter_8.pth', 'iter_9.pth']
        with pytest.raises(Killed):
            noisy_run(tmp_path / 'killed', kill={'before': 7}, interval=3, **settings)
        checkpoint = noisy_run(tmp_path / 'killed', resume=True, interval=3, **settings)
        assert_equal(checkpoint, expected)

    def test_saved_again_in_a_validation(self, tmp_path):
        """With a best checkpoint the last one is written anew, by which time data were loaded."""
        settings = {'saving': {'save_best': 'score', 'rule': 'less'}}
        expected = noisy_run(tmp_path / 'whole', **settings)
        with pytest.raises(Killed):
            noisy_run(tmp_path / 'killed', kill={'before': 4}, **settings)
        assert list((tmp_path / 'killed').glob('best_score_iter_4.pth'))
        assert_equal(noisy_run(tmp_path / 'killed', resume=True, **settings), expected)

    def test_epochs(self, tmp_path):
        settings = {
            'sampler': 'DefaultSampler',
            'by_epoch': True,
            'train_cfg': {'by_epoch': True, 'max_epochs': 3},
            'param_scheduler': {'type': 'PolyLR', 'end': 3},
        }
        expected = noisy_run(tmp_path / 'whole', **settings)
        with pytest.raises(Killed):
            noisy_run(tmp_path / 'killed', kill={'before': 4}, **settings)
        checkpoint = noisy_run(tmp_path / 'killed', resume=True, **settings)
        # an epoch has three iterations, and its sampler keeps no place
        assert DATA_KEY not in checkpoint
        assert differences(expected['state_dict'], checkpoint['state_dict']) == []
        assert differences(expected[RANDOM_KEY], checkpoint[RANDOM_KEY]) == []

    def test_without_a_seed(self, tmp_path):
        """The seed that was drawn is in the checkpoint, for the data too."""
        settings = {'randomness': {'seed': None}}
        with pytest.raises(Killed):
            noisy_run(tmp_path / 'killed', kill={'before': 5}, **settings)
        seed = load_weights_only(tmp_path / 'killed' / 'iter_5.pth')['meta']['seed']
        expected = noisy_run(tmp_path / 'whole', randomness={'seed': seed})
        np.random.seed(77)
        checkpoint = noisy_run(tmp_path / 'killed', resume=True, **settings)
        assert_equal(checkpoint, expected)

    def test_checkpoint_of_before(self, tmp_path, capfd):
        with pytest.raises(Killed):
            noisy_run(tmp_path, kill={'before': 5})
        path = tmp_path / 'iter_5.pth'
        checkpoint = load_weights_only(path)
        del checkpoint[RANDOM_KEY], checkpoint[DATA_KEY]
        torch.save(checkpoint, path)
        capfd.readouterr()
        checkpoint = noisy_run(tmp_path, resume=True, log_level='WARNING')
        assert 'the checkpoint has no states of random generators' in ''.join(capfd.readouterr())
        # the place in the data follows from the iterations
        assert checkpoint[DATA_KEY] == {'seed': 5, 'draws': 18}


def test_every_process_is_restored(monkeypatch):
    """A process takes its own state; of more processes than before, some share one."""
    states = []
    for _ in range(2):
        states.append(random_state())
        torch.rand(1)
    expected = []
    for state in states:
        restore_random_state(state)
        expected.append(torch.rand(1))
    for rank, number in ((0, 0), (1, 1), (2, 0)):
        monkeypatch.setattr(module, 'get_rank', lambda rank=rank: rank)
        hook = hook_of()
        hook.after_load_checkpoint(SimpleNamespace(_resume=True), {RANDOM_KEY: states})
        hook.before_train_iter(None, 0)
        assert torch.rand(1) == expected[number]


def test_every_process_is_saved(tmp_path, monkeypatch):
    monkeypatch.setattr(module, 'all_gather_object', lambda state: [state, 'of the second'])
    states = noisy_run(tmp_path)[RANDOM_KEY]
    assert states[1] == 'of the second'
    assert states[0].keys() == random_state().keys()


def test_loading_to_fine_tune_takes_nothing_over():
    hook = hook_of()
    hook.after_load_checkpoint(SimpleNamespace(_resume=False), {})
    assert hook._resumed == {}


class Overflowing(Noisy):
    """Its loss is finite; its scaled gradient overflows until the scale has come down."""

    def forward(self, inputs, mode='loss'):
        outputs = super().forward(inputs, mode)
        if mode == 'loss':
            # in float16, a gradient of 2^16 or more is infinite
            outputs = {'loss': _HalfGradient.apply(outputs['loss'].float())}
        return outputs


class _HalfGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value):
        return value.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient.half().float()


@pytest.fixture
def scaler_on_cpu(monkeypatch):
    """Let mmengine's AMP wrapper run here, with torch's own scaler for the CPU."""
    wrapper = importlib.import_module('mmengine.optim.optimizer.amp_optimizer_wrapper')
    monkeypatch.setattr(wrapper, 'is_cuda_available', lambda: True)
    monkeypatch.setattr(wrapper, 'GradScaler', functools.partial(torch.amp.GradScaler, 'cpu'))


@pytest.mark.usefixtures('scaler_on_cpu')
class TestOverflow:
    SETTINGS = {
        'optim_wrapper': {
            'type': 'AmpOptimWrapper',
            'optimizer': {'type': 'AdamW', 'lr': 0.01},
            'clip_grad': {'max_norm': 1.0},
            'loss_scale': {'init_scale': 2.0**18, 'growth_interval': 3},
        },
        'model': Overflowing,
        'hooks': [{'type': 'FiniteLossHook'}],
    }

    def test_step_is_skipped_and_the_run_goes_on(self, tmp_path):
        noisy_run(tmp_path, **self.SETTINGS)
        saved = [load_weights_only(tmp_path / f'iter_{i}.pth') for i in range(1, 10)]
        scales = [checkpoint['optimizer']['loss_scaler']['scale'] for checkpoint in saved]
        # halved at each overflow, doubled after three steps without one
        assert scales[:6] == [2.0**17, 2.0**16, 2.0**15, 2.0**15, 2.0**15, 2.0**16]
        for i, overflow in enumerate([True, True, False], start=1):
            unchanged = torch.equal(*(saved[j]['state_dict']['weight'] for j in (i - 1, i)))
            assert unchanged == overflow
        assert np.isfinite(saved[-1]['message_hub']['log_scalars']['train/loss'].data[0]).all()

    @pytest.mark.parametrize('before', [2, 4])
    def test_scale_and_skipped_steps_survive(self, tmp_path, before):
        expected = noisy_run(tmp_path / 'whole', **self.SETTINGS)
        with pytest.raises(Killed):
            noisy_run(tmp_path / 'killed', kill={'before': before}, **self.SETTINGS)
        assert_equal(noisy_run(tmp_path / 'killed', resume=True, **self.SETTINGS), expected)

    def test_loss_that_is_not_finite_stops(self, tmp_path):
        settings = {**self.SETTINGS, 'model': NotANumber}
        with pytest.raises(RuntimeError, match='are not finite'):
            noisy_run(tmp_path, **settings)


class NotANumber(Noisy):
    def forward(self, inputs, mode='loss'):
        return {'loss': super().forward(inputs, mode)['loss'] * float('nan')}
