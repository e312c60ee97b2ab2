"""Ctrl-C ends a training where it can go on."""

import os
import signal
from pathlib import Path

import pytest
from mmengine.hooks import Hook
from small_runs import CONFIG, small_options

from mmcomformer.engine import driver
from mmcomformer.engine.checkpoint import previous_checkpoint, read_checkpoint
from mmcomformer.engine.cli import command_errors
from mmcomformer.engine.request import Request
from mmcomformer.registry import HOOKS

pytestmark = pytest.mark.families


class PressCtrlC(Hook):
    """Press Ctrl-C in an iteration, and remember which iterations there were."""

    at = 1
    times = 1
    seen = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.seen.append(runner.iter)
        if runner.iter == self.at:
            for _ in range(self.times):
                os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def press(monkeypatch):
    HOOKS._module_dict['PressCtrlC'] = PressCtrlC
    monkeypatch.setattr(PressCtrlC, 'seen', [])
    yield PressCtrlC
    del HOOKS._module_dict['PressCtrlC']


@pytest.fixture
def request_(shapes_root, tmp_path):
    options = small_options(shapes_root)
    options |= {
        'default_hooks.press': {'type': 'PressCtrlC'},
        'train_cfg.max_iters': 4,
        'default_hooks.checkpoint.interval': 100,
    }
    config = str(Path(CONFIG).with_name('finetune_shapes_6-3.py'))
    return dict(config=config, work_dir=str(tmp_path), step=0, cfg_options=options)


def test_saves_and_goes_on(request_, press, tmp_path, capsys):
    former = signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit) as ended, command_errors():
        driver.run(Request(**request_))
    assert ended.value.code == 130
    assert signal.getsignal(signal.SIGINT) == former
    assert press.seen == [0, 1]
    saved = previous_checkpoint(tmp_path / 'step0')
    assert saved.name == 'iter_2.pth'
    assert (tmp_path / 'step0' / 'last.pth').resolve() == saved.resolve()
    assert read_checkpoint(saved)['meta']['iter'] == 2
    printed = capsys.readouterr().out
    assert 'Ctrl-C: stopping after this iteration' in printed
    assert f'stopped; {tmp_path}/step0 has iter_2.pth. Go on with the same' in printed
    assert not (tmp_path / 'run.lock').exists()

    press.at = -1
    driver.run(Request(**request_, resume=True))
    assert press.seen == [0, 1, 2, 3]
    assert (tmp_path / 'step0' / 'last.pth').readlink() == Path('iter_4.pth')


def test_twice_stops_at_once(request_, press, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(press, 'at', 0)
    monkeypatch.setattr(press, 'times', 2)
    with pytest.raises(SystemExit), command_errors():
        driver.run(Request(**request_))
    assert not list(tmp_path.glob('step0/*.pth'))
    assert 'has no checkpoint of this step yet. Go on' in capsys.readouterr().out
