"""The commands of tools/misc, in this process."""

import json
import runpy
import shutil
import sys

import pytest
from runs import SHAPES_CONFIG, TOOLS, shapes_options

from mmcomformer.outputs import RECORD

pytestmark = pytest.mark.families


@pytest.fixture
def command(monkeypatch):
    def run(script, *arguments):
        monkeypatch.setattr(sys, 'argv', [script, *map(str, arguments)])
        try:
            runpy.run_path(str(TOOLS / script), run_name='__main__')
        except SystemExit as error:
            return error.code
        return None

    return run


def options(root):
    return ['--cfg-options', *shapes_options(root, iters=1)]


class TestCheckDataset:
    def test_sound(self, command, shapes_root, tmp_path, capfd):
        out = tmp_path / 'deep' / 'report.json'
        code = command('misc/check_dataset.py', SHAPES_CONFIG, '--json', out, *options(shapes_root))
        assert code == 0
        report = json.loads(out.read_text())
        assert report['can_train']
        assert [step['step'] for step in report['steps']] == [0, 1, 2]
        assert sorted(out.parent.iterdir()) == [out.parent / RECORD, out]
        # no terminal here: one line per set, and none of them rewritten
        text = ''.join(capfd.readouterr())
        assert text.count('reading train: ') == text.count('reading val: ') == 1
        assert '\r' not in text
        assert text.count('step 0 (overlap)') == 1

    def test_faulty(self, command, shapes_root, tmp_path, capsys):
        root = tmp_path / 'shapes'
        shutil.copytree(shapes_root, root)
        (root / 'panoptic_train' / '000003.png').unlink()
        assert command('misc/check_dataset.py', SHAPES_CONFIG, *options(root)) == 1
        text = capsys.readouterr().out
        assert 'fault: missing file: 1' in text
        assert f'{root}/panoptic_train/000003.png does not exist' in text
        assert text.endswith('training cannot start\n')

    def test_no_data(self, command, tmp_path, capsys):
        assert command('misc/check_dataset.py', SHAPES_CONFIG, *options(tmp_path)) == 1
        assert 'annotations/panoptic_train.json does not exist' in capsys.readouterr().out

    def test_no_config(self, command):
        message = command('misc/check_dataset.py', 'nothing.py')
        assert message.startswith('error: config nothing.py: no such file')


class TestBrowseDataset:
    def test_files(self, command, shapes_root, tmp_path, capsys):
        arguments = ('--step', 2, '--num', 2, '--out-dir', tmp_path / 'pictures')
        command('misc/browse_dataset.py', SHAPES_CONFIG, *arguments, *options(shapes_root))
        assert len(list((tmp_path / 'pictures').glob('*.png'))) == 2
        assert capsys.readouterr().out.endswith(f'2 pictures in {tmp_path}/pictures\n')

    def test_memory(self, command, shapes_root, tmp_path, capsys):
        arguments = ['--step', 1, '--memory', '--out-dir', tmp_path / 'pictures']
        memory = [*options(shapes_root), 'memory.size=3']
        command('misc/browse_dataset.py', SHAPES_CONFIG, *arguments, *memory)
        assert capsys.readouterr().out.endswith(f'3 pictures in {tmp_path}/pictures\n')

    def test_unknown_step(self, command):
        message = command('misc/browse_dataset.py', SHAPES_CONFIG, '--step', 3, '--out-dir', 'x')
        assert 'expected 0 to 2, got 3' in message
