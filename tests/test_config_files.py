"""The configs of the package are found by name, from anywhere."""

import os

import pytest
from mmengine.config import Config

from mmcomformer import config_files
from mmcomformer.config_files import config_folder, config_names, find_config
from mmcomformer.engine.request import Request, load_config

LEAF = 'comformer_shapes_6-3.py'


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize('name', [LEAF, LEAF[:-3], f'mmcomformer::{LEAF}', f'configs/{LEAF}'])
def test_names_of_one_config(name):
    assert find_config(name) == config_folder() / LEAF


def test_a_file_of_the_user_comes_first(tmp_path):
    own = tmp_path / LEAF
    own.write_text('')
    assert os.path.samefile(find_config(LEAF), own)
    assert find_config(f'mmcomformer::{LEAF}') == config_folder() / LEAF


@pytest.mark.parametrize('name', ['no.py', '../setup.py', '', '_base_'])
def test_none(name):
    assert find_config(name) is None


def test_names():
    assert LEAF in config_names()
    assert not [name for name in config_names() if not name.endswith('.py')]


def test_wheel(tmp_path, monkeypatch):
    package = tmp_path / 'site' / 'mmcomformer'
    (package / '.mim' / 'configs').mkdir(parents=True)
    (package.parent / 'configs').mkdir()
    monkeypatch.setattr(config_files, '_PACKAGE', package)
    with pytest.raises(FileNotFoundError, match='are neither beside .*mmcomformer nor in'):
        config_folder()
    (package / '.mim' / 'configs' / 'metafile.yml').write_text('')
    assert config_folder() == package / '.mim' / 'configs'


def test_own_config_inherits_from_the_package(tmp_path):
    own = tmp_path / 'mine.py'
    own.write_text(f"_base_ = 'mmcomformer::{LEAF}'\nscenario = dict(increments=[4, 4, 4])\n")
    cfg = load_config(Request(config=str(own)), 1)
    assert cfg.model.panoptic_head.scenario.increments == [4, 4, 4]
    assert cfg.work_dir == './work_dirs/mine/step1'
    base = tmp_path / 'model.py'
    base.write_text("_base_ = ['mmcomformer::_base_/models/comformer_tiny.py']\n")
    assert Config.fromfile(base).model.type == 'ContinualMaskFormer'


def test_base_that_is_not_there(tmp_path):
    own = tmp_path / 'mine.py'
    own.write_text("_base_ = 'mmcomformer::gone.py'\n")
    with pytest.raises(FileNotFoundError, match="mine.py: _base_: mmcomformer has no config 'gone"):
        Config.fromfile(own)


def test_config_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=rf'no such file in {tmp_path}, .* mean {LEAF}\?'):
        load_config(Request(config='comformer_shapes_6_3.py'), 0)
