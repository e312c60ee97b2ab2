"""The commands that convert datasets; what they write is tested with the package."""

import runpy
import subprocess
import sys

import downloads
import pytest


@pytest.fixture
def command(repo_root, monkeypatch, capsys):
    """Run a converter in this process; return its exit code and what it prints."""
    folder = repo_root / 'tools' / 'dataset_converters'

    def run(name, *args):
        monkeypatch.setattr(sys, 'argv', [name, *map(str, args)])
        with pytest.raises(SystemExit) as caught:
            runpy.run_path(str(folder / f'{name}.py'), run_name='__main__')
        return caught.value.code, capsys.readouterr().out

    return run


def instances_arguments(root):
    instances = downloads.Instances(root)
    instances.add(7, 1, downloads.box(1, 1, 4, 4))
    instances.add(7, 5, downloads.box(2, 2, 4, 4))
    instances.write()
    return (
        *(instances.json, root / 'images', root / 'pan.json'),
        *('--stuff', root / 'stuff', '--stuff-categories', root / 'stuff.json'),
    )


def voc_arguments(root):
    return downloads.write_voc(root), '--sbd', root / 'benchmark_RELEASE' / 'dataset'


ARGUMENTS = {
    'ade20k': lambda root: (downloads.write_ade(root), '--shifted-semantic'),
    'cityscapes_panoptic': lambda root: (downloads.write_cityscapes(root),),
    'coco_panoptic': lambda root: (downloads.write_coco(root),),
    'coco_instances': lambda root: (*instances_arguments(root), '--overlap', 'later'),
    'voc_semantic': voc_arguments,
}


@pytest.mark.families
@pytest.mark.parametrize('name', ARGUMENTS)
def test_convert_and_check(command, tmp_path, name):
    arguments = ARGUMENTS[name](tmp_path)
    code, printed = command(name, *arguments, '--workers', '2')
    assert code == 0, printed
    assert printed.endswith('complete\n')
    if name != 'coco_panoptic':
        assert 'files written' in printed
        assert 'files were there' in command(name, *arguments, '--workers', '1')[1]
    code, printed = command(name, *arguments, '--check')
    assert code == 0, printed
    for path in tmp_path.rglob('*.png'):
        if {'ade20k_panoptic_val', 'cityscapes_panoptic_val', 'pan', 'panoptic_val2017',
            'SegmentationClassAug'} & set(path.parts):  # fmt: skip
            path.unlink()
            break
    code, printed = command(name, *arguments, '--check')
    assert code == 1
    assert f'{path} does not exist' in printed
    assert printed.endswith('not complete: correct the faults and run the command again\n')


def test_out(command, tmp_path):
    root = downloads.write_ade(tmp_path)
    before = sorted(root.rglob('*'))
    assert command('ade20k', root, '--out', tmp_path / 'out', '--workers', '1')[0] == 0
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == [
        '.mmcomformer_written',
        'ade20k_panoptic_train',
        'ade20k_panoptic_train.json',
        'ade20k_panoptic_val',
        'ade20k_panoptic_val.json',
    ]
    assert sorted(root.rglob('*')) == before


def test_ade20k_instances(command, tmp_path):
    root = downloads.write_ade(tmp_path)
    code, printed = command('ade20k', root, '--instances', '--workers', '1')
    assert code == 0, printed
    assert f'{root}/ade20k_instance_train.json: 3 images, 9 instances' in printed
    assert f'{root}/ade20k_instance_val.json: 1 images, 3 instances' in printed
    assert not (root / 'ade20k_panoptic_val.json').exists()


@pytest.mark.parametrize('option', ['--check', '--shifted-semantic'])
def test_options_that_instances_go_without(repo_root, monkeypatch, capsys, tmp_path, option):
    script = repo_root / 'tools' / 'dataset_converters' / 'ade20k.py'
    monkeypatch.setattr(sys, 'argv', ['ade20k', str(tmp_path), '--instances', option])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(script), run_name='__main__')
    assert caught.value.code == 2
    assert '--instances goes without --check and --shifted-semantic' in capsys.readouterr().err


def test_faults(command, tmp_path):
    arguments = [*instances_arguments(tmp_path), '--overlap', 'error']
    code, printed = command('coco_instances', *arguments, '--workers', '1')
    assert code == 1
    assert 'a.jpg: 9 pixels belong to more than one instance' in printed
    assert 'pan.json was not written' in printed
    code, printed = command('coco_instances', *arguments, '--workers', '1', '--skip-faulty')
    assert code == 0
    assert '1 faults, left out' in printed
    assert 'pan.json: 1 of 2 images' in printed


@pytest.mark.parametrize('name', [name for name in ARGUMENTS if name != 'coco_instances'])
def test_wrong_layout_is_one_message(command, tmp_path, name):
    code, printed = command(name, tmp_path)
    assert code.startswith(f'error: {tmp_path}')
    assert 'does not exist; expected the layout\n' in code
    assert list(tmp_path.iterdir()) == []


def test_help_is_quick(repo_root):
    """The libraries, which take seconds, are not loaded for it."""
    for name in ARGUMENTS:
        script = repo_root / 'tools' / 'dataset_converters' / f'{name}.py'
        done = subprocess.run(
            [sys.executable, str(script), '--help'],
            capture_output=True,
            text=True,
            timeout=10,
        )
        assert done.returncode == 0
        assert '--check' in done.stdout
