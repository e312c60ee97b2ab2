"""Instance segmentation end to end: two steps of Shapes, small, in this process."""

import json

import pytest
import runs
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from small_runs import small_options

from mmcomformer.engine import driver
from mmcomformer.engine.evaluate import evaluate
from mmcomformer.engine.request import Request

pytestmark = pytest.mark.families

CONFIG = str(runs.CONFIGS / 'comformer_shapes_instances_6-2.py')


@pytest.fixture(autouse=True)
def in_process(monkeypatch):
    """Take back the scope that a run leaves behind; do not lay out the config for the log."""
    monkeypatch.setattr(Config, 'pretty_text', property(lambda cfg: repr(cfg.to_dict())))
    threads = torch.get_num_threads()
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield
    torch.set_num_threads(threads)


def request_in(root, work_dir, **options):
    settings = small_options(root, **{'train_cfg.max_iters': 2, 'train_cfg.val_interval': 2})
    return Request(config=CONFIG, work_dir=str(work_dir), cfg_options={**settings, **options})


def test_two_steps(shapes_root, tmp_path, capsys):
    request = request_in(shapes_root, tmp_path / 'run')
    driver.run(request)
    summary = json.loads((tmp_path / 'run' / 'summary.json').read_text())
    assert summary['task'] == 'instance'
    assert [len(entry['per_class']) for entry in summary['steps']] == [6, 8]
    assert set(summary['steps'][1]['metrics']) == {'AP', 'AP50', 'AP75'}
    assert set(summary['final']) == {'AP'}
    # the same checkpoint evaluates to the same values
    checkpoint = tmp_path / 'run' / 'step1' / 'iter_2.pth'
    results = evaluate(
        Request(
            config=CONFIG,
            step=1,
            work_dir=str(tmp_path / 'test'),
            cfg_options=request.cfg_options,
        ),
        str(checkpoint),
    )
    value = summary['steps'][1]['metrics']['AP']['all']
    assert results['continual/AP'] == pytest.approx(value, abs=1e-4)
