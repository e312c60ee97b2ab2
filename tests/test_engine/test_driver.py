"""The driver of all steps: what it accepts, and what it leaves to do for a step."""

import logging
import os
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config

from mmcomformer.engine import driver
from mmcomformer.engine.hooks.previous_step_hook import find_hooks
from mmcomformer.engine.launch import prepare_device
from mmcomformer.engine.request import Request, load_config, requested_step
from mmcomformer.engine.scenario_config import model_at_step, scenario_of

CONFIGS = Path(__file__).parents[2] / 'configs'
SHAPES = str(CONFIGS / 'comformer_shapes_6-3.py')


def request_(**changes):
    return Request(config=SHAPES, **changes)


@pytest.fixture(autouse=True)
def no_step_in_the_environment(monkeypatch):
    monkeypatch.delenv('STEP', raising=False)


class TestRequestedStep:
    def test_neither(self):
        assert requested_step(None) is None

    def test_option_or_environment(self, monkeypatch):
        assert requested_step(2) == 2
        monkeypatch.setenv('STEP', '1')
        assert requested_step(None) == 1
        assert requested_step(1) == 1

    def test_contradiction(self, monkeypatch):
        monkeypatch.setenv('STEP', '1')
        with pytest.raises(ValueError, match='--step 2 and STEP=1 contradict each other'):
            requested_step(2)

    @pytest.mark.parametrize('value', ['x', '', '1.5'])
    def test_not_a_number(self, monkeypatch, value):
        monkeypatch.setenv('STEP', value)
        with pytest.raises(TypeError, match='environment variable STEP: expected an integer'):
            requested_step(None)

    def test_negative(self, monkeypatch):
        with pytest.raises(ValueError, match='--step: expected at least 0, got -1'):
            requested_step(-1)
        monkeypatch.setenv('STEP', '-1')
        with pytest.raises(ValueError, match='environment variable STEP: expected at least 0'):
            requested_step(None)


class TestLoadConfig:
    def test_every_copy_has_the_step(self):
        cfg = load_config(request_(), 2)
        assert scenario_of(cfg).step == 2
        assert cfg.model.panoptic_head.scenario.step == 2
        assert cfg.val_dataloader.dataset.scenario.step == 2
        assert cfg.work_dir.endswith('work_dirs/comformer_shapes_6-3/step2')
        assert 'STEP' not in os.environ

    def test_work_dir(self, tmp_path):
        cfg = load_config(request_(work_dir=str(tmp_path)), 1)
        assert Path(cfg.work_dir) == tmp_path / 'step1'

    def test_work_dir_of_a_config_without_one(self, tmp_path):
        config = tmp_path / 'mine.py'
        config.write_text(f'_base_ = {SHAPES!r}\nwork_dir = None\n')
        cfg = load_config(Request(config=str(config)), 1)
        assert Path(cfg.work_dir) == Path('work_dirs/mine/step1')

    def test_work_dir_that_mixes_steps(self, tmp_path):
        config = tmp_path / 'mine.py'
        config.write_text(f'_base_ = {SHAPES!r}\nwork_dir = "work_dirs/mine"\n')
        with pytest.raises(ValueError, match="work_dir: expected a folder named step1.*'work_dirs"):
            load_config(Request(config=str(config)), 1)

    def test_options(self):
        cfg = load_config(request_(cfg_options={'train_cfg.max_iters': 7}), 0)
        assert cfg.train_cfg.max_iters == 7

    @pytest.mark.parametrize('key', ['step', 'scenario.step', 'model.panoptic_head.scenario.step'])
    def test_step_as_an_option(self, key):
        with pytest.raises(ValueError, match=f'--cfg-options {key}: .*choose the step with --step'):
            load_config(request_(cfg_options={key: 1}), 0)

    def test_missing(self):
        with pytest.raises(FileNotFoundError, match='config no.py: no such file'):
            load_config(Request(config='no.py'), 0)

    def test_without_scenario(self, tmp_path):
        config = tmp_path / 'mine.py'
        config.write_text("model = dict(type='MaskFormer')\nwork_dir = 'w/step0'\n")
        with pytest.raises(TypeError, match='scenario: expected a dict with increments'):
            load_config(Request(config=str(config)), 0)

    def test_out_of_range(self):
        with pytest.raises(ValueError, match=r'step: expected 0 to 2, got 3'):
            load_config(request_(), 3)

    def test_stale_copy(self, tmp_path):
        config = tmp_path / 'mine.py'
        config.write_text(
            f'_base_ = {SHAPES!r}\nmodel = dict(panoptic_head=dict(scenario=dict(step=1)))\n'
        )
        with pytest.raises(ValueError, match=r'model.panoptic_head.scenario: it differs from'):
            load_config(Request(config=str(config)), 0)


def test_model_at_step_changes_a_copy():
    cfg = load_config(request_(), 2)
    cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint='https://x')
    model = model_at_step(cfg.model, 1)
    assert model['panoptic_head']['scenario']['step'] == 1
    assert 'init_cfg' not in model['backbone']
    assert cfg.model.panoptic_head.scenario.step == 2
    assert 'init_cfg' in cfg.model.backbone


def test_find_hooks():
    hooks = find_hooks(load_config(request_(), 1))
    assert [hook['type'] for hook in hooks] == ['PseudoLabelHook']


class TestSteps:
    def steps(self, **changes):
        return list(driver._steps_to_run(request_(**changes)))

    def teacher(self, path, step):
        scenario = scenario_of(load_config(request_(), step)).to_dict()
        meta = {'continual': {'step': step, 'scenario': scenario}}
        torch.save({'state_dict': {}, 'meta': meta}, path)
        return str(path)

    def test_all(self):
        assert self.steps() == [0, 1, 2]

    def test_one(self, monkeypatch):
        assert self.steps(step=1) == [1]
        monkeypatch.setenv('STEP', '2')
        assert self.steps() == [2]

    def test_after_a_teacher(self, tmp_path):
        teacher = self.teacher(tmp_path / 'a.pth', 0)
        assert self.steps(teacher=teacher) == [1, 2]
        assert self.steps(teacher=teacher, step=1) == [1]
        with pytest.raises(ValueError, match='is of step 0, so it teaches step 1, but step 2'):
            self.steps(teacher=teacher, step=2)

    def test_nothing_left(self, tmp_path):
        with pytest.raises(ValueError, match='there is nothing left to train'):
            self.steps(teacher=self.teacher(tmp_path / 'a.pth', 2))

    def test_teacher_without_a_hook(self, tmp_path):
        cfg = load_config(request_(), 1)
        cfg.custom_hooks = []
        with pytest.raises(ValueError, match='--teacher: the config has no hook that loads one'):
            driver._set_teacher(cfg, 'a.pth')


class TestDevice:
    @pytest.mark.parametrize('device', ['cpu', 'mps'])
    def test_amp_without_an_accelerator(self, monkeypatch, device):
        monkeypatch.setattr('mmcomformer.engine.launch.get_device', lambda: device)
        cfg = load_config(request_(), 0)
        with pytest.raises(ValueError, match='--amp: .* needs an accelerator'):
            prepare_device(cfg, launcher='none', amp=True)

    @pytest.mark.parametrize('device', ['cpu', 'mps'])
    def test_amp_of_a_config_falls_back(self, monkeypatch, device):
        """On an Apple GPU too, where mmengine's wrapper refuses to work."""
        monkeypatch.setattr('mmcomformer.engine.launch.get_device', lambda: device)
        cfg = load_config(Request(config=str(CONFIGS / 'comformer_ade_100-50.py')), 0)
        assert cfg.optim_wrapper.type == 'AmpOptimWrapper'
        prepare_device(cfg, launcher='none')
        assert cfg.optim_wrapper.type == 'OptimWrapper'
        assert 'loss_scale' not in cfg.optim_wrapper

    def test_amp_on_an_accelerator(self, monkeypatch):
        monkeypatch.setattr('mmcomformer.engine.launch.get_device', lambda: 'cuda')
        cfg = load_config(request_(), 0)
        prepare_device(cfg, launcher='none', amp=True)
        assert cfg.optim_wrapper.type == 'AmpOptimWrapper'
        assert cfg.optim_wrapper.loss_scale == 'dynamic'

    @pytest.mark.parametrize(('device', 'asked'), [('cuda', 1), ('cpu', 0)])
    def test_deterministic_training(self, monkeypatch, device, asked):
        calls = []
        monkeypatch.setattr('mmcomformer.engine.launch.get_device', lambda: device)
        monkeypatch.setattr(
            'mmcomformer.engine.launch.enable_determinism', lambda: calls.append(device)
        )
        for wanted in (False, True):
            cfg = load_config(request_(cfg_options={'randomness.deterministic': wanted}), 0)
            prepare_device(cfg, launcher='none')
        assert len(calls) == asked

    def test_launcher_without_an_accelerator(self, monkeypatch):
        monkeypatch.setattr('mmcomformer.engine.launch.get_device', lambda: 'cpu')
        with pytest.raises(ValueError, match='--launcher slurm: .*only the pytorch launcher'):
            prepare_device(load_config(request_(), 0), launcher='slurm')

    def test_several_processes_on_an_apple_gpu(self, monkeypatch):
        monkeypatch.setattr('mmcomformer.engine.launch.get_device', lambda: 'mps')
        monkeypatch.setenv('RANK', '0')
        with pytest.raises(ValueError, match='on a CPU only; this machine has mps'):
            prepare_device(load_config(request_(), 0), launcher='pytorch')

    def test_process_group_has_the_timeout_of_the_config(self, monkeypatch):
        """With an accelerator too it is made before anything is decided."""
        monkeypatch.setattr('mmcomformer.engine.launch.get_device', lambda: 'cuda')
        calls = []
        monkeypatch.setattr(
            'mmcomformer.engine.launch.init_dist', lambda *args, **kwargs: calls.append(kwargs)
        )
        monkeypatch.setattr(
            'mmcomformer.engine.launch.set_multi_processing', lambda **kwargs: calls.append(kwargs)
        )
        cfg = load_config(request_(cfg_options={'env_cfg.dist_cfg.timeout': 77}), 0)
        prepare_device(cfg, launcher='slurm')
        assert calls[0]['mp_start_method'] == 'fork'
        assert calls[1] == {'backend': 'nccl', 'timeout': 77}

    def test_process_group_on_a_cpu_has_it_too(self, monkeypatch):
        monkeypatch.setattr('mmcomformer.engine.launch.get_device', lambda: 'cpu')
        monkeypatch.setenv('RANK', '0')
        calls = []
        group = SimpleNamespace(
            is_initialized=lambda: False,
            init_process_group=lambda *args, **kwargs: calls.append((args, kwargs)),
            get_world_size=lambda: 1,
        )
        monkeypatch.setattr('mmcomformer.engine.launch.distributed', group)
        cfg = load_config(request_(cfg_options={'env_cfg.dist_cfg.timeout': 77}), 0)
        prepare_device(cfg, launcher='pytorch')
        assert calls == [(('gloo',), {'timeout': timedelta(seconds=77)})]

    def test_default_timeout_is_longer_than_an_index_takes(self):
        assert load_config(request_(), 0).env_cfg.dist_cfg.timeout == 1800


class TestEpochs:
    @pytest.mark.parametrize(
        ('options', 'message'),
        [
            ({}, 'train_dataloader.sampler: ContinualSampler never ends an epoch'),
            ({'train_dataloader.sampler.type': 'InfiniteSampler'}, 'InfiniteSampler never ends'),
            ({'train_dataloader.sampler.type': 'DefaultSampler'}, 'checkpoint.by_epoch: expected'),
        ],
    )
    def test_config(self, options, message):
        epochs = {'_delete_': True, 'type': 'EpochBasedTrainLoop', 'max_epochs': 2}
        cfg = load_config(request_(cfg_options={'train_cfg': epochs, **options}), 0)
        with pytest.raises(ValueError, match=message):
            driver._check_loop(cfg)


class TestAccumulation:
    @pytest.mark.parametrize(
        ('count', 'enable', 'base'), [(4, True, 2), (1, True, 8), (4, False, 8)]
    )
    def test_base_batch(self, count, enable, base):
        """Batch 2 accumulated four times is the base batch of 8: the rate stays as it is."""
        runner = SimpleNamespace(
            auto_scale_lr={'enable': enable, 'base_batch_size': 8},
            cfg={'optim_wrapper': {'accumulative_counts': count}},
            logger=logging.getLogger('test'),
        )
        driver._count_accumulation(runner)
        assert runner.auto_scale_lr == {'enable': enable, 'base_batch_size': base}


def test_synchronised_norms_need_an_accelerator(monkeypatch):
    """In several processes; in one they are plain batch norms."""
    monkeypatch.setenv('RANK', '0')
    request = Request(config=str(CONFIGS / 'comformer_ade_semantic_100-50.py'))
    prepare_device(load_config(request, 0), launcher='none')
    with pytest.raises(ValueError, match='norm_cfg: SyncBN needs an accelerator in several proc'):
        prepare_device(load_config(request, 0), launcher='pytorch')


@pytest.mark.parametrize(('hooks', 'warned'), [([], True), ([dict(type='SummaryHook')], False)])
def test_config_that_leaves_no_table(hooks, warned, caplog, monkeypatch):
    told = []
    monkeypatch.setattr(driver, 'print_log', lambda message, **_: told.append(message))
    driver._check_results(Config(dict(custom_hooks=hooks)))
    assert [('there is no SummaryHook' in message) for message in told] == [True] * warned
