import sys
from types import ModuleType

import pytest
import torch
from pythons import run_python

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
    def test_mmdet_imported_first(self):
        done = run_python(
            'import contextlib, sys\n'
            'with contextlib.suppress(ImportError):\n'  # stock mmdet fails without operators
            '    import mmdet.models\n'
            'import mmcomformer, mmcv.ops\n'
            'import mmdet.models.layers.transformer.deformable_detr_layers as layers\n'
            'import mmdet.structures.mask.structures as masks\n'
            'assert layers.MultiScaleDeformableAttention is '
            'mmcv.ops.MultiScaleDeformableAttention\n'
            'assert masks.roi_align is mmcv.ops.roi_align\n'
        )
        assert done.returncode == 0, done.stderr

    @without_ops
    def test_mmdet_imported_after(self):
        """Without any of our components: stock Mask2Former works, on every device."""
        done = run_python(
            'import sys, mmcomformer, mmdet.models, mmcv.ops\n'
            'import mmcv.ops.multi_scale_deform_attn as attention\n'
            'import mmdet.models.layers.transformer.deformable_detr_layers as layers\n'
            'assert layers.MultiScaleDeformableAttention is '
            'attention.MultiScaleDeformableAttention\n'
            'assert attention.IS_CUDA_AVAILABLE is False\n'
            'assert "mmcomformer.components" not in sys.modules\n'
        )
        assert done.returncode == 0, done.stderr

    def test_a_compiled_module_comes_first(self, tmp_path):
        """The stand-in is found where nothing else is: not before another finder."""
        (tmp_path / '_ext.py').write_text('compiled = True')
        done = run_python(
            'import mmcomformer, mmcv\n'
            f'mmcv.__path__.append({str(tmp_path)!r})\n'
            'import mmcv._ext\n'
            'assert mmcv._ext.compiled is True\n'
        )
        assert done.returncode == 0, done.stderr
