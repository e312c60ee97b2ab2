"""Pictures of a test: one per image, never over a file of somebody else."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from mmengine.visualization import Visualizer

from mmcomformer.engine.hooks import PredictionPicturesHook


class Drawing:
    def add_datasample(self, name, image, data_sample, show, out_file):
        cv2.imwrite(out_file, image[..., ::-1])


@pytest.fixture
def images(tmp_path):
    paths = []
    for number, name in enumerate(('cam1/a.jpg', 'cam2/a.jpg', 'cam2/b.png')):
        path = tmp_path / 'images' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.full((4, 4, 3), 80 * number, np.uint8))
        paths.append(str(path))
    return paths


def run(images, folder, **options):
    hook = PredictionPicturesHook(str(folder), **options)
    infos = [{'img_path': path, 'seg_map_path': None} for path in images]
    dataset = type('Set', (list,), {'get_data_info': lambda self, index: self[index]})(infos)
    runner = SimpleNamespace(test_loop=SimpleNamespace(dataloader=SimpleNamespace(dataset=dataset)))
    hook.before_test(runner)
    samples = [SimpleNamespace(img_path=path) for path in images]
    hook.after_test_iter(runner, 0, None, samples[:2])
    hook.after_test_iter(runner, 1, None, samples[2:])


@pytest.fixture(autouse=True)
def drawing(monkeypatch):
    monkeypatch.setattr(Visualizer, 'get_current_instance', lambda: Drawing())


def test_sub_folders_are_kept(images, tmp_path):
    folder = tmp_path / 'pictures'
    run(images, folder)
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob('*.[jp]*')}
    assert set(found) == {'cam1/a.jpg', 'cam2/a.jpg', 'cam2/b.png'}
    assert abs(int(cv2.imread(str(found['cam2/a.jpg'])).mean()) - 80) < 5
    # called again: they are its own
    run(images, folder)


def test_one_folder(images, tmp_path):
    run(images[1:], tmp_path / 'pictures')
    assert (tmp_path / 'pictures' / 'b.png').is_file()


def test_inputs_and_files_of_others(images, tmp_path):
    with pytest.raises(ValueError, match='would be written over the input'):
        run(images, tmp_path / 'images', overwrite=True)
    theirs = tmp_path / 'pictures' / 'cam2' / 'b.png'
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b'theirs')
    with pytest.raises(FileExistsError, match=r'b\.png exists, and was not written by'):
        run(images, tmp_path / 'pictures')
    assert theirs.read_bytes() == b'theirs'
    assert not (tmp_path / 'pictures' / 'cam1').exists()
    run(images, tmp_path / 'pictures', overwrite=True)
    assert theirs.read_bytes() != b'theirs'
