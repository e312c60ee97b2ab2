from itertools import combinations
from math import dist

import pytest
from mmdet.datasets import ADE20KPanopticDataset, CocoPanopticDataset
from mmseg.datasets import CityscapesDataset, PascalVOCDataset

from mmcomformer.palette import LEAST_DISTANCE, _lab, distinct_palette


def nearest(colours):
    return min(dist(_lab(a), _lab(b)) for a, b in combinations(colours, 2))


@pytest.mark.parametrize('count', [2, 12, 133, 200, 255])
def test_made_colours_differ(count):
    colours = distinct_palette(None, count)
    assert len(colours) == len(set(colours)) == count
    assert nearest(colours) >= 2.5
    assert all(0 <= channel <= 255 for colour in colours for channel in colour)


def test_one_and_none():
    assert len(distinct_palette(None, 1)) == 1
    assert distinct_palette([], 0) == []


def test_the_two_blues_of_ade20k_differ():
    given = [tuple(colour) for colour in ADE20KPanopticDataset.METAINFO['palette']]
    assert len(set(given)) == 149
    colours = distinct_palette(given, 150)
    assert nearest(colours) >= LEAST_DISTANCE
    changed = [label for label in range(150) if colours[label] != given[label]]
    # the first of those that look alike keeps its colour
    assert 0 < len(changed) < 60
    assert 0 not in changed


@pytest.mark.parametrize('dataset', [CocoPanopticDataset, CityscapesDataset, PascalVOCDataset])
def test_a_palette_of_different_colours_is_kept(dataset):
    given = [tuple(colour) for colour in dataset.METAINFO['palette']]
    assert distinct_palette(given, len(given)) == given


def test_shorter_and_longer_palettes():
    given = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
    assert distinct_palette(given, 2) == given[:2]
    longer = distinct_palette(given, 6)
    assert longer[:3] == given
    assert nearest(longer) > 30


def test_anything_else_counts_as_none():
    assert distinct_palette('random', 3) == distinct_palette(None, 3)
