"""``python -m mmcomformer`` runs the scripts in tools/ by name."""

import sys
from pathlib import Path

import pytest

from mmcomformer.__main__ import commands, main

TOOLS = Path(__file__).resolve().parents[1] / 'tools'


def call(monkeypatch, *arguments):
    monkeypatch.setattr(sys, 'argv', ['mmcomformer', *arguments])
    monkeypatch.setattr(sys, 'path', list(sys.path))
    main()


def test_every_script_has_one_name():
    paths = [
        path
        for path in TOOLS.rglob('*.py')
        if path.parent.name != 'benchmarks' and 'ArgumentParser' in path.read_text()
    ]
    assert sorted(commands().values()) == sorted(paths)
    assert len(paths) > 12


@pytest.mark.parametrize('arguments', [[], ['--help'], ['-h']])
def test_list(monkeypatch, capsys, arguments):
    call(monkeypatch, *arguments)
    usage, _, _, *lines = capsys.readouterr().out.splitlines()
    assert usage.startswith('usage: python -m mmcomformer COMMAND')
    assert [line.split()[0] for line in lines] == list(commands())
    # each says what it does
    assert all(line.endswith(('.', ',')) or len(line.split()) > 3 for line in lines)


def test_arguments_are_those_of_the_script(monkeypatch, capsys, tmp_path):
    with pytest.raises(SystemExit) as ended:
        call(monkeypatch, 'report', str(tmp_path / 'none'), '--html')
    assert ended.value.code == 1
    assert f'{tmp_path}/none' in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        call(monkeypatch, 'recompute_pq', '--help')
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith('usage: recompute_pq.py')
    # where scripts find what they import from beside them
    assert sys.path[0] == str(TOOLS / 'misc')


@pytest.mark.parametrize(
    ('name', 'hint'), [('repot', ', did you mean report'), ('x', '; expected one of compare, ')]
)
def test_no_such_command(monkeypatch, name, hint):
    with pytest.raises(SystemExit) as ended:
        call(monkeypatch, name)
    assert f'error: mmcomformer {name}: there is no such command{hint}' in str(ended.value.code)
