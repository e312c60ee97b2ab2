"""AP of masks: by hand, and against pycocotools on an exported file."""

import json

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from several import run_two

from mmcomformer.evaluation import IncrementalInstanceMetric, seen_class_metric
from mmcomformer.scenario import Scenario

SIZE = (20, 30)
SCENARIO = Scenario([2, 1, 1], ['cat', 'dog', 'fox', 'owl'], [], ['fox', 'cat', 'owl', 'dog'])
SEEN = SCENARIO.at_step(1)


def runs(mask):
    encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {'size': list(SIZE), 'counts': encoded['counts'].decode()}


def box(top, left, height=6, width=6):
    mask = np.zeros(SIZE, dtype=bool)
    mask[top : top + height, left : left + width] = True
    return mask


def sample(truth, found, name='a.jpg'):
    """An image: (label, mask, iscrowd) each, and (label, mask, score)."""
    masks = torch.from_numpy(np.array([mask for _, mask, _ in found]).reshape(-1, *SIZE))
    return {
        'img_path': name,
        'ori_shape': SIZE,
        'segments': [
            {'label': label, 'iscrowd': crowd, 'segmentation': runs(mask)}
            for label, mask, crowd in truth
        ],
        'pred_instances': {
            'labels': torch.tensor([label for label, _, _ in found], dtype=torch.int64),
            'scores': torch.tensor([score for _, _, score in found]),
            'masks': masks.bool(),
        },
    }


def evaluate(samples, scenario=SEEN):
    metric = IncrementalInstanceMetric()
    metric.dataset_meta = {'classes': scenario.classes, 'scenario': scenario.to_dict()}
    metric.process({}, samples)
    return metric, metric.evaluate(len(samples))


def test_by_hand():
    # fox: one of two found, exactly; cat: found with an IoU of 36 / 54 = 0.67; owl: missed
    truth = [(2, box(0, 0), 0), (2, box(10, 10), 0), (0, box(0, 20), 0), (3, box(12, 0), 0)]
    found = [(2, box(0, 0), 0.9), (0, box(0, 20, width=9), 0.8)]
    metric, values = evaluate([sample(truth, found)])
    half = 100 * 51 / 101
    assert metric.per_class['fox'] == pytest.approx({'AP': half, 'AP50': half, 'AP75': half})
    # thresholds 0.50, 0.55, 0.60 and 0.65
    assert metric.per_class['cat'] == pytest.approx({'AP': 40.0, 'AP50': 100.0, 'AP75': 0.0})
    assert metric.per_class['owl'] == {'AP': 0.0, 'AP50': 0.0, 'AP75': 0.0}
    assert list(metric.per_class) == ['fox', 'cat', 'owl']
    assert values['continual/AP_base'] == pytest.approx((half + 40) / 2)
    assert values['continual/AP_new'] == 0.0
    assert values['continual/AP'] == pytest.approx((half + 40) / 3)


def test_crowds_and_classes_without_truth():
    truth = [(0, box(0, 0, 12, 20), 1), (2, box(14, 0), 0)]
    found = [(0, box(0, 0), 0.9), (0, box(2, 10), 0.8), (2, box(14, 0), 0.7), (3, box(0, 0), 0.9)]
    metric, _ = evaluate([sample(truth, found)])
    # predictions in a crowd are ignored, and then there is nothing to find
    assert metric.per_class['cat']['AP'] is None
    assert metric.per_class['fox']['AP'] == pytest.approx(100.0)
    assert metric.per_class['owl']['AP'] is None


def test_what_has_no_pixel_is_no_miss(monkeypatch):
    lines = []
    monkeypatch.setattr(seen_class_metric, 'print_log', lambda line, **_: lines.append(line))
    truth = [(2, box(0, 0), 0), (2, box(0, 0, 0, 0), 0), (0, box(0, 0, 0, 0), 0)]
    image = sample(truth, [(2, box(0, 0), 0.9), (0, box(9, 9), 0.8)])
    # two points, which have no area and which pycocotools takes for a box
    points = {'label': 2, 'iscrowd': 0, 'segmentation': [[5, 5, 20, 20]]}
    metric, _ = evaluate([{**image, 'segments': [*image['segments'], points]}])
    assert metric.per_class['fox']['AP'] == pytest.approx(100.0)
    assert metric.per_class['cat']['AP'] is None
    assert lines == []
    _, values = evaluate([{**image, 'segments': [points]}])
    assert values == {}
    (line,) = lines
    assert 'no class seen so far has a value' in line


def test_images_without_anything():
    metric, _ = evaluate([sample([], []), sample([(2, box(0, 0), 0)], []), sample([], [])])
    assert metric.per_class['fox']['AP'] == 0.0


def test_equals_pycocotools_on_files(tmp_path):
    rng = np.random.default_rng(0)
    samples, truth, found = [], [], []
    for image in range(12):
        labels = rng.integers(0, 4, 5)
        masks = [box(*rng.integers(0, 12, 2), *rng.integers(3, 9, 2)) for _ in labels]
        crowds = rng.random(5) < 0.1
        guesses = [
            (int(label), np.roll(mask, rng.integers(-2, 3), 1), float(rng.random()))
            for label, mask in zip(labels, masks, strict=True)
            for _ in range(2)
        ]
        entries = list(zip(labels.tolist(), masks, crowds.astype(int).tolist(), strict=True))
        samples.append(sample(entries, guesses, f'{image}.jpg'))
        for label, mask, crowd in entries:
            truth.append(
                {
                    'id': len(truth) + 1,
                    'image_id': image,
                    'category_id': label,
                    'iscrowd': crowd,
                    'area': int(mask.sum()),
                    'segmentation': runs(mask),
                }
            )
        for label, mask, score in guesses:
            # scores are float32 in a model
            found.append(
                {
                    'image_id': image,
                    'category_id': label,
                    'score': float(np.float32(score)),
                    'segmentation': runs(mask),
                }
            )
    content = {
        'images': [{'id': i, 'height': SIZE[0], 'width': SIZE[1]} for i in range(12)],
        'annotations': truth,
        'categories': [{'id': label} for label in range(4)],
    }
    path, results = tmp_path / 'truth.json', tmp_path / 'found.json'
    path.write_text(json.dumps(content))
    results.write_text(json.dumps(found))
    coco = COCO(str(path))
    metric, _ = evaluate(samples, SCENARIO.at_step(2))
    for label, name in enumerate(SCENARIO.classes):
        expected = COCOeval(coco, coco.loadRes(str(results)), 'segm')
        expected.params.catIds = [label]
        expected.evaluate()
        expected.accumulate()
        expected.summarize()
        values = [100 * value for value in expected.stats[:3]]
        assert list(metric.per_class[name].values()) == pytest.approx(values, abs=1e-12), name


def test_ties_go_to_the_image_of_the_smaller_id():
    # as in pycocotools, which looks at images in the order of their ids
    right = sample([(2, box(0, 0), 0)], [(2, box(0, 0), 0.5)])
    wrong = sample([(2, box(0, 0), 0)], [(2, box(12, 12), 0.5)])
    for ids, value in (((1, 2), 51 / 101), ((2, 1), 51 / 202), (('b', 'a'), 51 / 202)):
        samples = [{**one, 'img_id': id_} for one, id_ in zip((right, wrong), ids, strict=True)]
        metric, _ = evaluate(samples)
        assert metric.per_class['fox']['AP'] == pytest.approx(100 * value), ids


def test_an_odd_number_of_images_in_two_processes(tmp_path):
    samples = [
        sample([(2, box(0, 0), 0), (0, box(8, 8), 0)], [(2, box(0, shift), 0.5), (0, box(8, 8), 1)])
        for shift in (0, 3, 9)
    ]
    samples = [{**one, 'img_id': number} for number, one in enumerate(samples)]

    def work(rank):
        # as a sampler does, which starts again where an image is missing
        share = [samples[number % 3] for number in range(rank, 4, 2)]
        metric = IncrementalInstanceMetric()
        metric.dataset_meta = {'classes': SEEN.classes, 'scenario': SEEN.to_dict()}
        metric.process({}, share)
        return metric.evaluate(3)

    alone = evaluate(samples)[1]
    assert 0 < alone['continual/AP_base'] < 100
    assert run_two(work, tmp_path) == [alone, alone]


def test_bad_samples():
    good = sample([(2, box(0, 0), 0)], [(2, box(0, 0), 0.5)])
    with pytest.raises(RuntimeError, match=r'image a.jpg: the sample has no segments; pack them'):
        evaluate([{**good, 'segments': None}])
    with pytest.raises(RuntimeError, match=r'no pred_instances .* model.test_cfg.instance_on=True'):
        evaluate([{**good, 'pred_instances': None}])
    with pytest.raises(ValueError, match=r'a.jpg: the prediction has height and width \(20, 30\)'):
        evaluate([{**good, 'ori_shape': (20, 31), 'segments': []}])
    with pytest.raises(ValueError, match=r'a.jpg: run lengths of size \[20, 30\].* do not fit'):
        evaluate([{**good, 'ori_shape': (20, 31)}])


def test_nothing_to_ignore():
    with pytest.raises(ValueError, match='IncrementalInstanceMetric.ignore_unseen: AP is computed'):
        IncrementalInstanceMetric(ignore_unseen=True)
