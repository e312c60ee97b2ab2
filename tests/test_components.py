"""Whatever is imported first, a lookup finds the components; every test has a process of its own.

Each process does much, because importing the libraries takes seconds.
"""

import importlib
import json
import pkgutil
import sys

import pytest
from pythons import registered, run_python
from runs import SHAPES_CONFIG, TESTS

import mmcomformer
import mmcomformer.components

pytestmark = pytest.mark.families


def test_package_first_then_mmdet():
    compiled = not type(sys.modules['mmcv._ext']).__module__.startswith('mmcomformer.')
    done = run_python(
        f"""
import sys, mmcomformer, mmcv.utils
mmcv.utils.IS_CUDA_AVAILABLE = True  # as on a machine that has a GPU
# stock parts work, without compiled operators too
import mmdet.models, mmcv.ops.multi_scale_deform_attn as attention
import mmdet.models.layers.transformer.deformable_detr_layers as layers
assert layers.MultiScaleDeformableAttention is attention.MultiScaleDeformableAttention
assert attention.IS_CUDA_AVAILABLE is {compiled}
import mmdet.datasets, mmdet.evaluation, mmseg.datasets
assert 'mmcomformer.components' not in sys.modules

from mmdet.registry import MODELS, HOOKS
assert MODELS.get('ContinualMaskFormer').__name__ == 'ContinualMaskFormer'
assert 'SummaryHook' in HOOKS
import mmdet.apis.det_inferencer as inferencer
assert inferencer.VOID == 0 and inferencer.id2rgb
import json, pythons
print(json.dumps(pythons.registered()))
""",
        TESTS,
    )
    assert (done.returncode, done.stderr) == (0, '')
    # the libraries' notes were silenced: the listing is all there is
    found = json.loads(done.stdout)

    for module in pkgutil.walk_packages(mmcomformer.__path__, 'mmcomformer.'):
        importlib.import_module(module.name)
    assert found == registered(), 'a module that registers something is not in components.py'


def test_mmengine_first_with_a_config_then_mmseg():
    done = run_python(f"""
import sys
from mmengine.config import Config
from mmengine.registry import HOOKS, DefaultScope
cfg = Config.fromfile({str(SHAPES_CONFIG)!r})
assert cfg.custom_imports.imports == ['mmcomformer']
assert 'mmcomformer' in sys.modules and 'torch' not in sys.modules
with DefaultScope.overwrite_default_scope('mmseg'):
    from mmseg.registry import MODELS, DATASETS
    assert 'IncrementalDataset' in DATASETS
    assert MODELS.get('ContinualEncoderDecoder').__name__ == 'ContinualEncoderDecoder'
assert HOOKS.get('TeacherHook').__name__ == 'TeacherHook'
import mmcomformer
assert mmcomformer.models.ContinualMaskFormer is MODELS.get('ContinualMaskFormer')
""")
    assert done.returncode == 0, done.stderr


def test_mmdet_first():
    done = run_python("""
import contextlib
with contextlib.suppress(ImportError):  # stock mmdet fails without compiled operators
    import mmdet.models
import mmcomformer, mmcv.ops
import mmdet.models.layers.transformer.deformable_detr_layers as layers
import mmdet.structures.mask.structures as masks
assert layers.MultiScaleDeformableAttention is mmcv.ops.MultiScaleDeformableAttention
assert masks.roi_align is mmcv.ops.roi_align
from mmdet.registry import MODELS
assert MODELS.get('PodLoss').__name__ == 'PodLoss'
""")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize('name', ['', '.datasets', '.engine', '.evaluation', '.pictures'])
def test_public_names_are_there(name):
    package = importlib.import_module(f'mmcomformer{name}')
    assert package.__all__
    assert set(package.__all__) <= set(dir(package))
    for public in package.__all__:
        assert getattr(package, public)
    assert not hasattr(package, 'nothing')
