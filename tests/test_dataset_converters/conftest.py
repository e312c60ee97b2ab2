"""Miniatures of datasets in the layouts in which they are downloaded."""

import downloads
import pytest


@pytest.fixture
def ade(tmp_path):
    return downloads.write_ade(tmp_path)


@pytest.fixture
def cityscapes(tmp_path):
    return downloads.write_cityscapes(tmp_path)


@pytest.fixture
def voc(tmp_path):
    return downloads.write_voc(tmp_path)


@pytest.fixture
def sbd(voc):
    return voc.parent / 'benchmark_RELEASE' / 'dataset'


@pytest.fixture
def coco(tmp_path):
    return downloads.write_coco(tmp_path)


@pytest.fixture
def instances(tmp_path):
    return downloads.Instances(tmp_path)
