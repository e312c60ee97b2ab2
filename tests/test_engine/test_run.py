"""A run of all steps, in this process: what it leaves, and how later commands use it."""

import dataclasses
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from mmengine.visualization import TensorboardVisBackend
from small_runs import CONFIG, hash_of, small_options

from mmcomformer.engine import driver
from mmcomformer.engine.checkpoint import (
    file_sha256,
    previous_checkpoint,
    raw_weights,
    read_checkpoint,
)
from mmcomformer.engine.evaluate import evaluate
from mmcomformer.engine.request import Request, load_config
from mmcomformer.engine.run_lock import RunLock
from mmcomformer.engine.state import resume_point
from mmcomformer.registry import MODELS

pytestmark = pytest.mark.families


def checkpoint_of(work_dir, step):
    return previous_checkpoint(Path(work_dir) / f'step{step}')


@pytest.fixture
def copied_run(finished_run, tmp_path):
    """A copy of the finished run that a test may spoil."""
    work_dir, _, options = finished_run
    target = tmp_path / 'shapes'
    shutil.copytree(work_dir, target)
    return target, dict(options)


def images_with(root, names, split='train'):
    """Count by hand the images that hold a class."""
    data = json.loads((Path(root) / f'annotations/panoptic_{split}.json').read_text())
    ids = {category['id'] for category in data['categories'] if category['name'] in names}
    return sum(
        any(segment['category_id'] in ids for segment in annotation['segments_info'])
        for annotation in data['annotations']
    )


class TestWhatARunLeaves:
    def test_summary(self, finished_run, shapes_root):
        summary = json.loads((finished_run[0] / 'summary.json').read_text())
        assert [entry['step'] for entry in summary['steps']] == [0, 1, 2]
        assert [len(entry['classes']) for entry in summary['steps']] == [6, 3, 3]
        for entry in summary['steps']:
            assert entry['train_iters'] == 3
            assert entry['train_images'] == images_with(shapes_root, entry['classes'])

    def test_no_teacher_in_checkpoints(self, finished_run):
        for step in range(3):
            checkpoint = read_checkpoint(checkpoint_of(finished_run[0], step))
            cfg = load_config(Request(config=CONFIG, cfg_options=finished_run[2]), step)
            with_scope = MODELS.build({**cfg.model, '_scope_': 'mmdet'})
            assert set(checkpoint['state_dict']) == set(with_scope.state_dict())
            parameters = sum(1 for _ in with_scope.parameters())
            assert len(checkpoint['optimizer']['state']) == parameters

    def test_meta(self, finished_run):
        previous = None
        for step in range(3):
            path = checkpoint_of(finished_run[0], step)
            meta = read_checkpoint(path, mmap=True)['meta']
            assert meta['iter'] == 3
            assert meta['continual']['step'] == step
            assert meta['continual']['max_iters'] == 3
            teacher = meta['continual']['teacher']
            if step == 0:
                assert teacher is None
            else:
                assert teacher['step'] == step - 1
                assert teacher['sha256'] == file_sha256(previous)
                assert teacher['path'] == str(previous.resolve())
            previous = path

    def test_two_checkpoints_are_kept_and_no_temporary_file(self, finished_run):
        for step in range(3):
            folder = (finished_run[0] / f'step{step}').iterdir()
            files = sorted(path.name for path in folder if '.pth' in path.name)
            assert files == ['iter_2.pth', 'iter_3.pth', 'last.pth']

    def test_teacher_never_changes(self, finished_run):
        work_dir, records, _ = finished_run
        assert [r['step'] for r in records] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
        for record in records:
            has_teacher = record['step'] > 0
            assert record['pseudo'] == has_teacher
            assert ('loss_distill' in record['losses']) == has_teacher
            if has_teacher:
                weights = read_checkpoint(checkpoint_of(work_dir, record['step'] - 1))['state_dict']
                assert record['hash'] == hash_of(weights)
                assert record['training'] is False
            else:
                assert record['hash'] is None

    def test_teacher_is_released_after_training(self, finished_run):
        """Evaluation, and the next step's training, have its memory."""
        assert [record.get('released') for record in finished_run[1]] == [None, None, True] * 3

    def test_student_starts_from_the_step_before(self, finished_run):
        """Three small updates leave the weights near those of step 0, not near a fresh draw."""
        before = read_checkpoint(checkpoint_of(finished_run[0], 0))['state_dict']
        after = read_checkpoint(checkpoint_of(finished_run[0], 1))['state_dict']
        name = 'panoptic_head.transformer_decoder.layers.0.self_attn.attn.in_proj_weight'
        assert torch.allclose(before[name], after[name], atol=0.02)
        assert not torch.equal(before[name], after[name])


class TestResume:
    def resume(self, run, **changes):
        work_dir, options = run
        request = Request(config=CONFIG, work_dir=str(work_dir), resume=True, cfg_options=options)
        driver.run(dataclasses.replace(request, **changes))

    def test_finished_steps_are_skipped(self, copied_run, monkeypatch):
        work_dir, _ = copied_run
        before = (work_dir / 'summary.json').read_bytes()

        def fail(cfg):
            raise AssertionError('nothing is left to do')

        monkeypatch.setattr(driver.Runner, 'from_cfg', fail)
        self.resume(copied_run)
        assert (work_dir / 'summary.json').read_bytes() == before
        assert not (work_dir / 'run.lock').exists()

    @pytest.mark.parametrize('save_best', [None, 'continual/PQ'])
    def test_only_evaluated_where_training_is_complete(self, copied_run, monkeypatch, save_best):
        work_dir, options = copied_run
        if save_best:
            options['default_hooks.checkpoint.save_best'] = save_best
            options['default_hooks.checkpoint.rule'] = 'greater'
        last = drop_last_entry(work_dir)
        monkeypatch.setattr(Runner, 'train', None)
        shown = []
        monkeypatch.setattr(
            TensorboardVisBackend,
            'add_scalars',
            lambda self, values, step=0, *args: shown.append((step, values.get('continual/PQ'))),
        )
        options['visualizer.vis_backends'] = [{'type': 'TensorboardVisBackend'}]
        self.resume(copied_run)
        # trackers see it where the training of the last of three steps ended
        entries = json.loads((work_dir / 'summary.json').read_text())['steps']
        iters = sum(entry['train_iters'] for entry in entries)
        assert [(step, value is not None) for step, value in shown] == [(iters, True)]
        again = json.loads((work_dir / 'summary.json').read_text())['steps'][-1]
        assert again['metrics'] == last['metrics']
        assert again['train_images'] == last['train_images']
        assert again['train_iters'] == last['train_iters']

    def test_teacher_is_found_by_its_name_in_a_moved_folder(self, copied_run):
        work_dir, _ = copied_run
        forget_step(work_dir, 2)
        self.resume(copied_run)
        teacher = read_checkpoint(checkpoint_of(work_dir, 2))['meta']['continual']['teacher']
        assert teacher['path'] == str((work_dir / 'step1/iter_3.pth').resolve())

    def test_training_goes_on_in_the_present_folder(self, finished_run, tmp_path):
        """A copy resumes from its own checkpoint: not from the original's, nor from its teacher.

        The learning rate is so small that the resumed iteration leaves the planted value in place.
        """
        first, copy = tmp_path / 'first', tmp_path / 'copy'
        shutil.copytree(finished_run[0], first)
        options = {**finished_run[2], **TINY_RATE}
        train_two_iterations(first, options, step=1)
        shutil.copytree(first, copy)
        plant(first, 1, 111.0)
        plant(copy, 1, 222.0)
        self.resume((copy, options), step=1)
        checkpoint = read_checkpoint(checkpoint_of(copy, 1))
        assert checkpoint['meta']['iter'] == 3
        assert planted(checkpoint) == pytest.approx(222.0, abs=0.1)
        assert planted(read_checkpoint(checkpoint_of(first, 1))) == 111.0

    def test_resume_in_the_options(self, copied_run, monkeypatch):
        # nothing is left to do
        monkeypatch.setattr(driver.Runner, 'from_cfg', None)
        copied_run[1]['resume'] = True
        before = (copied_run[0] / 'summary.json').read_bytes()
        self.resume(copied_run, resume=False)
        assert (copied_run[0] / 'summary.json').read_bytes() == before

    def test_resume_and_load_from(self, finished_run, tmp_path):
        options = {**finished_run[2], 'resume': True, 'load_from': 'some.pth'}
        with pytest.raises(ValueError, match='resume: .*load_from names some.pth'):
            self.resume((tmp_path, options), resume=False)

    def test_seed_that_was_drawn(self, shapes_root, tmp_path):
        """The sampler of the resumed run has the seed that was drawn for the first one."""
        options = {**small_options(shapes_root), 'randomness': {'seed': None}}
        train_two_iterations(tmp_path, options, step=0)
        seed = read_checkpoint(checkpoint_of(tmp_path, 0))['meta']['seed']
        options['default_hooks.sampler'] = {'type': 'SamplerSeedHook'}
        SamplerSeedHook.seeds.clear()
        self.resume((tmp_path, options), step=0)
        assert SamplerSeedHook.seeds == [seed]


@HOOKS.register_module()
class SamplerSeedHook(Hook):
    """Note the seed of the sampler of a training."""

    seeds = []

    def before_train(self, runner):
        self.seeds.append(runner.train_dataloader.sampler.seed)


TINY_RATE = {'optim_wrapper.optimizer.lr': 1e-12, 'optim_wrapper.optimizer.weight_decay': 0.0}
PLANTED = 'panoptic_head.query_feat.weight'


@HOOKS.register_module()
class StopHook(Hook):
    """End a training as a kill does after its second iteration, when a checkpoint is there."""

    priority = 'LOWEST'

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter == 1:
            raise KeyboardInterrupt


def train_two_iterations(work_dir, options, step):
    options = {**options, 'default_hooks.stop': {'type': 'StopHook'}}
    request = Request(
        config=CONFIG, work_dir=str(work_dir), step=step, overwrite=True, cfg_options=options
    )
    with pytest.raises(KeyboardInterrupt):
        driver.run(request)
    assert checkpoint_of(work_dir, step).name == 'iter_2.pth'


def plant(work_dir, step, value):
    """Write a value that tells checkpoints apart into one."""
    path = checkpoint_of(work_dir, step)
    checkpoint = read_checkpoint(path)
    checkpoint['state_dict'][PLANTED][0, 0] = value
    torch.save(checkpoint, path)


def planted(checkpoint):
    return float(checkpoint['state_dict'][PLANTED][0, 0])


def drop_last_entry(work_dir):
    path = work_dir / 'summary.json'
    summary = json.loads(path.read_text())
    last = summary['steps'].pop()
    path.write_text(json.dumps(summary))
    return last


def forget_step(work_dir, step):
    """Remove what the last step has left."""
    shutil.rmtree(work_dir / f'step{step}')
    drop_last_entry(work_dir)


class TestRunsOfAnother:
    """What is there is not overwritten, and nothing goes on from what does not fit."""

    def run_(self, run, **changes):
        work_dir, options = run
        driver.run(Request(config=CONFIG, work_dir=str(work_dir), cfg_options=options, **changes))

    def test_rerun_needs_a_word(self, copied_run):
        before = tree(copied_run[0])
        with pytest.raises(RuntimeError, match=r'step 0 has .*--resume .*--overwrite .*--work-dir'):
            self.run_(copied_run)
        assert tree(copied_run[0]) == before

    def test_later_steps_are_looked_at_first(self, copied_run):
        work_dir, _ = copied_run
        shutil.rmtree(work_dir / 'step0')
        path = work_dir / 'summary.json'
        path.unlink()
        with pytest.raises(RuntimeError, match='step 1 has a checkpoint'):
            self.run_(copied_run)
        assert not (work_dir / 'step0').exists()

    def test_overwrite(self, copied_run):
        """Killed before its first checkpoint, the new run does not go on from the old one."""
        work_dir, options = copied_run
        before = (work_dir / 'step0/iter_3.pth').read_bytes()
        options['default_hooks.checkpoint.interval'] = 100
        options['default_hooks.stop'] = {'type': 'StopHook'}
        with pytest.raises(KeyboardInterrupt):
            self.run_(copied_run, step=1, overwrite=True)
        assert (work_dir / 'step0/iter_3.pth').read_bytes() == before
        assert not list((work_dir / 'step1').glob('*.pth'))
        summary = json.loads((work_dir / 'summary.json').read_text())
        assert [entry['step'] for entry in summary['steps']] == [0]
        assert summary['final']['PQ']['all'] == summary['steps'][0]['metrics']['PQ']['all']
        del options['default_hooks.stop']
        cfg = load_config(Request(config=CONFIG, work_dir=str(work_dir), cfg_options=options), 1)
        assert resume_point(cfg, resume=True).state == 'new'

    def test_overwrite_and_resume(self, copied_run):
        with pytest.raises(ValueError, match='--resume and --overwrite contradict'):
            self.run_(copied_run, resume=True, overwrite=True)

    def test_results_without_a_checkpoint(self, copied_run):
        shutil.rmtree(copied_run[0] / 'step2')
        with pytest.raises(RuntimeError, match='step 2 has results .*no checkpoint.*--overwrite'):
            self.run_(copied_run, resume=True)

    def test_another_process(self, copied_run):
        """A lock of a living process; the error names it."""
        lock = RunLock(copied_run[0])
        lock.acquire()
        try:
            with pytest.raises(
                RuntimeError, match=f'process {os.getpid()} on .*, since .*run.lock'
            ):
                self.run_(copied_run, resume=True)
        finally:
            lock.release()

    def test_teacher_is_remembered(self, finished_run, tmp_path):
        """--resume without the --teacher that the run began with goes on at the same step."""
        options = {**finished_run[2], 'default_hooks.stop': {'type': 'StopHook'}}
        teacher = str(checkpoint_of(finished_run[0], 0))
        run = tmp_path, options
        for interval in (100, 2):
            options['default_hooks.checkpoint.interval'] = interval
            # the first kill comes before any checkpoint
            resume = interval == 2
            with pytest.raises(KeyboardInterrupt):
                self.run_(run, teacher=None if resume else teacher, resume=resume)
            assert sorted(path.name for path in tmp_path.glob('step*')) == ['step1']
        assert checkpoint_of(tmp_path, 1).name == 'iter_2.pth'

    def test_teacher_that_is_gone(self, copied_run):
        work_dir, _ = copied_run
        shutil.rmtree(work_dir / 'step0')
        forget_step(work_dir, 2)
        path = work_dir / 'step1/iter_3.pth'
        checkpoint = read_checkpoint(path)
        checkpoint['meta']['iter'] = 2
        checkpoint['meta']['continual']['teacher']['path'] = str(work_dir / 'step0/iter_3.pth')
        torch.save(checkpoint, path)
        with pytest.raises(FileNotFoundError, match='no checkpoint in .*step0.*pass --teacher'):
            self.run_(copied_run, resume=True)


def tree(folder):
    """Return the content of all files of a folder."""
    return {path: path.read_bytes() for path in folder.rglob('*') if path.is_file()}


class TestTeacherErrors:
    def train(self, work_dir, options, step, **changes):
        request = Request(
            config=CONFIG,
            work_dir=str(work_dir),
            step=step,
            overwrite=True,
            cfg_options=options,
            **changes,
        )
        driver.run(request)

    def test_missing(self, finished_run, tmp_path):
        with pytest.raises(FileNotFoundError, match='step0: train that step first .*--step 0'):
            self.train(tmp_path / 'empty', finished_run[2], 1)

    def test_unfinished(self, copied_run):
        work_dir, options = copied_run
        path = checkpoint_of(work_dir, 0)
        checkpoint = read_checkpoint(path)
        checkpoint['meta']['iter'] = 2
        torch.save(checkpoint, path)
        with pytest.raises(RuntimeError, match='stopped at iteration 2 of 3; finish it with'):
            self.train(work_dir, options, 1)

    def test_unfinished_on_request(self, copied_run):
        work_dir, options = copied_run
        path = checkpoint_of(work_dir, 0)
        checkpoint = read_checkpoint(path)
        checkpoint['meta']['iter'] = 2
        torch.save(checkpoint, path)
        self.train(work_dir, options, 1, teacher=str(path))
        (log,) = (
            text
            for file in (work_dir / 'step1').rglob('*.log')
            if 'WARNING' in (text := file.read_text()) and 'stopped at' in text
        )
        assert f'checkpoint {path}: its training stopped at iteration 2 of 3' in log

    @pytest.mark.parametrize('kind', ['missing', 'unexpected', 'of another shape'])
    def test_weights(self, copied_run, kind):
        work_dir, options = copied_run
        path = checkpoint_of(work_dir, 0)
        checkpoint = read_checkpoint(path)
        name = 'panoptic_head.query_feat.weight'
        if kind == 'missing':
            del checkpoint['state_dict'][name]
        elif kind == 'unexpected':
            name = 'extra.weight'
            checkpoint['state_dict'][name] = torch.ones(1)
        else:
            checkpoint['state_dict'][name] = torch.ones(3, 3)
        torch.save(checkpoint, path)
        before = tree(work_dir / 'step2')
        with pytest.raises(RuntimeError, match=f'do not fit the model.*{kind}: {name}'):
            self.train(work_dir, options, 1)
        # not even what was to be overwritten is gone
        assert checkpoint_of(work_dir, 1).name == 'iter_3.pth'
        assert tree(work_dir / 'step2') == before

    def test_load_from(self, copied_run):
        work_dir, options = copied_run
        options['load_from'] = str(checkpoint_of(work_dir, 0))
        with pytest.raises(ValueError, match='load_from: step 1 starts from .*pass it as --teach'):
            self.train(work_dir, options, 1)

    def test_nothing_is_written_by_a_refused_step(self, copied_run):
        work_dir, options = copied_run
        before = checkpoint_of(work_dir, 1).read_bytes(), (work_dir / 'summary.json').read_bytes()
        checkpoint_of(work_dir, 0).write_bytes(b'not a checkpoint')
        with pytest.raises(RuntimeError, match='not a checkpoint'):
            self.train(work_dir, options, 1)
        after = checkpoint_of(work_dir, 1).read_bytes(), (work_dir / 'summary.json').read_bytes()
        assert before == after


def test_checkpoint_of_another_increment_serves(finished_run, tmp_path, shapes_root):
    """Step 0 of 6-3 is a teacher for 6-6 too: only the classes seen by then count."""
    config = tmp_path / 'six_six.py'
    config.write_text(f'_base_ = {CONFIG!r}\nscenario = dict(increments=[6, 6])\n')
    work_dir = tmp_path / 'six_six'
    request = Request(
        config=str(config),
        work_dir=str(work_dir),
        teacher=str(checkpoint_of(finished_run[0], 0)),
        cfg_options=small_options(shapes_root),
    )
    driver.run(request)
    summary = json.loads((work_dir / 'summary.json').read_text())
    # step 0 is that of the other run
    assert [entry['step'] for entry in summary['steps']] == [0, 1]
    assert summary['steps'][0]['of_run'] == str(finished_run[0])
    assert len(summary['steps'][1]['classes']) == 6
    assert summary['final']['PQ']['avg'] is not None


@HOOKS.register_module()
class KeepWeightsHook(Hook):
    """Keep a copy of the trained weights."""

    weights = {}

    def after_train(self, runner):
        self.weights.update({k: v.clone() for k, v in runner.model.named_parameters()})


def test_a_moving_average_is_not_the_teacher(shapes_root, tmp_path):
    options = small_options(shapes_root)
    options['custom_hooks'] = [
        {'type': 'PseudoLabelHook'},
        {'type': 'KeepWeightsHook'},
        {'type': 'EMAHook', 'momentum': 0.5},
    ]
    driver.run(Request(config=CONFIG, step=0, work_dir=str(tmp_path), cfg_options=options))
    checkpoint = read_checkpoint(checkpoint_of(tmp_path, 0))
    trained = KeepWeightsHook.weights
    restored = raw_weights(checkpoint, trained)
    name = 'panoptic_head.query_feat.weight'
    assert not torch.equal(checkpoint['state_dict'][name], trained[name])
    assert all(torch.equal(restored[name], trained[name]) for name in trained)
    assert set(restored) == set(checkpoint['state_dict'])


class TestEvaluate:
    def test_equals_the_summary(self, finished_run, tmp_path):
        work_dir, _, options = finished_run
        request = Request(config=CONFIG, work_dir=str(tmp_path), cfg_options=options)
        metrics = evaluate(
            request, str(checkpoint_of(work_dir, 1)), show_dir=str(tmp_path / 'show')
        )
        entry = json.loads((work_dir / 'summary.json').read_text())['steps'][1]
        assert metrics['continual/PQ'] == pytest.approx(entry['metrics']['PQ']['all'])
        assert metrics['continual/PQ_base'] == pytest.approx(entry['metrics']['PQ']['base'])
        assert len(list((tmp_path / 'show').glob('*.jpg'))) == 8

    def test_another_class_order(self, finished_run, tmp_path):
        """The classes of the checkpoint would be scored under other names."""
        config = tmp_path / 'other.py'
        scenario = load_config(Request(config=CONFIG), 1).scenario.to_dict()
        order = scenario['class_order']
        order[0], order[1] = order[1], order[0]
        config.write_text(
            f'_base_ = {CONFIG!r}\n'
            f'scenario = dict({scenario!r})\n'
            'model = dict(panoptic_head=dict(scenario=scenario))\n'
            'train_dataloader = dict(dataset=dict(scenario=scenario))\n'
            'val_dataloader = dict(dataset=dict(scenario=scenario))\n'
            'test_dataloader = dict(dataset=dict(scenario=scenario))\n'
        )
        request = Request(config=str(config), work_dir=str(tmp_path), cfg_options=finished_run[2])
        with pytest.raises(RuntimeError, match='the same classes in another order'):
            evaluate(request, str(checkpoint_of(finished_run[0], 1)))

    def test_wrong_step(self, finished_run):
        work_dir, _, options = finished_run
        request = Request(config=CONFIG, step=0, cfg_options=options)
        with pytest.raises(ValueError, match='is of step 1, but step 0 was asked for'):
            evaluate(request, str(checkpoint_of(work_dir, 1)))


def test_loss_that_is_not_finite_stops(shapes_root, tmp_path):
    """The report has iteration, losses and images; the last good checkpoint stays."""
    options = small_options(
        shapes_root,
        **{
            'default_hooks.checkpoint.interval': 1,
            'train_cfg.max_iters': 6,
            'optim_wrapper.optimizer.lr': 1e30,
            'optim_wrapper.clip_grad': None,
        },
    )
    request = Request(config=CONFIG, step=0, work_dir=str(tmp_path), cfg_options=options)
    with pytest.raises(RuntimeError, match=r'iteration \d+: losses .* not finite') as caught:
        driver.run(request)
    assert f'{shapes_root}/train/' in str(caught.value)
    saved = read_checkpoint(checkpoint_of(tmp_path, 0))
    assert saved['meta']['iter'] == int(str(caught.value).split(':')[0].split()[1]) - 1


class TestEpochs:
    """Training that counts epochs: two, of two batches each."""

    def options(self, root):
        iterations = ('train_cfg.max_iters', 'train_cfg.val_interval')
        options = small_options(root)
        return {
            **{key: value for key, value in options.items() if key not in iterations},
            'train_cfg': {'_delete_': True, 'type': 'EpochBasedTrainLoop', 'max_epochs': 2},
            'train_dataloader.sampler.type': 'DefaultSampler',
            'train_dataloader.dataset.indices': 4,
            'default_hooks.checkpoint': {
                '_delete_': True,
                'type': 'SafeCheckpointHook',
                'interval': 1,
                'max_keep_ckpts': 1,
            },
            'default_hooks.stop': {'type': 'StopAfterAnEpochHook'},
        }

    def test_trained_and_resumed(self, shapes_root, tmp_path):
        options = self.options(shapes_root)
        request = Request(config=CONFIG, work_dir=str(tmp_path), step=0, cfg_options=options)
        with pytest.raises(KeyboardInterrupt):
            driver.run(request)
        assert checkpoint_of(tmp_path, 0).name == 'epoch_1.pth'
        del options['default_hooks.stop']
        request = dataclasses.replace(request, resume=True)
        assert resume_point(load_config(request, 0), resume=True).state == 'resume'
        driver.run(request)
        meta = read_checkpoint(checkpoint_of(tmp_path, 0))['meta']
        assert (meta['epoch'], meta['iter']) == (2, 4)
        (entry,) = json.loads((tmp_path / 'summary.json').read_text())['steps']
        assert entry['train_iters'] == 4
        assert resume_point(load_config(request, 0), resume=True).state == 'done'


@HOOKS.register_module()
class StopAfterAnEpochHook(Hook):
    """End a training as a kill does at the start of its second epoch."""

    def before_train_epoch(self, runner):
        if runner.epoch == 1:
            raise KeyboardInterrupt


def test_accumulated_gradients_do_not_lower_the_rate(shapes_root, tmp_path):
    """Batch 2, accumulated four times, is the batch of 8 that the rate is made for."""
    options = small_options(shapes_root)
    options['optim_wrapper.accumulative_counts'] = 4
    options['default_hooks.rate'] = {'type': 'RateHook'}
    RateHook.rates.clear()
    driver.run(Request(config=CONFIG, work_dir=str(tmp_path), step=0, cfg_options=options))
    cfg = load_config(Request(config=CONFIG), 0)
    assert RateHook.rates == [pytest.approx(cfg.optim_wrapper.optimizer.lr)]


@HOOKS.register_module()
class RateHook(Hook):
    """Note the rate that training begins with."""

    rates = []

    def before_train(self, runner):
        self.rates.append(runner.optim_wrapper.optimizer.param_groups[0]['initial_lr'])


def test_no_pretrained_weights_after_step_0(finished_run, tmp_path):
    """Those of the step before replace them, and a compute node may have no network."""
    options = dict(finished_run[2])
    options['model.backbone.init_cfg'] = {
        '_delete_': True,
        'type': 'Pretrained',
        'checkpoint': str(tmp_path / 'not_there.pth'),
    }
    options['train_cfg.max_iters'] = 1
    teacher = str(checkpoint_of(finished_run[0], 0))
    driver.run(
        Request(config=CONFIG, work_dir=str(tmp_path), step=1, teacher=teacher, cfg_options=options)
    )
    assert checkpoint_of(tmp_path, 1).name == 'iter_1.pth'


def test_predictions_differ_between_steps(finished_run):
    """A later step's checkpoint really holds another network."""
    weights = [
        np.concatenate(
            [
                value.numpy().ravel()
                for name, value in read_checkpoint(checkpoint_of(finished_run[0], step))[
                    'state_dict'
                ].items()
                if 'pixel_decoder' in name and value.dtype == torch.float32
            ]
        )
        for step in range(3)
    ]
    assert not np.array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[1], weights[2])
