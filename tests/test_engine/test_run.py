"""A run of all steps, in this process: what it leaves, and how later commands use it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
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
from mmcomformer.engine.state import step_state
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
            assert files == ['iter_2.pth', 'iter_3.pth']

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

    def test_student_starts_from_the_step_before(self, finished_run):
        """Three small updates leave the weights near those of step 0, not near a fresh draw."""
        before = read_checkpoint(checkpoint_of(finished_run[0], 0))['state_dict']
        after = read_checkpoint(checkpoint_of(finished_run[0], 1))['state_dict']
        name = 'panoptic_head.transformer_decoder.layers.0.self_attn.attn.in_proj_weight'
        assert torch.allclose(before[name], after[name], atol=0.02)
        assert not torch.equal(before[name], after[name])


class TestResume:
    def test_finished_steps_are_skipped(self, copied_run, monkeypatch):
        work_dir, options = copied_run
        before = (work_dir / 'summary.json').read_bytes()

        def fail(cfg):
            raise AssertionError('nothing is left to do')

        monkeypatch.setattr(driver.Runner, 'from_cfg', fail)
        request = Request(config=CONFIG, work_dir=str(work_dir), resume=True, cfg_options=options)
        driver.run(request)
        assert (work_dir / 'summary.json').read_bytes() == before

    def test_only_evaluated_where_training_is_complete(self, copied_run, monkeypatch):
        work_dir, options = copied_run
        path = work_dir / 'summary.json'
        summary = json.loads(path.read_text())
        last = summary['steps'].pop()
        path.write_text(json.dumps(summary))
        request = Request(config=CONFIG, work_dir=str(work_dir), resume=True, cfg_options=options)
        assert step_state(load_config(request, 2)) == 'evaluate'

        def fail(self):
            raise AssertionError('training is complete')

        monkeypatch.setattr(Runner, 'train', fail)
        driver.run(request)
        again = json.loads(path.read_text())['steps'][-1]
        assert again['metrics'] == last['metrics']
        assert again['train_images'] == last['train_images']
        assert again['train_iters'] == last['train_iters']

    def test_moved_folder(self, copied_run):
        """The teacher is found by its name, wherever the run has been moved to."""
        work_dir, options = copied_run
        shutil.rmtree(work_dir / 'step2')
        request = Request(config=CONFIG, work_dir=str(work_dir), resume=True, cfg_options=options)
        driver.run(request)
        teacher = read_checkpoint(checkpoint_of(work_dir, 2))['meta']['continual']['teacher']
        assert teacher['path'] == str((work_dir / 'step1/iter_3.pth').resolve())


class TestTeacherErrors:
    def train(self, work_dir, options, step, **changes):
        driver.run(
            Request(
                config=CONFIG, work_dir=str(work_dir), step=step, cfg_options=options, **changes
            )
        )

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
        with pytest.raises(RuntimeError, match=f'do not fit the model.*{kind}: {name}'):
            self.train(work_dir, options, 1)

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
    scenario = load_config(Request(config=CONFIG), 0).scenario.to_dict()
    config.write_text(
        f'_base_ = {CONFIG!r}\n'
        "step = {{'$STEP:0'}}\n"
        f'scenario = dict({dict(scenario, increments=[6, 6])!r}, step=step)\n'
        'model = dict(panoptic_head=dict(scenario=scenario))\n'
        'train_dataloader = dict(dataset=dict(scenario=scenario))\n'
        'val_dataloader = dict(dataset=dict(scenario=scenario))\n'
        'test_dataloader = dict(dataset=dict(scenario=scenario))\n'
        "work_dir = f'work/step{step}'\n"
    )
    work_dir = tmp_path / 'six_six'
    request = Request(
        config=str(config),
        work_dir=str(work_dir),
        teacher=str(checkpoint_of(finished_run[0], 0)),
        cfg_options=small_options(shapes_root),
    )
    driver.run(request)
    summary = json.loads((work_dir / 'summary.json').read_text())
    assert [entry['step'] for entry in summary['steps']] == [1]
    assert len(summary['steps'][0]['classes']) == 6
    assert summary['final']['PQ']['avg'] is None


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
        assert len(list((tmp_path / 'show').glob('*.*'))) == 8

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
