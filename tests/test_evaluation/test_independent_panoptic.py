"""PQ from the files of a set, by a program of its own with the rules of panopticapi."""

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData
from PIL import Image
from small_runs import CONFIG

from mmcomformer.engine.request import Request, load_config
from mmcomformer.evaluation import IncrementalPanopticMetric
from mmcomformer.registry import DATASETS


def read_set(root):
    """Return for each image its map of ids and the category of each, and the names."""
    content = json.loads((root / 'annotations' / 'panoptic_val.json').read_text())
    names = {entry['id']: entry['name'] for entry in content['categories']}
    found = {}
    for entry in content['annotations']:
        rgb = np.asarray(Image.open(root / 'panoptic_val' / entry['file_name'])).astype(int)
        segments = {s['id']: names[s['category_id']] for s in entry['segments_info']}
        found[Path(entry['file_name']).stem] = (rgb @ [1, 256, 65536], segments)
    return found


def predicted(ids, segments, rng):
    """Return a prediction that is partly right: moved, segments lost or of another class."""
    moved = np.roll(ids, (1, 2), axis=(0, 1))
    names = sorted(set(segments.values()))
    result = {}
    for segment, name in segments.items():
        draw = rng.random()
        if draw > 0.2:
            result[segment] = rng.choice(names) if draw > 0.8 else name
    return np.where(np.isin(moved, list(result)), moved, 0), result


def panoptic_quality(cases):
    """Return percent by class of (truth, its classes, prediction, its classes) per image."""
    iou, tp, fp, fn = (defaultdict(float) for _ in range(4))
    for truth, classes, guess, guessed in cases:
        matched, hit = set(), set()
        for g, gt_name in classes.items():
            for p, name in guessed.items():
                if name != gt_name:
                    continue
                both = ((truth == g) & (guess == p)).sum()
                void = ((truth == 0) & (guess == p)).sum()
                union = (truth == g).sum() + (guess == p).sum() - both - void
                if both / union > 0.5:
                    iou[name] += both / union
                    tp[name] += 1
                    matched.add(g)
                    hit.add(p)
        for g in set(classes) - matched:
            fn[classes[g]] += 1
        for p in set(guessed) - hit:
            area = (guess == p).sum()
            if area and ((truth == 0) & (guess == p)).sum() / area <= 0.5:
                fp[guessed[p]] += 1
    names = set(tp) | set(fp) | set(fn)
    return {n: 100 * iou[n] / (tp[n] + fp[n] / 2 + fn[n] / 2) for n in names}


def test_equals_another_program(shapes_root):
    root, rng = Path(shapes_root), np.random.default_rng(0)
    options = {'val_dataloader.dataset.dataset.data_root': f'{root}/'}
    cfg = load_config(Request(config=CONFIG, cfg_options=options), 2)
    with DefaultScope.overwrite_default_scope('mmdet'):
        dataset = DATASETS.build(cfg.val_dataloader.dataset)
    metric = IncrementalPanopticMetric()
    evaluator = Evaluator([metric])
    evaluator.dataset_meta = dataset.metainfo
    classes, files, cases = list(dataset.metainfo['classes']), read_set(root), []
    for index in range(len(dataset)):
        sample = dataset[index]['data_samples']
        truth, segments = files[Path(sample.img_path).stem]
        guess, guessed = predicted(truth, segments, rng)
        cases.append((truth, segments, guess, guessed))
        codes = np.full(truth.shape, len(classes))
        for number, (segment, name) in enumerate(guessed.items()):
            codes[guess == segment] = classes.index(name) + 1000 * (number + 1)
        sample.pred_panoptic_seg = PixelData(sem_seg=torch.from_numpy(codes)[None])
        evaluator.process([sample])
    evaluator.evaluate(len(dataset))
    expected = panoptic_quality(cases)
    found = {name: values['PQ'] for name, values in metric.per_class.items()}
    assert 5 < np.mean(list(expected.values())) < 95
    for name, value in found.items():
        assert value == (pytest.approx(expected[name]) if name in expected else None)
