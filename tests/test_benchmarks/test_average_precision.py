"""The comparison of libraries of AP, with one of them on both sides."""

import json
import sys

import average_precision
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

SIZE = ('--images', 3, '--instances', 3, '--classes', 2, '--found', 6, '--runs', 2)


class Shifted(COCOeval):
    """Finds another precision."""

    def accumulate(self, p=None):
        super().accumulate(p)
        self.eval['precision'][0] += 1e-3


@pytest.mark.parametrize(('kind', 'same'), [(COCOeval, True), (Shifted, False)])
def test_figures(run_benchmark, monkeypatch, tmp_path, capsys, kind, same):
    found = {
        'pycocotools': average_precision.Library(COCO, COCOeval),
        'other': average_precision.Library(COCO, kind),
    }
    monkeypatch.setattr(average_precision, 'libraries', lambda: found)
    out = tmp_path / 'figures.json'
    assert run_benchmark(average_precision, *SIZE, '--json', out) is None
    told = 'both give the same bits' if same else 'not equal: precision (by up to 0.001 in '
    assert told in capsys.readouterr().out
    content = json.loads(out.read_text())
    assert content['checks'] == {'same bits': same}
    assert set(content['figures']) == {'pycocotools, s', 'other, s', 'pycocotools / other'}


def test_a_library_that_is_not_there(run_benchmark, monkeypatch):
    monkeypatch.setitem(sys.modules, 'faster_coco_eval', None)
    expected = 'error: faster-coco-eval is not installed; pip install faster-coco-eval'
    assert run_benchmark(average_precision, *SIZE) == expected
