"""Segmenting images of one's own."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from small_runs import with_bias_of_no_object, write_config

from mmcomformer.apis import predict
from mmcomformer.engine.checkpoint import previous_checkpoint
from mmcomformer.pictures import demo as module
from mmcomformer.pictures.demo import Demo, find_images, name_pictures, run_demo

pytestmark = pytest.mark.families


@pytest.fixture
def images(shapes_root, tmp_path):
    """A folder with two images, one of them in a folder below, and something else."""
    folder = tmp_path / 'photos'
    (folder / 'more').mkdir(parents=True)
    first, second = sorted((shapes_root / 'val').iterdir())[:2]
    shutil.copy(first, folder / 'a.jpg')
    shutil.copy(second, folder / 'more' / 'a.jpg')
    (folder / 'notes.txt').write_text('no image')
    return folder


@pytest.fixture
def model_files(finished_run, tmp_path):
    config = write_config(finished_run, tmp_path / 'small.py')
    checkpoint = previous_checkpoint(finished_run[0] / 'step1')
    return config, with_bias_of_no_object(checkpoint, -1000, tmp_path / 'bold.pth')


class TestFindImages:
    def test_file_folder_and_pattern(self, images):
        both = [images / 'a.jpg', images / 'more' / 'a.jpg']
        assert find_images([images / 'notes.txt']) == [images / 'notes.txt']
        assert find_images([images]) == both
        assert find_images([f'{images}/**/*.jpg']) == both
        assert find_images([images / 'more', images]) == both[::-1]

    @pytest.mark.parametrize(
        ('name', 'message'),
        [
            ('gone.jpg', 'image gone.jpg: no such file$'),
            ('gone/*.jpg', 'no file fits the pattern'),
            ('empty', 'folder empty: no image in it; expected names that end in .bmp'),
        ],
    )
    def test_none(self, name, message, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        Path('empty').mkdir()
        with pytest.raises(FileNotFoundError, match=message):
            find_images([name])


class TestNamePictures:
    def test_folders_stay(self, images):
        pictures = name_pictures(find_images([images]), 'out')
        assert pictures == [Path('out/a.png'), Path('out/more/a.png')]

    def test_names_that_differ_in_the_extension(self, tmp_path):
        pictures = name_pictures([tmp_path / 'a.jpg', tmp_path / 'a.png', tmp_path / 'b.png'], 'o')
        assert pictures == [Path('o/a.jpg.png'), Path('o/a.png.png'), Path('o/b.png')]

    def test_one_file_for_several(self, images):
        with pytest.raises(ValueError, match='--out x.png: expected a folder .* of 2 images'):
            name_pictures(find_images([images]), 'x.png')


def test_several(images, model_files, tmp_path):
    (images / 'broken.png').write_text('hello')
    out = tmp_path / 'out'
    seen = []
    drawn = run_demo(
        Demo([images], *model_files, out, json=tmp_path / 'found.json', device='cpu'), seen.append
    )
    assert drawn == seen
    good = [result for result in drawn if result.prediction is not None]
    assert [result.picture for result in good] == [out / 'a.png', out / 'more' / 'a.png']
    (broken,) = (result for result in drawn if result.prediction is None)
    assert 'broken.png: cannot be read' in broken.fault
    assert not broken.picture.exists()
    content = json.loads((tmp_path / 'found.json').read_text())
    assert content['step'] == 1
    for result, found in zip(good, content['images'], strict=True):
        assert cv2.imread(str(result.picture)).shape == cv2.imread(str(result.image)).shape
        assert found['image'] == str(result.image)
        assert (found['height'], found['width']) == result.prediction.ids.shape
        assert len(found['segments']) == len(result.prediction.segments) > 0
        for plain, segment in zip(found['segments'], result.prediction.segments, strict=True):
            assert plain['class'] == segment.name
            assert plain['score'] == pytest.approx(segment.score)
            left, top, width, height = plain['box']
            inside = result.prediction.mask(segment)[top : top + height, left : left + width]
            assert inside.sum() == plain['area'] == segment.area
            assert inside.any(0).all() or inside.any(0)[[0, -1]].all()


def test_one(images, model_files, tmp_path, monkeypatch):
    (drawn,) = run_demo(Demo([images / 'a.jpg'], *model_files, tmp_path / 'x.png', device='cpu'))
    assert drawn.picture == tmp_path / 'x.png'
    model = module.load_model(*model_files, device='cpu')
    assert np.array_equal(predict(model, images / 'a.jpg').ids, drawn.prediction.ids)


def test_what_is_wrong_is_told_before_the_model_is_built(
    images, model_files, tmp_path, monkeypatch
):
    monkeypatch.setattr(module, 'load_model', None)
    image, foreign = images / 'a.jpg', tmp_path / 'theirs.png'
    foreign.write_bytes(b'theirs')
    (images / 'b.png').write_text('hello')
    for one, out, error, message in (
        (image, foreign, FileExistsError, 'theirs.png exists, and was not written by'),
        (image, image, ValueError, 'would be written over the input'),
        (images / 'no.png', foreign, FileNotFoundError, 'no.png: no such file'),
        (images / 'b.png', tmp_path / 'new.png', ValueError, 'b.png: cannot be read'),
    ):
        with pytest.raises(error, match=message):
            run_demo(Demo([one], *model_files, out))
    assert foreign.read_bytes() == b'theirs'
    assert not (tmp_path / 'new.png').exists()
