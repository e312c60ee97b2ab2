"""Predictions as files: COCO's rules give the figures of our metric on them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from PIL import Image
from recompute_pq import quality
from small_runs import CONFIG, small_options

from mmcomformer.engine import driver
from mmcomformer.engine.checkpoint import previous_checkpoint
from mmcomformer.engine.evaluate import evaluate
from mmcomformer.engine.request import Request
from mmcomformer.evaluation.seen_class_metric import SeenClassMetric
from mmcomformer.models import ContinualMaskFormer

pytestmark = pytest.mark.families


@pytest.fixture
def reported(monkeypatch):
    """Per-class values of each evaluation."""
    values = []
    report = SeenClassMetric._report

    def spy(self, per_class, *args, **kwargs):
        values.append(per_class)
        return report(self, per_class, *args, **kwargs)

    monkeypatch.setattr(SeenClassMetric, '_report', spy)
    return values


def shifted_truth(model, inputs, samples, rescale=True):
    """Predict the ground truth a few pixels beside: some of it is found, some missed or wrong."""
    for sample in samples:
        number = sample.gt_panoptic_seg.sem_seg
        codes = [
            12,
            *(x['label'] + 1000 * k * (x['label'] < 8) for k, x in enumerate(sample.segments, 1)),
        ]
        codes = torch.tensor(codes, dtype=torch.int32)[number.long()]
        codes[:, :20] = torch.where(codes[:, :20] == 12, 3, codes[:, :20])
        found = PixelData(sem_seg=codes.roll(4, -1))
        values = codes[codes != 12].unique()
        found.set_metainfo({'segment_scores': (values, torch.full(values.shape, 0.5))})
        sample.pred_panoptic_seg = found
    return samples


class TestPanoptic:
    @pytest.fixture
    def evaluated(self, finished_run, tmp_path, reported, monkeypatch):
        monkeypatch.setattr(ContinualMaskFormer, 'predict', shifted_truth)
        path = str(previous_checkpoint(finished_run[0] / 'step1'))

        def run(**more):
            request = Request(
                config=CONFIG, cfg_options=finished_run[2], work_dir=str(tmp_path / 'work')
            )
            evaluate(request, path, out=str(tmp_path / 'out'), **more)
            return tmp_path / 'out', reported[-1]

        return run

    def test_coco_finds_what_we_find(self, evaluated, shapes_root):
        out, per_class = evaluated()
        annotations = shapes_root / 'annotations' / 'panoptic_val.json'
        found = quality(
            annotations, shapes_root / 'panoptic_val', out / 'panoptic.json', out / 'panoptic'
        )
        qualities = {name: values['PQ'] for name, values in per_class.items() if values['PQ']}
        assert len(set(qualities.values())) > 3
        assert all(0 < value < 100 for value in qualities.values())
        for name, values in per_class.items():
            expected = found[name] or dict.fromkeys(('PQ', 'SQ', 'RQ'))
            assert values == pytest.approx(expected), name
        content = json.loads((out / 'panoptic.json').read_text())
        truth = json.loads(annotations.read_text())
        assert content['categories'] == truth['categories']
        names = [image['file_name'] for image in truth['images']]
        assert [image['file_name'] for image in content['images']] == names
        assert [image['id'] for image in content['images']] == [x['id'] for x in truth['images']]
        scores = [s['score'] for a in content['annotations'] for s in a['segments_info']]
        assert set(scores) == {0.5}

    def test_nothing_of_the_user_is_replaced(self, evaluated, tmp_path):
        (tmp_path / 'out').mkdir()
        theirs = tmp_path / 'out' / 'panoptic.json'
        theirs.write_text('theirs')
        with pytest.raises(FileExistsError, match=r'panoptic.json exists, and was not written by'):
            evaluated()
        assert theirs.read_text() == 'theirs'
        evaluated(overwrite=True)
        # now it is ours
        evaluated()


class TestSemantic:
    @pytest.fixture(scope='class')
    def finished(self, shapes_root, tmp_path_factory):
        config = str(Path(CONFIG).with_name('finetune_shapes_semantic_6-3.py'))
        work_dir = tmp_path_factory.mktemp('semantic')
        options = small_options(shapes_root, head='decode_head')
        options['train_cfg.max_iters'] = options['train_cfg.val_interval'] = 1
        driver.run(Request(config=config, work_dir=str(work_dir), step=0, cfg_options=options))
        return config, previous_checkpoint(work_dir / 'step0'), options

    def test_label_maps(self, finished, shapes_root, tmp_path, reported):
        config, checkpoint, options = finished
        request = Request(config=config, cfg_options=options, work_dir=str(tmp_path / 'work'))
        evaluate(request, str(checkpoint), out=str(tmp_path / 'out'))
        names = json.loads((tmp_path / 'out' / 'classes.json').read_text())
        values = {name: int(value) for value, name in names.items()}
        images = sorted((shapes_root / 'val').iterdir())
        pairs = [
            (
                np.asarray(Image.open(shapes_root / 'semantic_val' / f'{image.stem}.png')),
                np.asarray(Image.open(tmp_path / 'out' / f'{image.stem}.png')),
            )
            for image in images
        ]
        for name, found in reported[-1].items():
            value = values[name]
            shared = sum(int(((t == value) & (p == value)).sum()) for t, p in pairs)
            either = sum(int(((t == value) | (p == value)).sum()) for t, p in pairs)
            expected = 100 * shared / either if either else None
            assert found['mIoU'] == (None if expected is None else pytest.approx(expected))
