"""What a command does with a step, decided from the files of earlier runs and the config."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from small_runs import CONFIG

from mmcomformer.engine.checkpoint import is_trained, read_checkpoint
from mmcomformer.engine.request import Request, load_config
from mmcomformer.engine.scenario_config import scenario_of
from mmcomformer.engine.settings import settings_of
from mmcomformer.engine.state import (
    begun_with,
    checkpoints_in,
    discard,
    newest_readable,
    note_teacher,
    resume_point,
)

CONFIGS = Path(CONFIG).parent
OTHER_SCENARIO = """
_base_ = {config!r}
scenario = dict(_base_.scenario, {change})
model = dict(panoptic_head=dict(scenario=scenario))
train_dataloader = dict(dataset=dict(scenario=scenario))
val_dataloader = dict(dataset=dict(scenario=scenario))
test_dataloader = dict(dataset=dict(scenario=scenario))
work_dir = f'./work_dirs/other/step{{_base_.step}}'
"""


@pytest.fixture(autouse=True)
def no_step_in_the_environment(monkeypatch):
    monkeypatch.delenv('STEP', raising=False)


def config_of(work_dir, step, options=(), config=CONFIG):
    request = Request(config=str(config), work_dir=str(work_dir), cfg_options=dict(options))
    return load_config(request, step)


@pytest.fixture(scope='module')
def finished(finished_run):
    """Return what a step of the finished run goes on with under changed options."""

    def point(options=(), step=1, config=CONFIG):
        work_dir, _, before = finished_run
        cfg = config_of(work_dir, step, {**before, **dict(options)}, config)
        return resume_point(cfg, resume=True)

    return point


class TestAnotherRun:
    @pytest.mark.parametrize(
        ('options', 'message'),
        [
            ({'model.panoptic_head.num_queries': 11}, 'panoptic_head.num_queries was 10 and is 11'),
            (
                {'model.panoptic_head.mask_activation.type': 'QuerySigmoid'},
                "mask_activation.type was '.*' and is 'QuerySigmoid'",
            ),
            ({'model.extra_losses.distill.loss_weight': 9.0}, 'distill.loss_weight was'),
            ({'randomness.seed': 1}, 'randomness.seed was 0 and is 1'),
            ({'optim_wrapper.optimizer.lr': 7.0}, 'optimizer.lr was .* and is 7.0'),
            ({'optim_wrapper.accumulative_counts': 2}, 'accumulative_counts was None and is 2'),
            ({'train_cfg.max_iters': 2}, 'train_cfg.max_iters was 3 and is 2'),
            ({'param_scheduler.0.power': 2.0}, 'param_scheduler.0..power was 0.9 and is 2.0'),
            ({'train_dataloader.batch_size': 4}, 'batch_size x processes was 2 and is 4'),
            ({'val_evaluator.ignore_unseen': True}, 'val_evaluator.ignore_unseen was None and is'),
            ({'train_dataloader.dataset.images': 'some.txt'}, "images was None and is 'some.txt'"),
        ],
    )
    def test_setting(self, finished, options, message):
        with pytest.raises(RuntimeError, match=f'another run: .*{message}.*--work-dir'):
            finished(options)

    @pytest.mark.parametrize(
        ('hook', 'message'),
        [
            ({'type': 'SummaryHook', 'method': 'mine'}, "SummaryHook.method was 'CoMF.*is 'mine'"),
            ({'type': 'PseudoLabelHook', 'overlap_thr': 0.9}, 'overlap_thr was None and is 0.9'),
            ({'type': 'EMAHook'}, 'ExponentialMovingAverage|EMAHook was None and is'),
        ],
    )
    def test_method(self, finished, finished_run, hook, message):
        kept = [item for item in finished_run[2]['custom_hooks'] if item['type'] != hook['type']]
        with pytest.raises(RuntimeError, match=message):
            finished({'custom_hooks': [*kept, hook]})

    @pytest.mark.parametrize(
        ('change', 'message'),
        [
            (
                "class_order=_base_.scenario['class_order'][::-1]",
                'step 0 has other classes: class 0 is',
            ),
            (
                "class_order=['stripes', 'disc', *_base_.scenario['class_order'][2:]]",
                'the same classes in another order',
            ),
            ("setting='disjoint'", "scenario.setting was 'overlap' and is 'disjoint'"),
            ('partition_seed=3', 'scenario.partition_seed was 0 and is 3'),
        ],
    )
    def test_scenario(self, finished, tmp_path, change, message):
        config = tmp_path / 'other.py'
        config.write_text(OTHER_SCENARIO.format(config=CONFIG, change=change))
        with pytest.raises(RuntimeError, match=message):
            finished(config=config)

    def test_step(self, finished_run, tmp_path):
        shutil.copytree(finished_run[0] / 'step0', tmp_path / 'step1')
        with pytest.raises(RuntimeError, match='is of step 0, not of step 1'):
            resume_point(config_of(tmp_path, 1, finished_run[2]), resume=True)


@pytest.mark.parametrize(
    'options',
    [
        {},
        {'train_dataloader.num_workers': 1, 'val_dataloader.batch_size': 3},
        {'default_hooks.checkpoint.interval': 1, 'train_cfg.val_interval': 2},
        {'train_dataloader.dataset.dataset.data_root': '/elsewhere/'},
        {'train_dataloader.dataset.dataset.ann_file': '/elsewhere/annotations/panoptic_train.json'},
        {'model.backbone.init_cfg': {'_delete_': True, 'type': 'Pretrained', 'checkpoint': 'x'}},
        {'randomness.seed': None},
    ],
)
def test_harmless(finished, options):
    assert finished(options).state == 'done'


class TestStates:
    """States that need no training to arise."""

    def write(self, folder, *, step=0, iteration=1, **continual):
        folder.mkdir(parents=True, exist_ok=True)
        scenario = scenario_of(config_of(folder, step)).to_dict()
        meta = {
            'iter': iteration,
            'epoch': 0,
            'seed': 0,
            'continual': {'step': step, 'scenario': scenario, **continual},
        }
        path = folder / f'iter_{iteration}.pth'
        torch.save({'state_dict': {'a': torch.zeros(500)}, 'meta': meta}, path)
        (folder / 'last_checkpoint').write_text(f'/gone/{path.name}')
        return path

    def point(self, root, step=0, **how):
        return resume_point(config_of(root, step), **{'resume': True, **how})

    def test_new_and_unfinished_and_not_evaluated(self, tmp_path):
        assert self.point(tmp_path).state == 'new'
        path = self.write(tmp_path / 'step0')
        assert self.point(tmp_path).state == 'resume'
        assert self.point(tmp_path).checkpoint == path
        path = self.write(tmp_path / 'step0', iteration=10_000)
        assert self.point(tmp_path).state == 'evaluate'
        assert self.point(tmp_path).checkpoint == path
        assert self.point(tmp_path, overwrite=True, resume=False).state == 'new'

    def test_results_of_another_training(self, finished_run, tmp_path):
        """Whatever the summary says, this checkpoint has not been evaluated."""
        shutil.copytree(finished_run[0], tmp_path, dirs_exist_ok=True)
        path = tmp_path / 'summary.json'
        summary = json.loads(path.read_text())
        summary['steps'][1]['train_iters'] = 2
        path.write_text(json.dumps(summary))
        point = resume_point(config_of(tmp_path, 1, finished_run[2]), resume=True)
        assert point.state == 'evaluate'

    def test_unreadable(self, tmp_path, monkeypatch):
        """The latest checkpoint is cut short: the one before is taken, and that is said."""
        told = []
        monkeypatch.setattr(
            'mmcomformer.engine.state.print_log', lambda message, *args: told.append(message)
        )
        first = self.write(tmp_path / 'step0', iteration=1)
        second = self.write(tmp_path / 'step0', iteration=2)
        second.write_bytes(second.read_bytes()[:1000])
        assert self.point(tmp_path).checkpoint == first
        assert f'{second}: truncated' in told[0]
        assert told[0].endswith(f'going on from {first}')
        first.unlink()
        with pytest.raises(RuntimeError, match='iter_2.pth: truncated.*no other.*--overwrite'):
            self.point(tmp_path)

    def test_pointer_missing_or_wrong(self, tmp_path):
        """As a kill between a checkpoint and its pointer leaves it."""
        path = self.write(tmp_path / 'step0')
        (tmp_path / 'step0/last_checkpoint').write_text('iter_7.pth')
        assert self.point(tmp_path).checkpoint == path
        (tmp_path / 'step0/last_checkpoint').unlink()
        assert self.point(tmp_path).checkpoint == path
        with pytest.raises(RuntimeError, match='step 0 has a checkpoint'):
            self.point(tmp_path, resume=False)

    def test_trained_from_another_teacher(self, tmp_path):
        self.write(tmp_path / 'step0', iteration=10_000)
        teacher = {'sha256': 'of another file', 'path': 'old.pth', 'step': 0}
        self.write(tmp_path / 'step1', step=1, teacher=teacher)
        with pytest.raises(
            RuntimeError, match=r'was trained from old.pth, which is not the present'
        ):
            self.point(tmp_path, 1)

    def test_seed_of_a_checkpoint_without_settings(self, tmp_path):
        self.write(tmp_path / 'step0')
        cfg = config_of(tmp_path, 0, {'randomness.seed': 1})
        with pytest.raises(RuntimeError, match='randomness.seed was 0 and is 1'):
            resume_point(cfg, resume=True)

    def test_float32_in_place_of_amp(self, tmp_path):
        """A machine without a GPU evaluates what one with a GPU has trained, but does not go on."""
        cfg = config_of(tmp_path, 0)
        settings = settings_of(cfg)
        settings['optim_wrapper']['type'] = 'AmpOptimWrapper'
        self.write(tmp_path / 'step0', settings=settings)
        with pytest.raises(RuntimeError, match="type was 'AmpOptimWrapper' and is 'Optim"):
            resume_point(cfg, resume=True)
        self.write(tmp_path / 'step0', iteration=10_000, settings=settings)
        assert resume_point(cfg, resume=True).state == 'evaluate'


class TestBegunWith:
    def test_nothing(self, tmp_path):
        assert begun_with(tmp_path) == (0, None)
        assert begun_with(tmp_path / 'missing') == (0, None)

    def test_from_the_start(self, finished_run):
        assert begun_with(finished_run[0]) == (0, None)

    def test_later_step(self, finished_run, tmp_path):
        shutil.copytree(finished_run[0] / 'step1', tmp_path / 'step1')
        assert begun_with(tmp_path) == (1, str((finished_run[0] / 'step0/iter_3.pth').resolve()))
        path = tmp_path / 'step1/iter_3.pth'
        checkpoint = read_checkpoint(path)
        checkpoint['meta']['continual']['teacher']['sha256'] = 'of another file'
        torch.save(checkpoint, path)
        assert begun_with(tmp_path) == (1, None)

    def test_note(self, tmp_path):
        teacher = tmp_path / 'a.pth'
        teacher.write_bytes(b'a')
        note_teacher(tmp_path, 2, str(teacher))
        assert begun_with(tmp_path) == (2, str(teacher))
        teacher.write_bytes(b'b')
        assert begun_with(tmp_path) == (2, None)
        note_teacher(tmp_path, 0, None)
        assert begun_with(tmp_path) == (0, None)
        (tmp_path / 'teacher.json').write_text('{')
        with pytest.raises(RuntimeError, match='teacher.json: it cannot be read'):
            begun_with(tmp_path)


def test_discard(finished_run, tmp_path):
    shutil.copytree(finished_run[0], tmp_path, dirs_exist_ok=True)
    (tmp_path / 'step1' / 'mine.pth').touch()
    discard(tmp_path, [1, 2])
    assert checkpoints_in(tmp_path / 'step0')
    assert not checkpoints_in(tmp_path / 'step1')
    assert not (tmp_path / 'step1' / 'last_checkpoint').exists()
    assert (tmp_path / 'step1' / 'mine.pth').exists()
    assert list((tmp_path / 'step1').rglob('*.log'))
    assert [
        entry['step'] for entry in json.loads((tmp_path / 'summary.json').read_text())['steps']
    ] == [0]
    discard(tmp_path, [0])
    assert not (tmp_path / 'summary.json').exists()


def test_checkpoints_in(tmp_path):
    for name in ('iter_9.pth', 'iter_10.pth', 'best_PQ_iter_11.pth', 'iter_12.pth.tmp', 'a.pth'):
        (tmp_path / name).touch()
    assert [path.name for path in checkpoints_in(tmp_path)] == ['iter_10.pth', 'iter_9.pth']


@pytest.mark.parametrize(
    ('train_cfg', 'expected'),
    [
        ({'max_iters': 5}, True),
        ({'max_iters': 4}, True),
        ({'max_iters': 6}, False),
        ({'max_epochs': 2}, True),
        ({'max_epochs': 3}, False),
        (None, False),
    ],
)
def test_is_trained(train_cfg, expected):
    assert is_trained({'iter': 5, 'epoch': 2}, train_cfg) == expected


def saved(path, continual=None):
    meta = {} if continual is None else {'continual': continual}
    torch.save({'state_dict': {'weight': torch.ones(2)}, 'meta': meta}, path)


class TestNewestReadable:
    @pytest.fixture
    def folder(self, tmp_path):
        """Two checkpoints, the last one pointed to, and files that are no candidates."""
        for number in (2, 10, 12):
            saved(tmp_path / f'iter_{number}.pth', {'step': 0, 'scenario': {}})
        saved(tmp_path / 'best_PQ_iter_11.pth')
        (tmp_path / '.iter_11.pth.77.tmp').write_bytes(b'half')
        (tmp_path / 'last_checkpoint').write_text('/elsewhere/step0/iter_12.pth')
        return tmp_path

    def test_intact(self, folder, warnings_shown):
        assert newest_readable(folder)[0].name == 'iter_12.pth'
        assert warnings_shown == []

    @pytest.mark.parametrize('part', range(20))
    def test_cut_short(self, folder, warnings_shown, part):
        path = folder / 'iter_12.pth'
        content = path.read_bytes()
        path.write_bytes(content[: len(content) * part // 20])
        assert newest_readable(folder)[0].name == 'iter_10.pth'
        (message,) = warnings_shown
        assert f'{path}: truncated or not a checkpoint' in message
        assert message.endswith(f'going on from {folder / "iter_10.pth"}')

    def test_blocks_that_never_reached_the_disk(self, folder, warnings_shown):
        path = folder / 'iter_12.pth'
        content = path.read_bytes()
        weight = content.index(torch.ones(2).numpy().tobytes())
        path.write_bytes(content[:weight] + bytes(8) + content[weight + 8 :])
        # torch itself sees nothing
        assert read_checkpoint(path)['state_dict']['weight'].tolist() == [0, 0]
        assert newest_readable(folder)[0].name == 'iter_10.pth'
        assert 'damaged' in warnings_shown[0]
        assert 'iter_12.pth' in warnings_shown[0]

    def test_gone(self, folder, warnings_shown):
        (folder / 'iter_12.pth').unlink()
        assert newest_readable(folder)[0].name == 'iter_10.pth'
        assert 'names iter_12.pth, which is not in its folder' in warnings_shown[0]

    def test_none_is_readable(self, folder):
        for number in (2, 10, 12):
            (folder / f'iter_{number}.pth').write_bytes(b'')
        message = r'iter_12.pth: truncated.*no other checkpoint is in .*: pass --overwrite to train'
        with pytest.raises(RuntimeError, match=message):
            newest_readable(folder)

    def test_format_of_before_zip_files(self, folder):
        content = {'state_dict': {}, 'meta': {}}
        torch.save(content, folder / 'iter_12.pth', _use_new_zipfile_serialization=False)
        assert newest_readable(folder)[0].name == 'iter_12.pth'


@pytest.fixture
def warnings_shown(monkeypatch):
    shown = []
    monkeypatch.setattr(
        'mmcomformer.engine.state.print_log', lambda text, *_, **__: shown.append(text)
    )
    return shown
