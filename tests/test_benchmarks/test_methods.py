import json
import re

import methods
import pytest

SMALL = ('--batch', 1, '--resolution', 64, '--pseudo', 2, '--queries', 10)


def test_figures(run_benchmark, monkeypatch, tmp_path):
    # processes of their own, see test_train_step
    monkeypatch.setattr(methods, 'peak_of', lambda build, **_: float(len(build.args[0].stem)))
    out = tmp_path / 'figures.json'
    names = ('eclipse', 'simcis', 'balconpas')
    assert run_benchmark(methods, *names, *SMALL, '--runs', 2, '--json', out) is None
    figures = json.loads(out.read_text())['figures']
    assert figures['eclipse: trained, %']['median'] < 5
    assert figures['balconpas: trained, %']['median'] == 100
    for name in names:
        assert figures[f'{name}: step, ms']['runs'] == 2
        assert figures[f'{name}: step, ms']['min'] > 0
        assert figures[f'{name}: peak, MB']['median'] == len(f'{name}_shapes_6-3')
    assert set(figures) >= {'eclipse / balconpas: step', 'simcis / balconpas: step'}


@pytest.mark.parametrize(
    ('names', 'message'),
    [
        (['nothing'], r"method nothing: there is no nothing_shapes_6-3.py; expected one of \['bal"),
        (['mib', 'mib'], "methods: expected different ones, got .'mib', 'mib'."),
    ],
)
def test_bad_methods(names, message, run_benchmark):
    assert re.search(message, run_benchmark(methods, *names, *SMALL))
