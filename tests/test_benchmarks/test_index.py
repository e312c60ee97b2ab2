import json
import logging

import index
import pytest
from mmengine.logging import MMLogger

pytestmark = pytest.mark.families

SIZE = ('--images', 40, '--segments', 3, '--classes', 6, '--workers', 2, '--runs', 2)
OF_JSON = {
    'seconds',
    'peak MB',
    'data MB',
    'all processes, 0 workers, PSS MB',
    'all processes, 2 workers, PSS MB',
    'own memory of a worker, USS MB',
    'the same, set of 20 images, USS MB',
    'growth of a worker with the set, MB',
    'the same, without serialising, MB',
}


def test_figures(run_benchmark, tmp_path, capsys):
    out = tmp_path / 'figures.json'
    level = MMLogger.get_current_instance().level
    assert run_benchmark(index, *SIZE, '--label-maps', 3, '--json', out) is None
    assert MMLogger.get_current_instance().level == level != logging.WARNING
    assert '40 images, 3 segments each' in capsys.readouterr().out
    content = json.loads(out.read_text())
    assert content['benchmark'] == 'index'
    assert content['checks'] == {'index of label maps': True}
    of_maps = {name for name in content['figures'] if name.startswith('label maps, ')}
    assert len(of_maps) == 3
    assert set(content['figures']) == OF_JSON | of_maps
    assert content['figures']['seconds']['runs'] == 2


def test_without_label_maps(run_benchmark, tmp_path):
    out = tmp_path / 'figures.json'
    assert run_benchmark(index, *SIZE, '--label-maps', 0, '--json', out) is None
    content = json.loads(out.read_text())
    assert content['checks'] == {}
    assert set(content['figures']) == OF_JSON


def test_wrong_index(run_benchmark, monkeypatch):
    monkeypatch.setattr(index, 'check_label_maps', lambda folder, args: False)
    message = run_benchmark(index, *SIZE, '--label-maps', 3)
    assert message == 'error: the index of the label maps is not what the maps hold'


@pytest.mark.parametrize('name', ['--images', '--segments'])
def test_size_that_does_not_fit(run_benchmark, name):
    message = run_benchmark(index, name, 10**12)
    assert message.startswith('error: this size does not fit: about ')
    assert '\n' not in message


@pytest.mark.parametrize('arguments', [('--classes', 2), ('--classes', 256), ('--images', 0)])
def test_wrong_arguments(run_benchmark, arguments, capsys):
    assert run_benchmark(index, *arguments) == 2
    assert f'{arguments[0]}: expected ' in capsys.readouterr().err
