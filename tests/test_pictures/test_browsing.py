import dataclasses

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData, PixelData
from packed import masks_of
from small_runs import CONFIG

from mmcomformer.engine.checkpoint import previous_checkpoint
from mmcomformer.pictures import browsing
from mmcomformer.pictures.browsing import Browse, browse, show_pictures, write_pictures
from mmcomformer.tasks import task_named

pytestmark = pytest.mark.families


@pytest.fixture
def request_of(finished_run):
    """Return a maker of requests for the data and the checkpoints of the finished run."""
    work_dir, _, options = finished_run

    def make(step, *, checkpoint=None, num=2):
        if checkpoint is not None:
            checkpoint = str(previous_checkpoint(work_dir / f'step{checkpoint}'))
        return Browse(CONFIG, step=step, num=num, checkpoint=checkpoint, cfg_options=options)

    return make


def test_two_panels_and_three_with_a_teacher(request_of):
    plain, pseudo = (dict(browse(request_of(1, checkpoint=checkpoint))) for checkpoint in (None, 0))
    assert list(plain) == list(pseudo)
    for name, picture in plain.items():
        assert picture.dtype == np.uint8
        assert pseudo[name].shape[0] == picture.shape[0]
        # the image and the labels are the same
        width = picture.shape[1]
        assert width < pseudo[name].shape[1] < 1.6 * width
        assert np.array_equal(pseudo[name][62:, : width - 12], picture[62:, : width - 12])


def test_pseudo_labels_are_those_of_training(request_of):
    """They do not cover ground truth, and have classes of earlier steps only."""
    from mmengine.registry import DATASETS, init_default_scope

    from mmcomformer.engine.request import Request, load_config
    from mmcomformer.engine.scenario_config import scenario_of

    wanted = request_of(2, checkpoint=1)
    cfg = load_config(Request(CONFIG, cfg_options=wanted.cfg_options), 2)
    init_default_scope('mmdet')
    scenario = scenario_of(cfg)
    labeller = browsing._PseudoLabels(cfg, scenario, wanted.checkpoint)
    old = scenario.seen_labels - scenario.current_labels
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    for index in range(3):
        packed = dataset[index]
        covered = masks_of(packed['data_samples']).any(0)
        for mask, label in labeller(packed):
            assert label in old
            assert mask.shape == covered.shape
            assert not (mask & covered).any()


def test_labelled_segments():
    """Each has its label and the pixels of its number."""
    sample = DetDataSample()
    sample.gt_instances = InstanceData(labels=torch.tensor([4, 2]))
    sample.gt_panoptic_seg = PixelData(sem_seg=torch.tensor([[[0, 2, 1], [2, 2, 0]]]))
    (first, second) = task_named('panoptic').ground_truth(sample, 5)
    assert (first[1], second[1]) == (4, 2)
    assert first[0].tolist() == [[False, False, True], [False, False, False]]
    assert second[0].tolist() == [[False, True, False], [True, True, False]]


def test_the_same_pictures_again(request_of):
    first, again = (dict(browse(request_of(0))) for _ in range(2))
    assert all(np.array_equal(first[name], again[name]) for name in first)


def test_files(request_of, tmp_path):
    paths = write_pictures(request_of(0, num=3), str(tmp_path / 'deep' / 'pictures'))
    assert sorted(paths) == sorted((tmp_path / 'deep' / 'pictures').glob('*.png'))
    assert len(paths) == 3


def test_images_from_memory(request_of, monkeypatch):
    """They are the last ones, their titles say so, and they can be drawn alone."""
    titles = {}
    monkeypatch.setattr(
        browsing, 'join_panels', lambda panels, title: (titles.setdefault(title), panels[0][1])[1]
    )
    wanted = request_of(1, num=None)
    wanted = dataclasses.replace(wanted, cfg_options={**wanted.cfg_options, 'memory.size': 3})
    everything = [name for name, _ in browse(wanted)]
    marks = [title.endswith(' (from memory)') for title in titles]
    assert marks == [False] * (len(marks) - 3) + [True] * 3
    titles.clear()
    alone = [name for name, _ in browse(dataclasses.replace(wanted, memory=True, num=2))]
    assert alone == everything[-3:-1]
    assert all(title.endswith(' (from memory)') for title in titles)


@pytest.mark.parametrize(('step', 'size'), [(0, 3), (1, None)])
def test_no_image_from_memory(request_of, step, size):
    wanted = request_of(step)
    options = {**wanted.cfg_options, **({'memory.size': size} if size else {})}
    with pytest.raises(ValueError, match=f'--memory: step {step} has no image from memory'):
        list(browse(dataclasses.replace(wanted, cfg_options=options, memory=True)))


def test_window(request_of, monkeypatch):
    shown = []
    monkeypatch.setattr('matplotlib.get_backend', lambda: 'qtagg')
    monkeypatch.setattr(
        'mmengine.visualization.Visualizer.show',
        lambda self, picture, win_name: shown.append((win_name, picture.shape)),
    )
    assert show_pictures(request_of(0)) == len(shown) == 2
    monkeypatch.setattr('matplotlib.get_backend', lambda: 'agg')
    with pytest.raises(ValueError, match='no display .* --out-dir'):
        show_pictures(request_of(0))


def test_wrong_checkpoints(request_of):
    with pytest.raises(ValueError, match='step 0 has no teacher'):
        next(browse(request_of(0, checkpoint=0)))
    with pytest.raises(RuntimeError, match='step'):
        next(browse(request_of(2, checkpoint=0)))
