"""The teacher answers, and nothing else."""

import copy

import torch
from torch import nn

from mmcomformer.models.query_output import QueryOutput
from mmcomformer.models.teacher import FrozenTeacher


class Toy(nn.Module):
    """A detector with two levels, dropout and batch norm."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5))

    def extract_feat(self, batch_inputs):
        return [self.backbone(batch_inputs)]

    def query_output(self, batch_inputs, batch_data_samples):
        feats = self.extract_feat(batch_inputs)
        pooled = feats[0].mean((2, 3))[:, None]
        levels, masks = (pooled - 1, pooled), (feats[0] - 1, feats[0])
        return QueryOutput(levels, masks, (pooled, pooled), feats[0], tuple(feats))


def test_it_is_frozen_and_in_eval_mode():
    model = Toy().train()
    teacher = FrozenTeacher(model)
    before = copy.deepcopy(model.state_dict())
    images = torch.randn(2, 3, 4, 4, requires_grad=True)
    first, second = teacher(images, []), teacher(images, [])
    assert not any(module.training for module in model.modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert torch.equal(first.cls_score, second.cls_score)
    assert not first.cls_score.requires_grad
    assert not first.mask_pred.requires_grad
    after = model.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_it_returns_the_last_level_and_the_features():
    model = Toy().eval()
    images = torch.randn(2, 3, 4, 4)
    output = FrozenTeacher(model)(images, [], {'feats'})
    feats = model.backbone(images)
    torch.testing.assert_close(output.mask_pred, feats)
    torch.testing.assert_close(output.cls_score, feats.mean((2, 3))[:, None])
    assert isinstance(output.feats, tuple)
    torch.testing.assert_close(output.feats[0], feats)
    assert len(output.cls_scores) == len(output.mask_preds) == 1
    assert output.tokens is output.mask_features is None


def test_it_keeps_what_is_wanted():
    teacher, images = FrozenTeacher(Toy()), torch.randn(2, 3, 4, 4)
    assert teacher(images, []).feats is None
    output = teacher(images, [], {'levels', 'tokens', 'mask_features'})
    assert [len(part) for part in (output.cls_scores, output.mask_preds, output.tokens)] == [2] * 3
    assert output.mask_features.shape == (2, 4, 4, 4)
    assert output.feats is None


def test_no_student_contains_it():
    student = Toy()
    names = set(student.state_dict())
    student.teacher = FrozenTeacher(Toy())
    assert set(student.state_dict()) == names
    assert len(list(student.modules())) == len(list(Toy().modules()))
    student.train()
    assert not student.teacher.model.training
    assert copy.deepcopy(student).teacher is student.teacher
