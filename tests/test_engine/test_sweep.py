"""Several values of a setting of inference, from one set of logits."""

import pytest
import small_runs
import torch

from mmcomformer.engine.checkpoint import read_checkpoint
from mmcomformer.engine.request import Request
from mmcomformer.engine.sweep import Sweep, format_sweep, parse_sweep, sweep
from mmcomformer.evaluation.incremental_panoptic_metric import IncrementalPanopticMetric
from mmcomformer.models.query_head import IncrementalQueryHead

pytestmark = pytest.mark.families


@pytest.fixture
def seen(monkeypatch):
    """The panoptic maps that each metric was given, and how often the decoder ran."""
    found = {'maps': {}, 'runs': 0}

    def process(metric, data_batch, data_samples):
        codes = [sample['pred_panoptic_seg']['sem_seg'] for sample in data_samples]
        found['maps'].setdefault(id(metric), []).extend(codes)
        original(metric, data_batch, data_samples)

    def decode(*args):
        found['runs'] += 1
        return decoder(*args)

    original, decoder = IncrementalPanopticMetric.process, IncrementalQueryHead._decode
    monkeypatch.setattr(IncrementalPanopticMetric, 'process', process)
    monkeypatch.setattr(IncrementalQueryHead, '_decode', decode)
    monkeypatch.setattr('mmcomformer.engine.launch.get_device', lambda: 'cpu')
    return found


@pytest.fixture(scope='module')
def checkpoint(finished_run):
    return str(finished_run[0] / 'step2' / 'iter_3.pth')


def request(root, work_dir, **more):
    options = small_runs.small_options(root, **more)
    return Request(config=small_runs.CONFIG, work_dir=str(work_dir), cfg_options=options)


def maps_of(seen):
    return [torch.stack(maps) for maps in seen['maps'].values()]


def test_the_network_runs_once(checkpoint, shapes_root, tmp_path, seen, capsys):
    found = sweep(request(shapes_root, tmp_path), checkpoint, 'object_mask_thr=0,0.12,1')
    assert seen['runs'] == 1
    assert [len(maps) for maps in maps_of(seen)] == [8, 8, 8]
    assert (found.name, found.key) == ('object_mask_thr', 'model.test_cfg.object_mask_thr')
    assert found.values == (0, 0.12, 1)
    printed = capsys.readouterr().out
    assert '| object_mask_thr | PQ base | PQ new | PQ all | SQ all | RQ all |' in printed


@pytest.mark.parametrize(('images', 'count'), [('val', 8), ('train', 24)])
def test_which_images(checkpoint, shapes_root, tmp_path, seen, capsys, images, count):
    asked = request(shapes_root, tmp_path)
    sweep(asked, checkpoint, 'iou_thr=0.5', images=images)
    assert len(maps_of(seen)[0]) == count
    warned = 'no image of the training set was held out' in capsys.readouterr().out
    assert warned == (images == 'train')


def test_held_out_images(checkpoint, shapes_root, tmp_path, seen, capsys):
    asked = request(shapes_root, tmp_path, **{'train_dataloader.dataset.held_out': 0.3})
    message = r'held_out: expected at most 0.0, got 0.3: checkpoint .*iter_3.pth was trained with '
    with pytest.raises(ValueError, match=message):
        sweep(asked, checkpoint, 'iou_thr=0.5', images='train')
    # as one that was trained without them
    content = read_checkpoint(checkpoint)
    content['meta']['cfg'] += '\ntrain_dataloader = dict(dataset=dict(held_out=0.3))\n'
    torch.save(content, tmp_path / 'without.pth')
    sweep(asked, str(tmp_path / 'without.pth'), 'iou_thr=0.5', images='train')
    assert 0 < len(maps_of(seen)[0]) < 16
    assert 'no image of the training set' not in capsys.readouterr().out


@pytest.mark.parametrize(
    ('asked', 'error', 'message'),
    [
        (
            'deltas=0.4',
            ValueError,
            r"deltas: expected a setting of inference, one of \['iou_thr', 'o",
        ),
        ('iou_th=0.4', ValueError, "did you mean 'iou_thr'"),
        ('iou_thr=0.4,1.5', ValueError, 'model.test_cfg.iou_thr: expected 0 to 1, got 1.5'),
        (
            "iou_thr='a'",
            TypeError,
            "model.test_cfg.iou_thr: expected a number from 0 to 1, got 'a'",
        ),
    ],
)
def test_wrong_before_the_first_image(
    checkpoint, shapes_root, tmp_path, seen, asked, error, message
):
    with pytest.raises(error, match=message):
        sweep(request(shapes_root, tmp_path), checkpoint, asked)
    assert seen['runs'] == 0


@pytest.mark.parametrize('text', ['deltas', 'deltas=', '=1', 'deltas=0.4,x', 'deltas=[0.4'])
def test_malformed(text):
    with pytest.raises(ValueError, match='--sweep: expected a setting and its values such as'):
        parse_sweep(text)


def test_twice():
    with pytest.raises(ValueError, match='--sweep: 0.4 is listed more than once'):
        parse_sweep('deltas=0.4,0.5,0.4')


def test_table_and_best():
    groups = tuple(
        {'mIoU': {'base': 10.0, 'new': 2.0, 'all': value}, 'mAcc': {'all': 3.0}}
        for value in (None, 8.0, 9.0, 9.0)
    )
    found = Sweep('deltas', 'model.decode_head.deltas', (0.1, 0.2, [0.3, 0.4], 0.5), groups)
    assert found.best == [0.3, 0.4]
    assert format_sweep(found).splitlines()[-3:] == [
        '| [0.3, 0.4] |     10.00 |     2.00 |     9.00 |     3.00 |',
        '| 0.5        |     10.00 |     2.00 |     9.00 |     3.00 |',
        'best mIoU all: --cfg-options "model.decode_head.deltas=[0.3,0.4]"',
    ]
