"""SummaryHook in a real Runner with a toy model."""

import json
import uuid
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import Dataset

from mmcomformer.engine.hooks import SummaryHook
from mmcomformer.registry import HOOKS
from mmcomformer.scenario import Scenario

SCENARIO = Scenario([1, 1], ['cat'], ['sky'], class_order=['sky', 'cat'])


class Images(Dataset):
    def __init__(self, scenario, length):
        self.metainfo = {'classes': scenario.classes, 'scenario': scenario.to_dict()}
        self.length = length

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        return {'inputs': torch.ones(1), 'label': 1}


class Toy(BaseModel):
    """Predicts the ground truth: sky, and nothing else."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, inputs, label, mode='tensor'):
        if mode == 'loss':
            return {'loss': self.weight.sum()}
        sem_seg = torch.ones(1, 2, 2, dtype=torch.int32)
        sample = {
            'gt_panoptic_seg': {'sem_seg': sem_seg},
            'pred_panoptic_seg': {'sem_seg': sem_seg},
            'segments': [{'id': 1, 'label': 1, 'iscrowd': 0}],
            'gt_sem_seg': {'data': sem_seg},
            'pred_sem_seg': {'data': sem_seg},
        }
        return [sample] * len(inputs)


class MetaHook(Hook):
    """Stands in for the component that puts the step into checkpoints, and can kill a run."""

    def __init__(self, step, die_at=None):
        self.step = step
        self.die_at = die_at

    def before_save_checkpoint(self, runner, checkpoint):
        checkpoint['meta'].setdefault('continual', {}).update(step=self.step, scenario={})

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.die_at:
            raise KeyboardInterrupt


def make_runner(
    work_dir,
    step=0,
    *,
    die_at=None,
    hook=None,
    train=None,
    scenario=SCENARIO,
    teacher=None,
    more_hooks=None,
    **settings,
):
    scenario = scenario.at_step(step)

    def loader(length, **sampler):
        return {
            'batch_size': 1,
            'num_workers': 0,
            'dataset': Images(scenario, length),
            'sampler': sampler,
        }

    train_cfg = train or {'type': 'IterBasedTrainLoop', 'max_iters': 4, 'val_interval': 2}
    config_file = Path(work_dir) / 'toy_1-1.py'
    config_file.parent.mkdir(exist_ok=True)
    config_file.write_text(f'scenario = {scenario.to_dict()}\ntrain_cfg = {train_cfg}\n')
    if teacher is not None:
        with open(config_file, 'a') as file:
            hooks = [{'type': 'PreviousStepHook', 'teacher_ckpt': str(teacher)}]
            file.write(f'custom_hooks = {hooks}\n')
    return Runner(
        model=Toy(),
        work_dir=str(Path(work_dir) / f'step{step}'),
        train_dataloader=loader(3, type='InfiniteSampler')
        if 'max_iters' in train_cfg
        else loader(3, type='DefaultSampler'),
        val_dataloader=loader(2, type='DefaultSampler', shuffle=False),
        train_cfg=train_cfg,
        val_cfg={},
        val_evaluator=settings.pop('val_evaluator', {'type': 'IncrementalPanopticMetric'}),
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.1}},
        default_hooks={
            'checkpoint': {
                'type': 'CheckpointHook',
                'interval': 1,
                'by_epoch': 'max_iters' not in train_cfg,
            },
            **(more_hooks or {}),
        },
        custom_hooks=[
            hook or {'type': 'SummaryHook', 'method': 'CoMFormer'},
            MetaHook(step, die_at),
        ],
        randomness={'seed': 7},
        experiment_name=uuid.uuid4().hex,
        default_scope='mmengine',
        cfg=Config.fromfile(str(config_file)),
        log_level='ERROR',
        **settings,
    )


def read(folder):
    return json.loads((folder / 'summary.json').read_text())


def test_registered():
    assert isinstance(HOOKS.build({'type': 'SummaryHook', 'method': 'a'}), SummaryHook)


def test_unknown_task():
    with pytest.raises(ValueError, match=r"task: expected one of .*got 'depth'"):
        SummaryHook('a', 'depth')


def test_step_is_written_once_its_training_is_complete(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(
        'mmcomformer.engine.hooks.summary_hook.update_summary',
        lambda path, run, entry, before: written.append(entry) or {**run, 'steps': []},
    )
    make_runner(tmp_path).train()
    # not after the validation at iteration 2
    (entry,) = written
    assert (entry['train_images'], entry['train_iters'], entry['seed']) == (3, 4, 7)


def test_steps_merge(tmp_path):
    make_runner(tmp_path, 0).train()
    make_runner(tmp_path, 1).train()
    summary = read(tmp_path)
    assert summary['config'] == 'toy_1-1'
    assert summary['method'] == 'CoMFormer'
    assert summary['class_order'] == ['sky', 'cat']
    assert [entry['classes'] for entry in summary['steps']] == [['sky'], ['cat']]
    assert summary['steps'][1]['metrics']['PQ'] == {'base': 100.0, 'new': None, 'all': 100.0}
    assert list(summary['steps'][1]['per_class']) == ['sky', 'cat']
    assert summary['final']['PQ']['forgetting'] == 0.0


class TestTeacherOfAnotherRun:
    def test_its_steps_are_taken_over(self, tmp_path):
        make_runner(tmp_path / 'a', 0).train()
        teacher = tmp_path / 'a' / 'step0' / 'iter_4.pth'
        hook = {'type': 'SummaryHook', 'method': 'MiB'}
        make_runner(tmp_path / 'b', 1, teacher=teacher, hook=hook).train()
        first, second = read(tmp_path / 'b')['steps']
        assert first == {'of_run': str(tmp_path / 'a'), **read(tmp_path / 'a')['steps'][0]}
        assert (second['step'], 'of_run' in second) == (1, False)
        assert read(tmp_path / 'b')['final']['PQ']['forgetting'] == 0.0

    def test_a_checkpoint_that_its_summary_does_not_know(self, tmp_path):
        make_runner(tmp_path / 'a', 0).train()
        teacher = tmp_path / 'a' / 'step0' / 'iter_3.pth'
        make_runner(tmp_path / 'b', 1, teacher=teacher).train()
        assert [entry['step'] for entry in read(tmp_path / 'b')['steps']] == [1]

    def test_of_the_same_run_or_without_a_summary(self, tmp_path):
        make_runner(tmp_path / 'a', 0).train()
        (tmp_path / 'a' / 'summary.json').unlink()
        teacher = tmp_path / 'a' / 'step0' / 'iter_4.pth'
        for folder in ('a', 'b'):
            make_runner(tmp_path / folder, 1, teacher=teacher).train()
            assert [entry['step'] for entry in read(tmp_path / folder)['steps']] == [1]


def test_epoch_based_training(tmp_path):
    train = {'type': 'EpochBasedTrainLoop', 'max_epochs': 2, 'val_interval': 1}
    make_runner(tmp_path, train=train).train()
    assert read(tmp_path)['steps'][0]['train_iters'] == 6
    (tmp_path / 'summary.json').unlink()
    checkpoint = str(tmp_path / 'step0' / 'epoch_2.pth')
    make_runner(tmp_path, train=train, load_from=checkpoint).val()
    assert read(tmp_path)['steps'][0]['train_iters'] == 6
    (tmp_path / 'summary.json').unlink()
    checkpoint = str(tmp_path / 'step0' / 'epoch_1.pth')
    make_runner(tmp_path, train=train, load_from=checkpoint).val()
    assert not (tmp_path / 'summary.json').exists()


def test_interrupted_training_counts_what_it_did_before(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        make_runner(tmp_path, die_at=3).train()
    assert not (tmp_path / 'summary.json').exists()
    path = tmp_path / 'step0' / 'iter_3.pth'
    checkpoint = torch.load(path, weights_only=False)
    continual = checkpoint['meta']['continual']
    assert (continual['train_iters'], continual['train_images']) == (3, 3)
    assert continual['step'] == 0
    assert 0 < continual['seconds'] < 60
    continual['seconds'] = 1000.0
    torch.save(checkpoint, path)
    make_runner(tmp_path, load_from=str(path), resume=True).train()
    entry = read(tmp_path)['steps'][0]
    assert entry['train_iters'] == 4
    assert 1000 < entry['seconds'] < 1060


def test_time_of_a_checkpoint_that_only_initialises_is_not_counted(tmp_path):
    make_runner(tmp_path).train()
    path = tmp_path / 'step0' / 'iter_4.pth'
    checkpoint = torch.load(path, weights_only=False)
    checkpoint['meta']['continual']['seconds'] = 1000.0
    torch.save(checkpoint, path)
    make_runner(tmp_path, load_from=str(path)).train()
    assert read(tmp_path)['steps'][0]['seconds'] < 60


def test_validation_is_not_counted(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr('mmcomformer.engine.hooks.summary_hook.time.perf_counter', lambda: now[0])
    hook = SummaryHook('a')
    for start, length in ((10.0, 3.0), (20.0, 4.0)):
        now[0] = start
        hook.before_train_iter(None, 0)
        now[0] = start + length / 2
        hook.before_train_iter(None, 1)
        now[0] = start + length
        hook.before_val_epoch(None)
    now[0] = 99.0
    assert hook._elapsed() == 7.0


def test_evaluation_of_a_finished_checkpoint(tmp_path):
    make_runner(tmp_path).train()
    expected = read(tmp_path)
    (tmp_path / 'summary.json').unlink()
    path = str(tmp_path / 'step0' / 'iter_4.pth')
    make_runner(tmp_path, load_from=path).val()
    summary = read(tmp_path)
    assert summary['steps'][0].pop('seconds') == pytest.approx(
        expected['steps'][0].pop('seconds'), abs=1.0
    )
    for entry in (summary['steps'][0], expected['steps'][0]):
        assert entry.pop('seconds_per_iter') > 0
    # with the machine that trained it
    assert summary == expected


def test_machine_and_parameters(tmp_path):
    hooks = {'memory': {'type': 'PeakMemoryHook'}}
    make_runner(tmp_path, more_hooks=hooks).train()
    [entry] = read(tmp_path)['steps']
    assert entry['parameters'] == entry['trainable_parameters'] == 1
    assert entry['seconds_per_iter'] == entry['seconds'] / 4
    assert entry['machine']['versions']['torch'] == str(torch.__version__)
    assert entry['machine']['device']
    assert entry['machine']['peak_memory_of'] == 'process'
    assert 50 < entry['machine']['peak_memory_mb'] < 100_000


def test_frozen_parameters_are_not_trained(tmp_path):
    runner = make_runner(tmp_path)
    runner.model.frozen = torch.nn.Parameter(torch.zeros(5), requires_grad=False)
    runner.train()
    [entry] = read(tmp_path)['steps']
    assert (entry['parameters'], entry['trainable_parameters']) == (6, 1)
    assert entry['machine']['peak_memory_mb'] is None


def test_evaluation_of_a_checkpoint_with_more_iterations_than_are_wanted(tmp_path):
    """The driver takes it for trained, so the summary has to."""
    make_runner(tmp_path).train()
    (tmp_path / 'summary.json').unlink()
    train = {'type': 'IterBasedTrainLoop', 'max_iters': 3, 'val_interval': 3}
    path = str(tmp_path / 'step0' / 'iter_4.pth')
    make_runner(tmp_path, load_from=path, train=train).val()
    assert read(tmp_path)['steps'][0]['train_iters'] == 4


def test_resumed_training_has_the_images_that_it_had(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        make_runner(tmp_path, die_at=3).train()
    path = str(tmp_path / 'step0' / 'iter_3.pth')
    runner = make_runner(tmp_path, load_from=path, resume=True)
    runner._train_dataloader['dataset'] = Images(SCENARIO, 2)
    with pytest.raises(RuntimeError, match='begun with 3 images and now has 2'):
        runner.train()


def test_evaluation_of_an_unfinished_checkpoint_writes_nothing(tmp_path):
    make_runner(tmp_path).train()
    (tmp_path / 'summary.json').unlink()
    make_runner(tmp_path, load_from=str(tmp_path / 'step0' / 'iter_3.pth')).val()
    assert not (tmp_path / 'summary.json').exists()


def test_evaluation_of_another_steps_checkpoint_writes_nothing(tmp_path):
    make_runner(tmp_path, 0).train()
    (tmp_path / 'summary.json').unlink()
    make_runner(tmp_path, 1, load_from=str(tmp_path / 'step0' / 'iter_4.pth')).val()
    assert not (tmp_path / 'summary.json').exists()


def test_other_processes_write_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr('mmcomformer.engine.hooks.summary_hook.is_main_process', lambda: False)
    make_runner(tmp_path).train()
    assert not (tmp_path / 'summary.json').exists()


@pytest.mark.parametrize(
    ('text', 'message'),
    [('{', 'not a summary of a run'), (None, 'another method: .*use another work dir')],
)
def test_unusable_summary_stops_before_training(tmp_path, text, message):
    if text is None:
        make_runner(tmp_path, hook={'type': 'SummaryHook', 'method': 'fine-tuning'}).train()
    else:
        (tmp_path / 'summary.json').write_text(text)
    before = (tmp_path / 'summary.json').read_bytes()
    runner = make_runner(tmp_path, die_at=0)
    with pytest.raises(ValueError, match=message):
        runner.train()
    assert (tmp_path / 'summary.json').read_bytes() == before


class OtherMetric(BaseMetric):
    default_prefix = 'other'

    def process(self, data_batch, data_samples):
        self.results += data_samples

    def compute_metrics(self, results):
        return {}


def test_no_metric_over_seen_classes_stops_before_training(tmp_path):
    runner = make_runner(tmp_path, die_at=0, val_evaluator=[OtherMetric()])
    with pytest.raises(ValueError, match=r"only \['OtherMetric'\]; add .*IncrementalPanoptic"):
        runner.train()


SEMANTIC_HOOK = {'type': 'SummaryHook', 'method': 'CoMFormer', 'task': 'semantic'}


def test_message_names_the_metric_of_the_task(tmp_path):
    runner = make_runner(tmp_path, die_at=0, hook=SEMANTIC_HOOK, val_evaluator=[OtherMetric()])
    with pytest.raises(ValueError, match=r'add dict\(type=.IncrementalIoUMetric'):
        runner.train()


@pytest.mark.parametrize(
    ('hook', 'metric', 'message'),
    [
        (SEMANTIC_HOOK, 'IncrementalPanopticMetric', "'semantic' needs .*mIoU.* computes .*PQ"),
        (None, 'IncrementalIoUMetric', "'panoptic' needs .*PQ.* computes .*mIoU.*set the task"),
    ],
)
def test_metric_of_another_task_stops_before_training(tmp_path, hook, metric, message):
    runner = make_runner(tmp_path, die_at=0, hook=hook, val_evaluator={'type': metric})
    with pytest.raises(ValueError, match=message):
        runner.train()


def test_semantic_task(tmp_path):
    metric = {'type': 'IncrementalIoUMetric'}
    for step in (0, 1):
        make_runner(tmp_path, step, hook=SEMANTIC_HOOK, val_evaluator=metric).train()
    summary = read(tmp_path)
    assert summary['task'] == 'semantic'
    assert set(summary['steps'][1]['metrics']) == {'mIoU', 'mAcc'}
    assert summary['steps'][1]['metrics']['mIoU'] == {'base': 100.0, 'new': None, 'all': 100.0}
    assert summary['steps'][1]['per_class']['sky'] == {'mIoU': 100.0, 'mAcc': 100.0}
    assert list(summary['final']) == ['mIoU']
    assert summary['final']['mIoU']['forgetting'] == 0.0


def test_semantic_task_with_background(tmp_path):
    scenario = Scenario([1, 1], (), ['none', 'sky', 'cat'], background='none')
    for step in (0, 1):
        make_runner(
            tmp_path,
            step,
            hook=SEMANTIC_HOOK,
            scenario=scenario,
            val_evaluator={'type': 'IncrementalIoUMetric'},
        ).train()
    entry = read(tmp_path)['steps'][1]
    assert set(entry['metrics']) == {'mIoU', 'mAcc', 'mIoU_foreground', 'mAcc_foreground'}
    assert entry['metrics']['mIoU_foreground']['base'] == 100.0
    assert list(entry['per_class']) == ['none', 'sky', 'cat']
    assert entry['classes'] == ['cat']


def test_table_is_logged(tmp_path):
    runner = make_runner(tmp_path)
    messages = []
    runner.logger.info = lambda message, *args, **kwargs: messages.append(message)
    runner.train()
    (table,) = [message for message in messages if 'PQ avg over steps' in message]
    assert str(tmp_path / 'summary.json') in table
    assert '100.00' in table


def test_config_without_file_is_named_after_the_folder(tmp_path):
    runner = make_runner(tmp_path / 'my_run')
    runner.cfg = Config(runner.cfg.to_dict())
    runner.train()
    assert read(tmp_path / 'my_run')['config'] == 'my_run'


def test_validation_is_logged_at_its_iteration(tmp_path):
    """By epoch, mmengine's default, every value would lie at step 0."""
    base = Path(__file__).parents[3] / 'configs' / '_base_'
    hooks = Config.fromfile(str(base / 'default_runtime_semantic.py')).default_hooks
    runner = make_runner(
        tmp_path,
        more_hooks={'logger': {**hooks.logger, 'interval': 1}},
        visualizer={'type': 'Visualizer', 'vis_backends': [{'type': 'LocalVisBackend'}]},
        log_processor={'by_epoch': False},
    )
    runner.train()
    [path] = (tmp_path / 'step0').glob('*/vis_data/scalars.json')
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line['step'] for line in lines if 'continual/PQ' in line] == [2, 4]
