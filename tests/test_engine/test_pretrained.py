"""Pretrained weights are got before a training starts, or one line says how to."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmcomformer.engine.pretrained import fetch_pretrained

URL = 'http://localhost:1/files/net-0123.pth?x=1'


def config(source, **backbone):
    init_cfg = dict(type='Pretrained', checkpoint=source)
    return Config(dict(model=dict(type='x', backbone=dict(init_cfg=init_cfg, **backbone))))


@pytest.fixture(autouse=True)
def hub(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    return tmp_path / 'hub' / 'checkpoints'


def test_no_network(hub):
    match = (
        rf'^model.backbone.init_cfg.checkpoint: {URL[:-4]}\?x=1 cannot be fetched \(.*\); get it '
        rf'on another machine and put it into {hub}/net-0123.pth, or start without pretrained '
        r'weights: --cfg-options model.backbone.init_cfg=None$'
    )
    with pytest.raises(RuntimeError, match=match):
        fetch_pretrained(config(URL))
    assert list(hub.iterdir()) == []


@pytest.fixture
def no_download(monkeypatch):
    """Record the addresses that would be fetched."""
    asked = []
    monkeypatch.setattr(torch.hub, 'download_url_to_file', lambda url, *_, **__: asked.append(url))
    return asked


def test_is_there(hub, no_download):
    hub.mkdir(parents=True)
    (hub / 'net-0123.pth').write_bytes(b'mine')
    fetch_pretrained(config(URL))
    assert (hub / 'net-0123.pth').read_bytes() == b'mine'
    assert no_download == []


def test_got(hub, tmp_path, monkeypatch):
    def download(url, path, progress):
        Path(path).write_text(url)

    monkeypatch.setattr(torch.hub, 'download_url_to_file', download)
    fetch_pretrained(config(URL))
    assert (hub / 'net-0123.pth').read_text() == URL


def test_file(tmp_path):
    (tmp_path / 'a.pth').write_bytes(b'')
    fetch_pretrained(config(str(tmp_path / 'a.pth')))
    match = r'^model.backbone.init_cfg.checkpoint: no.pth does not exist'
    with pytest.raises(FileNotFoundError, match=match):
        fetch_pretrained(config('no.pth'))


def test_place_of_mmseg():
    cfg = Config(dict(model=dict(type='x', pretrained='no.pth')))
    with pytest.raises(FileNotFoundError, match=r'^model.pretrained: no.pth does not exist'):
        fetch_pretrained(cfg)


def test_another_library_is_left_to_mmengine(no_download):
    fetch_pretrained(config('torchvision://resnet50'))
    assert no_download == []
