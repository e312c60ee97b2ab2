import json

import compare
import measuring
import pytest


class Worker:
    """In place of a process."""

    closed = 0

    def __init__(self, checkout, size):
        self.seconds = 0.2 if checkout is compare.HERE else 0.1

    def step(self):
        return self.seconds

    def close(self):
        Worker.closed += 1


def test_figures(run_benchmark, monkeypatch, tmp_path):
    out = tmp_path / 'figures.json'
    monkeypatch.setattr(compare, 'Worker', Worker)
    assert run_benchmark(compare, str(compare.HERE), '--runs', 3, '--json', out) is None
    figures = json.loads(out.read_text())['figures']
    assert {name: (of['median'], of['runs']) for name, of in figures.items()} == {
        'here, ms': (200, 3),
        'there, ms': (100, 3),
        'here / there, %': (200, 3),
    }
    assert Worker.closed == 2


def test_worker_uses_its_checkout(monkeypatch, tmp_path):
    """The protocol, with a package that is not ours and a step that is not a training step."""
    (tmp_path / 'mmcomformer').mkdir()
    (tmp_path / 'mmcomformer' / '__init__.py').write_text('seconds = 1.5')
    step = 'print("log", f"\\nseconds {mmcomformer.seconds}", flush=True)'
    script = f'import sys, mmcomformer\nfor _ in sys.stdin: {step}'
    monkeypatch.setattr(compare, '_WORKER', script)
    worker = compare.Worker(tmp_path, compare.SIZES['tiny'])
    assert [worker.step(), worker.step()] == [1.5, 1.5]
    worker.close()
    assert worker.process.returncode == 0


def test_worker_that_fails(monkeypatch):
    monkeypatch.setattr(compare, '_WORKER', 'raise SystemExit(3)')
    worker = compare.Worker(compare.HERE, compare.SIZES['tiny'])
    with pytest.raises(measuring.BenchmarkError, match='its training step failed'):
        worker.step()
    worker.close()


def test_no_checkout(run_benchmark, tmp_path):
    message = run_benchmark(compare, tmp_path)
    assert message == f'error: {tmp_path}: expected a checkout of this repository'
