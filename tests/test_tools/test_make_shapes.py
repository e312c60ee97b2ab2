import runpy
import sys

import pytest


@pytest.fixture
def make_shapes(repo_root, monkeypatch):
    def run(*arguments):
        monkeypatch.setattr(sys, 'argv', ['make_shapes.py', *map(str, arguments)])
        runpy.run_path(str(repo_root / 'tools' / 'make_shapes.py'), run_name='__main__')

    return run


def test_twice(make_shapes, tmp_path, capsys):
    out = tmp_path / 'deep' / 'set'
    arguments = ('--out', out, '--train', 2, '--val', 1, '--size', 32, '--classes', 5)
    make_shapes(*arguments)
    assert 'set: written' in capsys.readouterr().out
    assert len(list((out / 'train').iterdir())) == 2
    make_shapes(*arguments)
    assert capsys.readouterr().out == f'{out}: already there\n'


def test_errors_without_traceback(make_shapes, tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(SystemExit, match='error: .* is not a Shapes set'):
        make_shapes('--out', tmp_path)
    with pytest.raises(SystemExit, match='error: num_train: expected at least 1, got 0'):
        make_shapes('--out', tmp_path / 'set', '--train', 0)
