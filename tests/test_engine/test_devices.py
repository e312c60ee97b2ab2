import pytest
import torch

from mmcomformer.engine.devices import check_device


@pytest.mark.parametrize('device', [None, 'cpu'])
def test_there(device):
    check_device(device)


def test_no_accelerator(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(ValueError, match='^--device cuda:0: torch finds no cuda device'):
        check_device('cuda:0')


def test_too_few(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    check_device('cuda:1')
    with pytest.raises(ValueError, match='^--device cuda:2: this machine has 2 devices'):
        check_device('cuda:2')


@pytest.mark.parametrize('device', ['gpu', 'cuda:x', ''])
def test_no_device(device):
    with pytest.raises(ValueError, match='^--device: expected such as'):
        check_device(device)
