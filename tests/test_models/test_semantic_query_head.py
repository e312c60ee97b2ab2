"""The head for semantic segmentation: targets from label maps, scores with a place for nothing."""

import pytest
import tiny
import torch
from mmengine.registry import MODELS, DefaultScope

pytestmark = pytest.mark.families

NO_BACKGROUND = dict(
    increments=[2, 1],
    stuff_classes=['cat', 'sky', 'sea'],
    class_order=['sky', 'cat', 'sea'],
)


def build(step=1, **head):
    torch.manual_seed(step)
    config = tiny.semantic_config(step, **head)
    with DefaultScope.overwrite_default_scope('mmseg'):
        head = MODELS.build({**config.decode_head, 'train_cfg': config.train_cfg})
    head.init_weights()
    return head


@pytest.mark.parametrize('with_labels', [True, False])
def test_targets(with_labels):
    # at step 1 the classes 3, 1, 4 are seen, as 0, 1, 2
    label_map = [[255, 4, 4], [1, 4, 255]]
    samples = tiny.label_samples(label_map, [[255] * 3] * 2, with_labels=with_labels)
    first, second = build().build_targets(samples)
    assert first.labels.tolist() == [1, 2]
    assert first.valid.tolist() == [True, True]
    assert first.owner.tolist() == [[-1, 1, 1], [0, 1, -1]]
    assert first.num_masks == 0
    assert second.labels.tolist() == []
    assert (second.owner == -1).all()


def test_marked_hidden_classes_are_not_labelled():
    """A dataset may mark them for methods that label every pixel."""
    (targets,) = build().build_targets(tiny.label_samples([[255, 254, 4]]))
    assert targets.labels.tolist() == [2]
    assert targets.owner.tolist() == [[-1, -1, 0]]


def test_labels_of_the_metadata_are_enough():
    """They save reading the labels from the device; the order of the targets follows them."""
    (sample,) = tiny.label_samples([[4, 1]])
    sample.set_metainfo(dict(gt_labels=(4, 1)))
    (targets,) = build().build_targets([sample])
    assert targets.labels.tolist() == [2, 1]
    assert targets.owner.tolist() == [[0, 1]]


def test_a_class_that_was_not_taught_stops_the_training():
    model = tiny.build_segmentor().train()
    samples = tiny.label_samples(torch.full((64, 64), 2))
    with pytest.raises(ValueError, match='has a class that the current step has not learned'):
        model.loss(torch.randn(1, 3, 64, 64), samples)


def predict(head, cls_score, logits, size=(2, 3)):
    """Return the scores for given queries, (Q, K + 1) in learning order and (Q, h, w)."""
    head.forward = lambda x, metas: ([cls_score[None]], [logits[None]])
    return head.predict([], [dict(pad_shape=(*size, 3))])[0]


def one_query_each(classes, num_classes):
    """Queries that are sure of their classes; query i owns column i."""
    cls_score = 20.0 * torch.nn.functional.one_hot(torch.tensor(classes), num_classes + 1)
    logits = 40.0 * torch.eye(len(classes))[:, None, :].expand(-1, 2, -1)
    return cls_score, logits


@pytest.mark.parametrize('fusion', ['MaskBasedFusion', 'ScoreSumFusion'])
def test_scores_with_background(fusion):
    head = build(step=1, semantic_fusion=dict(type=fusion))
    assert head.out_channels == 5
    # learning order: sky (3), cat (1), sea (4), no-object
    scores = predict(head, *one_query_each([2, 3, 0], 3))
    assert scores.shape == (5, 2, 3)
    assert scores.argmax(0).tolist() == [[4, 0, 3]] * 2
    # not taught yet
    assert (scores[2] == 0).all()


@pytest.mark.parametrize(('fusion', 'middle'), [('MaskBasedFusion', 3), ('ScoreSumFusion', None)])
def test_scores_without_background(fusion, middle):
    head = build(step=1, scenario=NO_BACKGROUND, semantic_fusion=dict(type=fusion))
    assert head.out_channels == 4
    # learning order: sky (1), cat (0), sea (2), no-object
    scores = predict(head, *one_query_each([2, 3, 0], 3))
    best = scores.argmax(0)
    assert best[:, [0, 2]].tolist() == [[2, 1]] * 2
    # the sum gives every pixel a class, the masks leave it without
    assert (best[0, 1] == middle) if middle is not None else (scores[3] == 0).all()
    marked = head.mark_nothing(best)
    assert marked[0, 1] == (255 if middle is not None else best[0, 1])


def test_prediction_has_the_size_of_the_input():
    head = build()
    cls_score, logits = torch.randn(8, 4), torch.randn(8, 4, 4)
    assert predict(head, cls_score, logits, size=(9, 7)).shape == (5, 9, 7)


def test_wrong_config():
    with pytest.raises(TypeError, match=r'model.decode_head: unknown keys \[.semantic_fusio.\]'):
        build(semantic_fusio=dict(type='ScoreSumFusion'))
    with pytest.raises(TypeError, match=r'model.decode_head.num_classes: remove it'):
        build(num_classes=5)
    with pytest.raises(ValueError, match=r'model.decode_head.loss_mask: SigmoidMaskLoss expects'):
        build(loss_mask=dict(type='SigmoidMaskLoss'))
    many = dict(increments=[256], stuff_classes=[f'class {i}' for i in range(256)])
    with pytest.raises(ValueError, match='expected at most 255 classes'):
        build(step=0, scenario=many)


def test_without_training_settings_the_cost_fits_the_masks():
    """mmseg's init_model takes the training settings away."""
    for changes, cost in (({}, 'HarmonicMatchCost'), (tiny.SIGMOID, 'WeightedMatchCost')):
        config = tiny.semantic_config(1, **changes)
        with DefaultScope.overwrite_default_scope('mmseg'):
            head = MODELS.build({**config.decode_head, 'train_cfg': None})
        assert type(head.match_cost).__name__ == cost
