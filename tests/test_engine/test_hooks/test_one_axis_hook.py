"""The scalars of all steps on one axis."""

from types import SimpleNamespace

import pytest
from mmengine.visualization import LocalVisBackend, TensorboardVisBackend

from mmcomformer.engine.hooks.one_axis_hook import OneAxisHook


@pytest.fixture
def backends(tmp_path, monkeypatch):
    """A tracker and the local file, and what each is told."""
    told = {'tracker': [], 'local': []}
    found = {}
    for name, kind in (('tracker', TensorboardVisBackend), ('local', LocalVisBackend)):
        backend = kind(str(tmp_path / name))

        def note(*args, name=name, step=0, **kwargs):
            told[name].append((*args, step))

        for method in ('add_scalar', 'add_scalars', 'add_image'):
            monkeypatch.setattr(backend, method, note)
        found[name] = backend
    runner = SimpleNamespace(visualizer=SimpleNamespace(_vis_backends=found))
    OneAxisHook(1500).before_run(runner)
    return found, told


def test_trackers_go_on_where_the_step_before_ended(backends):
    found, told = backends
    for backend in found.values():
        backend.add_scalars({'loss': 1.0}, step=50, file_path='x.json')
        backend.add_scalar('PQ', 40.0, step=500)
        backend.add_image('first', None, step=3)
    assert told['tracker'] == [({'loss': 1.0}, 1550), ('PQ', 40.0, 2000), ('first', None, 1503)]
    assert told['local'] == [({'loss': 1.0}, 50), ('PQ', 40.0, 500), ('first', None, 3)]


def test_positions(backends):
    backends[0]['tracker'].add_scalars({'loss': 1.0}, 50)
    backends[0]['tracker'].add_scalar('PQ', 40.0, 500)
    assert backends[1]['tracker'] == [({'loss': 1.0}, 1550), ('PQ', 40.0, 2000)]
