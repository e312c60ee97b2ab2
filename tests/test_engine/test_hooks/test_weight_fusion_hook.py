"""After a later step its weights lie between those that it trained and those of its teacher."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import EMAHook, Hook
from small_runs import CONFIG, small_options

from mmcomformer.engine import driver
from mmcomformer.engine.checkpoint import read_checkpoint
from mmcomformer.engine.hooks.weight_fusion_hook import WeightFusionHook, fuse
from mmcomformer.engine.request import Request
from mmcomformer.registry import HOOKS

SHARE = 0.3


class StopAfterHook(Hook):
    """Stop a training as a kill would."""

    priority = 'LOWEST'
    iteration = None

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.iteration:
            raise KeyboardInterrupt


@pytest.fixture(scope='module')
def trained(shapes_root, tmp_path_factory):
    """Weights of step 0, of step 1 without fusion, and of one with it that was interrupted."""
    root = tmp_path_factory.mktemp('fusion')
    first = root / 'plain' / 'step0' / 'iter_2.pth'

    def train(name, share, step, stop=None, resume=False):
        options = small_options(shapes_root, **{'default_hooks.checkpoint.interval': 1})
        options |= {'train_cfg.max_iters': 2, 'train_cfg.val_interval': 2}
        options |= {
            'default_hooks.stop.type': 'StopAfterHook',
            'default_hooks.fusion.type': 'WeightFusionHook',
            'default_hooks.fusion.share': share,
        }
        StopAfterHook.iteration = stop
        driver.run(
            Request(
                config=CONFIG,
                step=step,
                work_dir=str(root / name),
                cfg_options=options,
                resume=resume,
                teacher=str(first) if step else None,
            )
        )
        return read_checkpoint(root / name / f'step{step}' / 'iter_2.pth')['state_dict']

    HOOKS.register_module(module=StopAfterHook)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('mmcomformer.engine.launch.get_device', lambda: 'cpu')
        states = [train('plain', SHARE, 0), train('plain', 0, 1)]
        with pytest.raises(KeyboardInterrupt):
            train('fused', SHARE, 1, stop=1)
        states.append(train('fused', SHARE, 1, resume=True))
    torch.set_num_threads(threads)
    HOOKS._module_dict.pop('StopAfterHook')
    return states


def test_lies_between_teacher_and_student(trained):
    teacher, student, fused = trained
    assert set(student) == set(fused)
    for name, weight in fused.items():
        if name in teacher and weight.is_floating_point():
            expected = (1 - SHARE) * student[name].double() + SHARE * teacher[name].double()
        else:
            # the classifier of the new classes, and what counts batches
            expected = student[name].double()
        torch.testing.assert_close(weight.double(), expected, rtol=1e-6, atol=1e-7)
    moved = [name for name in teacher if not torch.equal(student[name], fused[name])]
    assert any(name.startswith('backbone') and 'running_mean' in name for name in moved)
    assert any('query_feat' in name for name in moved)
    assert not any('cls_embed.steps.1' in name for name in moved)


def test_other_shapes_and_whole_numbers_stay():
    student = {'a': torch.ones(2), 'b': torch.ones(3), 'n': torch.tensor(8)}
    fuse(student, {'a': torch.zeros(2), 'b': torch.zeros(2), 'n': torch.tensor(2)}, 0.25)
    assert student['a'].tolist() == [0.75, 0.75]
    assert student['b'].tolist() == [1, 1, 1]
    assert student['n'] == 8


def test_a_moving_average_is_fused_too(monkeypatch):
    monkeypatch.setattr(
        'mmcomformer.engine.hooks.weight_fusion_hook.scenario_of',
        lambda cfg: SimpleNamespace(step=1),
    )
    student, average, teacher = (torch.nn.Linear(2, 2) for _ in range(3))
    before = average.weight.detach().clone()
    student.teacher = SimpleNamespace(model=teacher)
    ema = EMAHook()
    ema.ema_model = SimpleNamespace(module=average)
    runner = SimpleNamespace(cfg=None, model=student, hooks=[ema], iter=0, max_iters=2)
    WeightFusionHook(0.25).after_train_iter(runner, 0)
    assert torch.equal(average.weight, before)
    runner.iter = 1
    WeightFusionHook(0.25).after_train_iter(runner, 1)
    torch.testing.assert_close(average.weight, 0.75 * before + 0.25 * teacher.weight)


@pytest.mark.parametrize(
    ('share', 'error'), [(-0.1, ValueError), (1, ValueError), (True, TypeError), ('1', TypeError)]
)
def test_bad_share(share, error):
    with pytest.raises(error, match='WeightFusionHook.share: expected'):
        WeightFusionHook(share)


@pytest.mark.parametrize(('step', 'refused'), [(0, False), (1, True)])
def test_needs_a_teacher(step, refused, monkeypatch):
    monkeypatch.setattr(
        'mmcomformer.engine.hooks.weight_fusion_hook.scenario_of',
        lambda cfg: SimpleNamespace(step=step),
    )
    runner = SimpleNamespace(cfg=None, model=SimpleNamespace(teacher=None))
    hook = WeightFusionHook(SHARE)
    if not refused:
        hook.before_train(runner)
        return
    with pytest.raises(RuntimeError, match='no teacher .*TeacherHook'):
        hook.before_train(runner)
