"""The narrow model of the released program as a segmentor: the labels that both rules gave."""

import numpy as np
import official
import pytest
import torch
from mmseg.structures import SegDataSample

from mmcomformer.engine.checkpoint import read_checkpoint
from mmcomformer.model_converters import convert_from_detectron2
from mmcomformer.models.semantic_fusion import ScoreSumFusion

pytestmark = pytest.mark.families

CASES = [
    pytest.param((step, masks), id=f'step{step}-{masks}')
    for step in (0, 1)
    for masks in ('softmask', 'sigmoid')
]
# the released program's own rounding flips this share of pixels
TOLERANCE = 5e-4


class Case:
    """A converted segmentor and what the released program gave with the same weights."""

    def __init__(self, folder, step, masks):
        config = official.write_semantic_config(
            folder, masks=official.SIGMOID if masks == 'sigmoid' else official.SOFTMASK
        )
        path = folder / 'converted.pth'
        convert_from_detectron2(official.checkpoint_path(step), path, config=config)
        self.model = official.build(config, step)
        self.model.load_state_dict(read_checkpoint(path)['state_dict'], strict=True)
        self.recorded = np.load(official.ROOT / f'outputs_step{step}_{masks}.npz')
        self.order = self.model.decode_head.scenario.seen_learning_to_label

    @torch.no_grad()
    def predict(self, name):
        """Return the labels of an image, which the model reads as BGR."""
        pixels = torch.from_numpy(official.image(name)[..., ::-1].copy()).permute(2, 0, 1)
        shape = tuple(pixels.shape[-2:])
        sample = SegDataSample(metainfo=dict(img_shape=shape, ori_shape=shape))
        (predicted,) = self.model.test_step(dict(inputs=[pixels], data_samples=[sample]))
        assert predicted.pred_sem_seg.data.dtype == torch.int64
        return predicted.pred_sem_seg.data[0].numpy()


@pytest.fixture(scope='module', params=CASES)
def case(request, tmp_path_factory):
    return Case(tmp_path_factory.mktemp('official'), *request.param)


def assert_same_labels(labels, expected):
    assert labels.shape == expected.shape
    assert (labels != expected).mean() < TOLERANCE


# image B is padded: with thresholds, the shares of a mask would be those of the padded image
@pytest.mark.parametrize(('name', 'thresholds'), [('A', 'thr0'), ('B', 'thr0'), ('A', 'thr2')])
def test_mask_based_rule(case, name, thresholds, monkeypatch):
    values = official.INDEX['thresholds'][thresholds]
    fusion = case.model.decode_head.semantic_fusion
    monkeypatch.setattr(fusion, 'object_mask_thr', values['object_mask_threshold'])
    monkeypatch.setattr(fusion, 'iou_thr', values['overlap_threshold'])
    # theirs: 0 is nothing, then the classes in learning order
    recorded = case.recorded[f'{name}__img0__{thresholds}__semantic_labels']
    assert_same_labels(case.predict(name), np.array([255, *case.order])[recorded])


@pytest.mark.parametrize('name', ['A', 'B'])
def test_sum_rule(case, name, monkeypatch):
    monkeypatch.setattr(case.model.decode_head, 'semantic_fusion', ScoreSumFusion())
    recorded = case.recorded[f'{name}__img0__semantic_sum_mode_labels']
    assert_same_labels(case.predict(name), np.array(case.order)[recorded])
