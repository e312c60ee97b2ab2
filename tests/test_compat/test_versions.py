import importlib.util
from pathlib import Path

import pytest
from pythons import run_python

from mmcomformer.compat import versions

pytestmark = pytest.mark.families

GOOD = {
    'torch': '2.13.0+cpu',
    'mmengine': '0.10.7',
    'mmcv': '2.1.0',
    'mmdet': '3.3.0',
    'mmseg': '1.2.2',
}


def write_stubs(folder, stubs):
    """Write packages that are nothing but a version, or the code in ``stubs``."""
    for name, version in GOOD.items():
        (folder / name).mkdir()
        content = stubs.get(name, f'__version__ = {version!r}')
        (folder / name / '__init__.py').write_text(content)
    (folder / 'mmengine' / 'registry.py').write_text('class Registry:\n    def get(self, key): 0')
    (folder / 'mmengine' / 'config.py').write_text('class Config:\n    _get_cfg_path = None')


def last_line(done):
    assert done.returncode == 1
    return done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ('stubs', 'message'),
    [
        ({'torch': '__version__ = "2.3.1"'}, 'needs torch >=2.4,<3, but 2.3.1 is installed'),
        (
            {'mmengine': 'raise ModuleNotFoundError("No module named \'mmengine\'")'},
            "needs mmengine >=0.10.7,<0.11, which cannot be imported (No module named 'mm",
        ),
        ({'mmengine': '__version__ = "0.10.6"'}, 'needs mmengine >=0.10.7,<0.11, but 0.10.6'),
        ({'mmcv': '__version__ = "1.7.2"'}, 'needs mmcv >=2.1,<2.4, but 1.7.2 is installed'),
        (
            {'mmdet': 'assert False, "MMCV==2.3.6 is used but incompatible"'},
            'needs mmdet >=3.3,<3.6, which cannot be imported (MMCV==2.3.6 is used but inc',
        ),
        ({'mmseg': '__version__ = "1.5.0"'}, 'needs mmseg >=1.2.2,<1.5, but 1.5.0 is inst'),
    ],
)
@pytest.mark.parametrize(
    'code',
    [
        'import mmcomformer.components',
        # mmengine's registries raise what the import of a component raises
        'import mmcomformer\n'
        'from mmengine.registry import Registry\n'
        'Registry().get("ContinualMaskFormer")',
    ],
    ids=['import', 'lookup'],
)
def test_bad_library_is_named(tmp_path, stubs, message, code):
    write_stubs(tmp_path, stubs)
    line = last_line(run_python(code, tmp_path))
    assert line.startswith(f'ImportError: mmcomformer {message}')
    assert "pip install 'mmcomformer[onedl]'" in line


def test_bad_mmengine_stops_the_import_of_the_package(tmp_path):
    write_stubs(tmp_path, {'mmengine': '__version__ = "0.10.6"'})
    line = last_line(run_python('import mmcomformer', tmp_path))
    assert line.startswith('ImportError: mmcomformer needs mmengine >=0.10.7,<0.11, but 0.10.6')


@pytest.mark.parametrize('missing', GOOD)
def test_missing_library_stops_the_import_of_the_package(tmp_path, missing):
    """As after ``pip install mmcomformer`` without an extra: nothing else is on the path."""
    write_stubs(tmp_path, {})
    (tmp_path / missing).rename(tmp_path / 'elsewhere')
    lazy_loader = Path(importlib.util.find_spec('lazy_loader').origin).parent
    (tmp_path / 'lazy_loader').symlink_to(lazy_loader)
    line = last_line(run_python('import mmcomformer', tmp_path, options=['-S']))
    assert line.startswith(f'ImportError: mmcomformer needs {missing} >=')
    assert line.endswith('stock OpenMMLab releases)')
    assert "which is not installed; install them with: pip install 'mmcomformer[onedl]'" in line


@pytest.mark.parametrize(
    ('version', 'numbers'),
    [('2.13.0+cpu', (2, 13, 0)), ('0.10.12rc1', (0, 10, 12)), ('2.4', (2, 4)), ('dev', ())],
)
def test_numbers(version, numbers):
    assert versions._numbers(version) == numbers
