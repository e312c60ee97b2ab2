"""The segmentor: one training flow with the detector, mmseg's inference."""

import pytest
import tiny
import torch
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import PixelData
from oracles import masks_of

from mmcomformer.models.mask_activation import QuerySoftmax
from mmcomformer.models.pseudo_labels import MaskPseudoLabels
from mmcomformer.models.teacher import FrozenTeacher

pytestmark = pytest.mark.families
SIZE = (64, 64)


def images_and_samples(batch=2):
    maps = torch.full((batch, *SIZE), 255)
    maps[0, :20, :30] = 4
    return torch.randn(batch, 3, *SIZE), tiny.label_samples(*maps)


def sure(model):
    """Let a model see objects everywhere."""
    with torch.no_grad():
        model.decode_head.cls_embed.no_object.bias -= 20
        model.decode_head.mask_embed[-1].weight *= 50
    return model


@pytest.fixture(scope='module')
def student():
    model = tiny.build_segmentor(step=1).train()
    model.teacher = FrozenTeacher(sure(tiny.build_segmentor(step=0)))
    model.pseudo_labeller = MaskPseudoLabels(QuerySoftmax())
    return model


def test_losses(student, monkeypatch):
    seen = []
    supervised_losses = student.decode_head.supervised_losses

    def record(output, targets):
        seen.append(targets)
        return supervised_losses(output, targets)

    monkeypatch.setattr(student.decode_head, 'supervised_losses', record)
    losses = student.loss(*images_and_samples())
    assert {'decode.loss_cls', 'decode.d0.loss_mask', 'decode.loss_distill'} <= set(losses)
    assert all(loss.isfinite() for loss in losses.values())
    sum(losses.values()).backward()
    assert student.decode_head.cls_embed.steps[1].weight.grad.abs().sum() > 0
    (targets,) = seen
    # one class in the first image, then the pseudo-labels
    assert targets[0].labels[0] == 2
    masks = masks_of(targets[0])
    assert masks[0].sum() == 600
    assert (targets[0].labels[1:] < 2).all()
    assert targets[0].valid.sum() > 1
    assert not masks[1:, :20, :30].any()
    assert targets[1].valid.any()


def test_without_a_teacher():
    model = tiny.build_segmentor(step=1).train()
    losses = model.loss(*images_and_samples())
    assert 'decode.loss_distill' not in losses
    assert model.teacher is None
    assert 'teacher' not in ''.join(model.state_dict())


def build(**config):
    model = tiny.semantic_config(1)
    model.update(config)
    with DefaultScope.overwrite_default_scope('mmseg'):
        return MODELS.build(model)


def test_auxiliary_head():
    head = dict(type='FCNHead', in_channels=128, in_index=2, channels=8, num_classes=5)
    head.update(num_convs=1, norm_cfg=dict(type='BN'), loss_decode=dict(type='CrossEntropyLoss'))
    losses = build(auxiliary_head=head).train().loss(*images_and_samples())
    assert {'decode.loss_cls', 'aux.loss_ce'} <= set(losses)


def test_feature_loss(student):
    with DefaultScope.overwrite_default_scope('mmseg'):
        student.extra_losses['feature'] = MODELS.build(dict(type='PodLoss'))
    try:
        losses = student.loss(*images_and_samples())
    finally:
        del student.extra_losses['feature']
    assert losses['decode.loss_feature'] > 0


@pytest.fixture(scope='module')
def trained():
    return sure(tiny.build_segmentor(step=1)).eval()


def predict(model, images, sizes=None):
    height, width = images.shape[-2:]
    samples = tiny.label_samples(*[torch.zeros(size) for size in sizes or [(height, width)] * 9])
    return model.predict(images, samples[: len(images)])


def test_prediction_has_the_size_of_the_image(trained):
    # without metadata, and with a padding of 32 rows and another size of the file
    images = torch.randn(2, 3, *SIZE)
    (first, _) = trained.predict(images)
    assert first.pred_sem_seg.data.shape == (1, *SIZE)
    samples = tiny.label_samples(torch.zeros(48, 96), torch.zeros(64, 64))
    samples[0].set_metainfo(dict(padding_size=(0, 0, 0, 32), img_shape=(32, 64)))
    first, second = trained.predict(images, samples)
    assert first.pred_sem_seg.data.shape == (1, 48, 96)
    assert first.seg_logits.data.shape == (5, 48, 96)
    assert second.pred_sem_seg.data.shape == (1, 64, 64)
    assert set(first.pred_sem_seg.data.unique().tolist()) <= {0, 1, 3, 4}


def test_slide_inference_of_one_window_is_whole_inference(trained, monkeypatch):
    images = torch.randn(1, 3, *SIZE)
    (whole,) = predict(trained, images)
    config = type(trained.test_cfg)(mode='slide', crop_size=SIZE, stride=(32, 32))
    monkeypatch.setattr(trained, 'test_cfg', config)
    (slide,) = predict(trained, images)
    assert torch.equal(whole.pred_sem_seg.data, slide.pred_sem_seg.data)


def test_slide_inference_averages_windows(trained, monkeypatch):
    images = torch.randn(1, 3, 64, 96)
    config = type(trained.test_cfg)(mode='slide', crop_size=(64, 64), stride=(64, 32))
    monkeypatch.setattr(trained, 'test_cfg', config)
    (slide,) = predict(trained, images)
    meta = [dict(pad_shape=(64, 96), ori_shape=(64, 96), img_shape=(64, 96))]
    left, right = (trained.encode_decode(images[..., x : x + 64], meta) for x in (0, 32))
    expected = torch.zeros(1, 5, 64, 96)
    expected[..., :64] += left
    expected[..., 32:] += right
    expected[..., 32:64] /= 2
    torch.testing.assert_close(slide.seg_logits.data, expected[0])


def test_nothing_is_255_without_a_background():
    scenario = dict(increments=[2, 1], stuff_classes=['cat', 'sky', 'sea'])
    model = tiny.build_segmentor(step=1, scenario=scenario).eval()
    with torch.no_grad():
        model.decode_head.cls_embed.no_object.bias += 100
    (sample,) = predict(model, torch.randn(1, 3, *SIZE))
    assert (sample.pred_sem_seg.data == 255).all()
    assert sample.seg_logits.data.shape == (4, *SIZE)


def tta_model(model):
    with DefaultScope.overwrite_default_scope('mmseg'):
        return MODELS.build(dict(type='ContinualSegTTAModel', module=model))


def test_augmented_inference_undoes_the_flip(trained):
    images = torch.randn(1, 3, *SIZE)
    plain = tiny.label_samples(torch.zeros(SIZE))
    flipped = tiny.label_samples(torch.zeros(SIZE))
    flipped[0].set_metainfo(dict(flip=True, flip_direction='horizontal'))
    for sample in (*plain, *flipped):
        sample.set_metainfo(dict(img_path='a.png'))
    (first,), (second,) = (
        trained.predict(images, plain),
        trained.predict(images.flip(-1), flipped),
    )
    scores = [sample.seg_logits.data for sample in (first, second)]
    expected = (sum(scores) / 2).argmax(0)
    (merged,) = tta_model(trained).merge_preds([[first, second]])
    assert torch.equal(merged.pred_sem_seg.data.squeeze(), expected)


def test_augmented_inference_marks_nothing():
    scenario = dict(increments=[2, 1], stuff_classes=['cat', 'sky', 'sea'])
    model = tiny.build_segmentor(step=1, scenario=scenario).eval()
    with torch.no_grad():
        model.decode_head.cls_embed.no_object.bias += 100
    samples = tiny.label_samples(torch.zeros(SIZE))
    samples[0].set_metainfo(dict(img_path='a.png'))
    (merged,) = tta_model(model).merge_preds([model.predict(torch.randn(1, 3, *SIZE), samples)])
    assert (merged.pred_sem_seg.data == 255).all()


def test_augmented_inference_averages_scores():
    # an average of softmaxes would prefer the first class
    model = tiny.build_segmentor(step=1).eval()
    samples = tiny.label_samples(torch.zeros(SIZE), torch.zeros(SIZE))
    for sample, scores in zip(samples, ([0.9, 0.44], [0.0, 0.47]), strict=True):
        padded = [*scores, *[0.0] * (model.out_channels - 2)]
        sample.set_data(dict(seg_logits=PixelData(data=torch.tensor(padded)[:, None, None])))
    (merged,) = tta_model(model).merge_preds([samples])
    assert merged.pred_sem_seg.data.item() == 1


def test_tensor_mode_gives_all_levels():
    model = tiny.build_segmentor(step=1).eval()
    cls_scores, mask_preds = model(torch.randn(2, 3, *SIZE), mode='tensor')
    assert len(cls_scores) == len(mask_preds) > 1
    assert cls_scores[-1].shape[0] == mask_preds[-1].shape[0] == 2


def test_wrong_test_cfg():
    with pytest.raises(TypeError, match=r"test_cfg: unknown keys \['iou_thr'\]; .*semantic_fusion"):
        build(test_cfg=dict(mode='whole', iou_thr=0.5))
