"""tools/compare.py before anything is trained."""

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def compare():
    spec = importlib.util.spec_from_file_location('compare', ROOT / 'tools' / 'compare.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def call(compare, tmp_path, monkeypatch, capsys):
    """Run the command in an empty folder; return its exit code and what it printed."""
    monkeypatch.chdir(tmp_path)
    # it sets them for the trainings
    for name in ('RECIPE', 'SETTING'):
        monkeypatch.setenv(name, '')
        monkeypatch.delenv(name)

    def run(*args):
        try:
            code = compare.main(args)
        except SystemExit as error:
            code = error.code
        return code, capsys.readouterr().out

    return run


def test_dry_run(call, tmp_path):
    args = ('shapes_6-3', '--methods', 'finetune,mib,joint', '--seeds', '4,')
    code, out = call(*args, '--dry-run')
    assert code == 0
    rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in out.splitlines()[2:-2]]
    after = 'after finetune, seed 4, step 0'
    assert rows == [
        ['finetune', '4', '0', '1000', 'to train', ''],
        ['joint', '4', '0', '2000', 'to train', ''],
        ['finetune', '4', '1', '500', 'to train', ''],
        ['mib', '4', '1', '500', 'to train', after],
        ['finetune', '4', '2', '500', 'to train', ''],
        ['mib', '4', '2', '500', 'to train', ''],
    ]
    folder = 'work_dirs/compare/shapes_6-3_overlap_fair'
    assert out.endswith(f'6 of 6 steps to train, 5000 iterations, in {folder}\n')
    assert list(tmp_path.iterdir()) == []


def test_commands(call, tmp_path):
    options = ('--setting', 'disjoint', '--recipe', 'released', '--cfg-options', 'a.b=1')
    code, out = call('shapes_6-3', '--seeds', '1', '--print-commands', *options[:4])
    assert code == 0
    comments = [line for line in out.splitlines() if line.startswith('#')]
    assert comments[1] == '# mib, seed 0, after step 0 of finetune, seed 0'
    run = out.splitlines()[3]
    assert run.startswith('METHOD=mib RECIPE=released SETTING=disjoint python ')
    assert run.count(' && ') == 1
    assert '--teacher work_dirs/compare/shapes_6-3_disjoint_released/finetune/seed0/step0/' in run
    # what they leave is taken for what it is
    folder = tmp_path / 'work_dirs' / 'compare' / 'shapes_6-3_disjoint_released'
    assert [path.name for path in folder.iterdir()] == ['comparison.json']
    (folder / 'finetune' / 'seed0' / 'step0').mkdir(parents=True)
    assert call('shapes_6-3', '--seeds', '1', '--dry-run', *options[:4])[0] == 0
    # an option that nothing reads is found before anything is printed
    code, out = call('shapes_6-3', '--seeds', '1', '--print-commands', *options)
    assert 'nothing reads' in code
    assert out == ''


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (['shapes_9'], "error: scenario 'shapes_9': "),
        (['shapes_6-3', '--methods', 'mip'], 'error: --methods mip: no such method; expected'),
        (
            ['shapes_6-3', '--methods', 'mib, per_pixel_mib', '--dry-run'],
            'error: METHOD=per_pixel_mib: custom_hooks: this method is one of semantic segment',
        ),
        (
            ['shapes_6-3', '--configs', 'none'],
            "error: scenario 'shapes_6-3': none has no comformer_shapes_6-3.py; expected a folder",
        ),
        (
            ['shapes_6-3', '--setting', 'open'],
            'error: scenario.setting: expected one of ',
        ),
    ],
)
def test_bad_commands(call, tmp_path, args, message):
    code, _ = call(*args)
    assert code.startswith(message)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('option', ['--jobs=0', '--threads=-1', '--jobs=x'])
def test_numbers_that_are_none(call, option):
    assert call('shapes_6-3', option)[0] == 2


@pytest.mark.parametrize('methods', ['', ' , '])
def test_methods_that_are_none(call, methods):
    assert call('shapes_6-3', f'--methods={methods}')[0] == 2


@pytest.mark.parametrize('seeds', ['0', '-1', 'x', '', ',', '1,-2', '1,1'])
def test_seeds_that_are_none(call, seeds):
    assert call('shapes_6-3', f'--seeds={seeds}')[0] == 2


@pytest.mark.parametrize(
    ('text', 'seeds'), [('2', [0, 1]), ('2,', [2]), ('0,', [0]), ('5,7', [5, 7])]
)
def test_seeds(compare, text, seeds):
    assert compare.parse_seeds(text) == seeds


@pytest.mark.parametrize('how', [[], ['--dry-run'], ['--print-commands']])
def test_folder_of_another_scenario(call, tmp_path, how):
    folder = tmp_path / 'runs'
    folder.mkdir()
    record = {'scenario': 'shapes_4-1', 'setting': 'overlap', 'recipe': 'fair', 'methods': {}}
    (folder / 'comparison.json').write_text(json.dumps(record))
    code, out = call('shapes_6-3', '--work-dir', str(folder), '--seeds', '1', *how)
    assert out == ''
    assert 'its runs have the scenario shapes_4-1, not shapes_6-3' in code
    assert [path.name for path in folder.iterdir()] == ['comparison.json']
