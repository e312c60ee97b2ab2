"""The scalars of all steps on one axis."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.visualization import LocalVisBackend, TensorboardVisBackend, Visualizer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mmcomformer.engine.hooks.one_axis_hook import OneAxisHook


@pytest.fixture
def visualizer(tmp_path):
    """What writes both, in the second of two steps, of which the first had 1500 iterations."""
    visualizer = Visualizer(
        name=tmp_path.name,
        vis_backends=[dict(type=LocalVisBackend), dict(type=TensorboardVisBackend)],
        save_dir=str(tmp_path),
    )
    visualizer.add_config(Config({}))
    OneAxisHook(1500).before_run(SimpleNamespace(visualizer=visualizer))
    yield visualizer
    visualizer.close()


def test_trackers_go_on_where_the_step_before_ended(visualizer, tmp_path):
    # as the hook of the log calls them
    visualizer.add_scalars({'loss': 1.0, 'lr': 0.5}, step=50, file_path='more.json')
    visualizer.add_scalar('PQ', 40.0, 500)
    visualizer.add_scalars({'loss': 0.5}, step=100)
    visualizer.add_image('first', np.zeros((4, 4, 3), np.uint8), step=3)
    visualizer.close()
    folder = tmp_path / 'vis_data'
    events = EventAccumulator(str(folder))
    events.Reload()
    for name, steps in (('loss', [1550, 1600]), ('lr', [1550]), ('PQ', [2000])):
        assert [event.step for event in events.Scalars(name)] == steps
    assert [event.value for event in events.Scalars('run_iter')] == [1550, 1600]
    assert [event.step for event in events.Images('first')] == [1503]
    lines = [json.loads(line) for line in (folder / 'scalars.json').read_text().splitlines()]
    assert [line['step'] for line in lines] == [50, 500, 100]
    assert 'run_iter' not in lines[0]
