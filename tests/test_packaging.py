import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

import mmcomformer

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / 'configs'
SCRIPTS = [ROOT / '.ci' / 'run', *sorted((ROOT / 'tools').glob('*.sh'))]
BUILD_INPUTS = (
    'setup.py',
    'pyproject.toml',
    'MANIFEST.in',
    'LICENSE',
    'README.md',
    'CITATION.cff',
    'model-index.yml',
    'requirements',
    'configs',
    'tools',
    'mmcomformer',
)


def run(*command, cwd, **environment):
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in ('VIRTUAL_ENV', 'CONDA_PREFIX', 'MMCOMFORMER_FAMILY', 'PYTHON')
    }
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
    )


def succeed(*command, cwd, **environment):
    done = run(*command, cwd=cwd, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope='module')
def checkout(tmp_path_factory):
    """Copy of the files of this checkout that a build reads."""
    folder = tmp_path_factory.mktemp('build') / 'checkout'
    folder.mkdir()
    ignore = shutil.ignore_patterns('.mim', '__pycache__')
    for name in BUILD_INPUTS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=ignore)
        elif (ROOT / name).exists():
            shutil.copy2(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope='module')
def wheel(checkout):
    """Wheel that is built from the source distribution, not from the checkout."""
    out = checkout.parent / 'out'
    succeed(sys.executable, 'setup.py', '-q', 'sdist', '-d', out, cwd=checkout)
    with tarfile.open(next(out.glob('*.tar.gz'))) as archive:
        archive.extractall(out, filter='data')
    source = out / f'mmcomformer-{mmcomformer.__version__}'
    succeed(sys.executable, 'setup.py', '-q', 'bdist_wheel', '-d', out, cwd=source)
    return next(out.glob('*.whl'))


def shipped_files():
    names = ['model-index.yml', *(f'tools/{path.name}' for path in (ROOT / 'tools').glob('*.*'))]
    return names + [str(path.relative_to(ROOT)) for path in CONFIGS.rglob('*.py')]


class TestWheel:
    def test_contents(self, wheel):
        with zipfile.ZipFile(wheel) as archive:
            names = set(archive.namelist())
            metadata = next(name for name in names if name.endswith('.dist-info/METADATA'))
            text = archive.read(metadata).decode()
        modules = {
            str(path.relative_to(ROOT))
            for path in (ROOT / 'mmcomformer').rglob('*')
            if '.mim' not in path.parts and path.suffix in ('.py', '.pyi', '.j2')
        }
        assert modules <= names
        assert {f'mmcomformer/.mim/{name}' for name in shipped_files()} <= names
        assert 'mmcomformer/py.typed' in names
        assert not [name for name in names if name.startswith(('tests', 'tools', 'configs'))]
        assert not [name for name in names if '__pycache__' in name]
        assert f'Version: {mmcomformer.__version__}\n' in text
        assert 'Requires-Python: >=3.10\n' in text
        required = [x for x in text.splitlines() if x.startswith('Requires-Dist:')]
        bare = ' '.join(line for line in required if 'extra ==' not in line)
        assert 'torch' in bare
        assert 'mm' not in bare
        for extra in ('onedl', 'openmmlab', 'tests'):
            assert f'Provides-Extra: {extra}\n' in text

    def test_mim_finds_tools_and_each_config_once(self, wheel, tmp_path):
        pip = (sys.executable, '-m', 'pip', 'install', '-q', '--no-deps', '--no-index')
        succeed(*pip, '--target', tmp_path / 'site', wheel, cwd=tmp_path)
        code = (
            'from mim.utils import get_installed_path, recursively_find\n'
            'root = get_installed_path("mmcomformer")\n'
            'print(root)\n'
            'print(*recursively_find(root, "comformer_shapes_6-3.py", followlinks=True))\n'
        )
        found = succeed(sys.executable, '-c', code, cwd=tmp_path, PYTHONPATH=str(tmp_path / 'site'))
        package, *configs = found.split()
        assert Path(package, '.mim', 'tools', 'train.py').is_file()
        assert len(configs) == 1
        # so does the command, outside of a checkout
        command = (sys.executable, '-m', 'mmcomformer')
        listed = succeed(*command, cwd=tmp_path, PYTHONPATH=str(tmp_path / 'site'))
        assert '  check_dataset ' in listed
        # and so do the tools themselves, which mim runs with the name as it is
        code = (
            'from mmcomformer.config_files import find_config\n'
            'from mmengine.config import Config\n'
            'print(find_config("comformer_shapes_6-3.py"))\n'
            'open("own.py", "w").write("_base_ = \'mmcomformer::comformer_shapes_6-3.py\'")\n'
            'print(Config.fromfile("own.py").model.type)\n'
        )
        found = succeed(sys.executable, '-c', code, cwd=tmp_path, PYTHONPATH=str(tmp_path / 'site'))
        path, kind = found.splitlines()[-2:]
        site = tmp_path / 'site' / 'mmcomformer' / '.mim' / 'configs'
        assert Path(path) == site / 'comformer_shapes_6-3.py'
        assert kind == 'ContinualMaskFormer'

    def test_editable(self, checkout):
        out = checkout.parent / 'editable'
        command = (sys.executable, 'setup.py', '-q', 'editable_wheel', '-d', out)
        for _ in range(2):  # the second time .mim is there
            succeed(*command, cwd=checkout)
        mim = checkout / 'mmcomformer' / '.mim'
        assert (mim / 'tools').is_symlink()
        assert (mim / 'tools').resolve() == checkout / 'tools'
        # onedl-mim searches the whole checkout through links: no config may be found twice
        assert not (mim / 'configs').exists()


class TestConfigs:
    def test_basenames_are_unique(self):
        names = [path.name for path in CONFIGS.rglob('*.py')]
        assert sorted(names) == sorted(set(names))

    def test_metafile_lists_every_leaf(self):
        index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
        models, collections = {}, set()
        for name in index['Import']:
            metafile = yaml.safe_load((ROOT / name).read_text())
            models.update({model['Config']: model for model in metafile['Models']})
            collections.update(item['Name'] for item in metafile['Collections'])
        assert set(models) == {f'configs/{path.name}' for path in CONFIGS.glob('*.py')}
        for config, model in models.items():
            assert model['Name'] == Path(config).stem
            assert model['In Collection'] in collections


class TestScripts:
    @pytest.mark.parametrize('script', SCRIPTS, ids=lambda path: path.name)
    def test_syntax(self, script):
        succeed('bash', '-n', script, cwd=ROOT)

    @pytest.mark.parametrize('name', ['dist_train.sh', 'dist_test.sh', 'slurm_train.sh'])
    def test_usage(self, name):
        done = run('bash', ROOT / 'tools' / name, 'one', cwd=ROOT)
        assert done.returncode == 2
        assert f'{name} ' in done.stderr

    @pytest.mark.parametrize(
        ('name', 'arguments', 'expected'),
        [
            (
                'dist_train.sh',
                ['cfg.py', '2', '--step', '1'],
                '--nproc_per_node=2 {tools}/train.py cfg.py --launcher pytorch --step 1\n',
            ),
            (
                'dist_test.sh',
                ['cfg.py', 'a b.pth', '4'],
                '--nproc_per_node=4 {tools}/test.py cfg.py a b.pth --launcher pytorch\n',
            ),
        ],
    )
    def test_launch(self, tmp_path, name, arguments, expected):
        python = stub(tmp_path / 'python', 'echo "$@"')
        script = ROOT / 'tools' / name
        printed = succeed('bash', script, *arguments, cwd=ROOT, PYTHON=str(python), NNODES='3')
        assert printed.startswith('-m torch.distributed.run --nnodes=3 --node_rank=0 ')
        assert printed.endswith(expected.format(tools=ROOT / 'tools'))

    def test_slurm(self, tmp_path):
        stub(tmp_path / 'srun', 'echo "$@"')
        printed = succeed(
            *('bash', ROOT / 'tools' / 'slurm_train.sh', 'gpu', 'job', 'cfg.py', '--amp'),
            cwd=ROOT,
            PATH=f'{tmp_path}{os.pathsep}{os.environ["PATH"]}',
            GPUS='4',
            SRUN_ARGS='--quotatype=auto',
        )
        assert printed.startswith('-p gpu --job-name=job --gres=gpu:4 --ntasks=4 ')
        assert '--quotatype=auto python -u ' in printed
        assert printed.endswith('/train.py cfg.py --launcher slurm --amp\n')


class TestEnvironment:
    @pytest.fixture
    def script(self, tmp_path):
        """Test script in a checkout that has no environment yet."""
        shutil.copytree(ROOT / 'tools', tmp_path / 'tools')
        return tmp_path / 'tools' / 'run_tests.sh'

    def test_unknown_family(self, script, tmp_path):
        done = run('bash', script, cwd=tmp_path, MMCOMFORMER_FAMILY='stock')
        assert done.returncode == 1
        assert "MMCOMFORMER_FAMILY is 'stock', expected onedl or openmmlab" in done.stderr

    def test_python_too_old(self, script, tmp_path):
        old = stub(tmp_path / 'python3.8', '[ "$1" = --version ] && echo Python 3.8.18')
        done = run('bash', script, cwd=tmp_path, PYTHON=str(old))
        assert done.returncode == 1
        assert 'no Python 3.10 or newer found' in done.stderr
        assert 'Python 3.8.18' in done.stderr

    def test_no_venv_module(self, script, tmp_path):
        body = f'case "$2" in *ensurepip*) exit 1 ;; esac\nexec {sys.executable} "$@"'
        partial = stub(tmp_path / 'python3', body)
        done = run('bash', script, cwd=tmp_path, PYTHON=str(partial))
        assert done.returncode == 1
        assert 'apt install python3-venv' in done.stderr

    def test_active_environment_is_broken(self, script, tmp_path):
        done = run('bash', script, cwd=tmp_path, VIRTUAL_ENV=str(tmp_path / 'gone'))
        assert done.returncode == 1
        assert 'has no bin/python; deactivate it' in done.stderr

    def test_second_time_is_quick(self, tmp_path):
        """An environment that is up to date is used without asking pip."""
        for name in BUILD_INPUTS:
            source = ROOT / name
            if source.is_dir():
                ignore = shutil.ignore_patterns('.mim', '__pycache__')
                shutil.copytree(source, tmp_path / name, ignore=ignore)
            elif source.exists():
                shutil.copy2(source, tmp_path / name)
        calls = tmp_path / 'calls.txt'
        active = tmp_path / 'active'
        python = active / 'bin' / 'python'
        python.parent.mkdir(parents=True)
        stub(
            python,
            f'echo "$*" >>{calls}\n'
            'case "$1 $2" in\n'
            f'  *sys.prefix*) echo {active} ;;\n'
            f'  "- 4.0") exec {sys.executable} "$@" ;;\n'
            'esac',
        )
        command = ('bash', tmp_path / 'tools' / 'run_tests.sh', '-k', 'nothing')
        for installs in (1, 0):
            calls.unlink(missing_ok=True)
            succeed(*command, cwd=tmp_path, VIRTUAL_ENV=str(active))
            log = calls.read_text().splitlines()
            assert sum(f'pip install -q -e {tmp_path}[onedl,tests]' in x for x in log) == installs
            options = '-n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder'
            assert log[-1] == f'-m pytest {options} -k nothing'
        (tmp_path / 'requirements' / 'onedl.txt').write_text('onedl-mim\n')
        succeed(*command, cwd=tmp_path, VIRTUAL_ENV=str(active))
        assert f'pip install -q -e {tmp_path}[onedl,tests]' in calls.read_text()


def stub(path, body):
    path.write_text(f'#!/usr/bin/env bash\n{body}\n')
    path.chmod(0o755)
    return path
