import importlib.util
import sys
from types import ModuleType

import mmcv
import pytest
import torch

import mmcomformer.components  # noqa: F401  (adapts to the libraries)
from mmcomformer.compat import operators

pytestmark = pytest.mark.families

compiled = not isinstance(sys.modules['mmcv._ext'], operators._MissingOps)
without_ops = pytest.mark.skipif(compiled, reason='mmcv has compiled operators')


class TestOperators:
    @without_ops
    def test_operator_without_pytorch_form_explains_itself(self):
        from mmcv.ops import nms

        boxes = torch.tensor([[0.0, 0, 9, 9], [1, 1, 9, 9]])
        with pytest.raises(RuntimeError, match=r"'nms'.*MMCV_WITH_OPS=1 pip install"):
            nms(boxes, torch.tensor([0.9, 0.8]), iou_threshold=0.5)

    def test_operators_of_mask2former_work(self):
        from mmcv.ops import MultiScaleDeformableAttention, point_sample

        image = torch.arange(16.0).reshape(1, 1, 4, 4)
        center = point_sample(image, torch.tensor([[[0.5, 0.5]]]))
        torch.testing.assert_close(center, torch.tensor([[[7.5]]]))

        attention = MultiScaleDeformableAttention(
            embed_dims=8, num_heads=2, num_levels=1, num_points=2, batch_first=True
        )
        query = torch.randn(1, 16, 8, requires_grad=True)
        attended = attention(
            query,
            value=query,
            reference_points=torch.rand(1, 16, 1, 2),
            spatial_shapes=torch.tensor([[4, 4]]),
            level_start_index=torch.tensor([0]),
        )
        attended.sum().backward()
        assert attended.shape == query.shape
        assert torch.isfinite(query.grad).all()

    def test_compiled_operators_are_left_alone(self, monkeypatch):
        from mmcv.ops import multi_scale_deform_attn

        fake = ModuleType('mmcv._ext')
        monkeypatch.setitem(sys.modules, 'mmcv._ext', fake)
        monkeypatch.setattr(multi_scale_deform_attn, 'IS_CUDA_AVAILABLE', 'untouched')
        operators.load_operators()
        assert sys.modules['mmcv._ext'] is fake
        assert multi_scale_deform_attn.IS_CUDA_AVAILABLE == 'untouched'

    def test_operators_compiled_for_another_torch(self, monkeypatch):
        def import_module(name):
            raise ImportError('undefined symbol: _ZN3c10')

        monkeypatch.setattr(operators.importlib, 'import_module', import_module)
        with pytest.raises(ImportError, match=r'do not load .*_ZN3c10.*reinstall mmcv for this'):
            operators.load_operators()

    @without_ops
    def test_the_stand_in_is_found_where_nothing_else_is(self, tmp_path, monkeypatch):
        monkeypatch.delitem(sys.modules, 'mmcv._ext')
        found = importlib.util.find_spec('mmcv._ext')
        assert isinstance(found.loader, operators._StandInLoader)

        (tmp_path / '_ext.py').touch()
        monkeypatch.setattr(mmcv, '__path__', [*mmcv.__path__, str(tmp_path)])
        assert importlib.util.find_spec('mmcv._ext').origin == str(tmp_path / '_ext.py')
