"""The form of grid_sample whose gradient is deterministic on CUDA."""

import os

import pytest
import torch
from mmcv.ops import multi_scale_deform_attn as attention
from torch.nn import functional

from mmcomformer.compat import deterministic
from mmcomformer.compat.deterministic import gathered_grid_sample


@pytest.mark.parametrize('shape', [(2, 3, 5, 7), (1, 1, 1, 1), (3, 2, 8, 4)])
def test_values_and_gradients_are_those_of_torch(shape):
    torch.manual_seed(0)
    results = []
    maps = torch.randn(shape, dtype=torch.float64)
    # inside, on the border and far outside
    grid = 3 * torch.rand(shape[0], 4, 6, 2, dtype=torch.float64) - 1.5
    grid[0, 0, 0], grid[0, 0, 1], grid[0, 0, 2] = -1, 1, 40
    weights = torch.randn(shape[0], shape[1], 4, 6, dtype=torch.float64)
    for sample in (
        lambda *pair: functional.grid_sample(*pair, align_corners=False),
        gathered_grid_sample,
    ):
        pair = maps.clone().requires_grad_(), grid.clone().requires_grad_()
        found = sample(*pair)
        (found * weights).sum().backward()
        results.append((found.detach(), pair[0].grad, pair[1].grad))
    for found, expected in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_enabled_once_and_only_where_it_is_needed(monkeypatch):
    monkeypatch.setattr(functional, 'grid_sample', functional.grid_sample)
    monkeypatch.setattr(attention, 'IS_CUDA_AVAILABLE', True)
    # so that it is removed after the test
    monkeypatch.setenv('CUBLAS_WORKSPACE_CONFIG', ':0:0')
    monkeypatch.delenv('CUBLAS_WORKSPACE_CONFIG')
    deterministic.enable_determinism()
    assert os.environ['CUBLAS_WORKSPACE_CONFIG'] == ':4096:8'
    monkeypatch.setenv('CUBLAS_WORKSPACE_CONFIG', ':16:8')
    deterministic.enable_determinism()
    assert os.environ['CUBLAS_WORKSPACE_CONFIG'] == ':16:8'
    assert attention.IS_CUDA_AVAILABLE is False
    assert torch.nn.functional.grid_sample.__module__ == deterministic.__name__
    # on a CPU it stays torch's, with all of its options
    monkeypatch.setattr(deterministic, 'gathered_grid_sample', None)
    maps, grid = torch.randn(1, 2, 4, 4), torch.rand(1, 3, 3, 2)
    for changed in ({'mode': 'nearest'}, {'padding_mode': 'border'}, {'align_corners': True}, {}):
        options = {'align_corners': False, **changed}
        expected = deterministic._torch_grid_sample(maps, grid, **options)
        assert functional.grid_sample(maps, grid, **options).equal(expected)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_reads_the_right_pixels(dtype):
    """A row of 160 pixels has more places than half precision can count."""
    torch.manual_seed(0)
    maps, grid = torch.randn(1, 2, 160, 160).to(dtype), (2 * torch.rand(1, 5, 7, 2) - 1).to(dtype)
    found = gathered_grid_sample(maps, grid)
    assert found.dtype == dtype
    expected = functional.grid_sample(maps.float(), grid.float(), align_corners=False)
    torch.testing.assert_close(found.float(), expected, rtol=1e-2, atol=1e-2)


def test_what_has_a_gathered_form():
    asked = dict(mode='bilinear', padding_mode='zeros', align_corners=False)
    maps = torch.zeros(1, 1, 2, 2)
    assert deterministic.has_gathered_form(maps, **asked)
    assert deterministic.has_gathered_form(maps, **{**asked, 'align_corners': None})
    for other in (dict(mode='nearest'), dict(padding_mode='border'), dict(align_corners=True)):
        assert not deterministic.has_gathered_form(maps, **{**asked, **other})
    assert not deterministic.has_gathered_form(maps[None], **asked)
