"""What may be written, and what is remembered of it."""

import os
from contextlib import suppress

import numpy as np
import pytest

from mmcomformer.datasets.png import write_png
from mmcomformer.outputs import (
    RECORD,
    check_apart,
    check_name,
    check_outputs,
    output_file,
    output_picture,
    picture_path,
    remember,
    written_here,
)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def write_ours(path, text='ours'):
    with output_file(path) as temporary:
        temporary.write_text(text)
    return path


class TestNames:
    @pytest.mark.parametrize('name', ['a.png', 'cam 1/ä.b.png', './a.png', 'a..b.png', '...png'])
    def test_below_the_folder(self, name):
        assert check_name(name, 'here') == name

    @pytest.mark.parametrize(
        ('name', 'reason'),
        [
            ('../a.png', 'a parent folder'), ('b/../../a.png', 'a parent folder'),
            ('..', 'a parent folder'), ('/tmp/a.png', 'not relative'), ('~/a.png', 'not relative'),
            ('C:/a.png', 'a drive letter'), ('c:a.png', 'a drive letter'),
            ('b\\a.png', 'a backslash'), ('..\\a.png', 'a backslash'), ('', 'no file'),
            ('  ', 'no file'), ('b/', 'no file'), ('.', 'no file'), ('a\0.png', 'control'),
            (5, r'got 5 \(int\)'), (None, 'NoneType'), (['a.png'], 'list'),
        ],
    )  # fmt: skip
    def test_refused(self, name, reason):
        with pytest.raises(ValueError, match=rf'x\.json: expected the name of a file .*{reason}'):
            check_name(name, 'x.json')


class TestForeignFiles:
    def test_ours_may_be_replaced(self, tmp_path):
        path = write_ours(tmp_path / 'deep' / 'a.json')
        check_outputs([path, tmp_path / 'new.json'])
        write_ours(path, 'ours again')
        check_outputs([path])
        assert path.read_text() == 'ours again'

    def test_others_are_not(self, tmp_path):
        foreign = [write(tmp_path / name, 'theirs') for name in ('a.json', 'b.json')]
        with pytest.raises(
            FileExistsError, match=r'a\.json exists.*, and 1 more files.*--overwrite'
        ):
            check_outputs(foreign)
        check_outputs(foreign, overwrite=True)

    def test_edited_ones_are_not(self, tmp_path):
        path = write_ours(tmp_path / 'a.json')
        path.write_text('edited')
        with pytest.raises(FileExistsError, match='was changed since'):
            check_outputs([path])

    def test_a_record_of_another_name_says_nothing(self, tmp_path):
        write_ours(tmp_path / 'a.json')
        (tmp_path / 'a.json').rename(tmp_path / 'b.json')
        assert not written_here(tmp_path / 'b.json')

    def test_killed_before_the_file_was_renamed(self, tmp_path):
        path = write_ours(tmp_path / 'a.json', 'old')
        with suppress(KeyboardInterrupt), output_file(path) as temporary:
            temporary.write_text('half')
            raise KeyboardInterrupt
        assert path.read_text() == 'old'
        assert written_here(path)

    def test_png_tells_itself(self, tmp_path, rng_image):
        path = tmp_path / 'a.png'
        write_png(path, rng_image, {'notes': {}})
        assert not (tmp_path / RECORD).exists()
        check_outputs([path])
        # the same chunk later in the file, as another program might keep it
        content = path.read_bytes()
        path.write_bytes(content[:33] + content[33 + 60 :])
        with pytest.raises(FileExistsError):
            check_outputs([path])

    def test_copied_folder(self, tmp_path):
        write_ours(tmp_path / 'a' / 'x.json')
        os.rename(tmp_path / 'a', tmp_path / 'b')
        check_outputs([tmp_path / 'b' / 'x.json'])

    def test_record_is_that_of_sha256sum(self, tmp_path):
        write_ours(tmp_path / 'a b.json', '')
        empty = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
        assert (tmp_path / RECORD).read_text() == f'{empty}  a b.json\n'

    def test_dangling_link_is_a_file(self, tmp_path):
        (tmp_path / 'a.json').symlink_to(tmp_path / 'nothing')
        with pytest.raises(FileExistsError):
            check_outputs([tmp_path / 'a.json'])

    def test_remembered(self, tmp_path):
        path = write(tmp_path / 'a.json', 'x')
        remember(path)
        check_outputs([path])


class TestInputs:
    def test_never_even_on_demand(self, tmp_path):
        path = write(tmp_path / 'a.jpg', 'photo')
        link, hard = tmp_path / 'link.jpg', tmp_path / 'hard.jpg'
        link.symlink_to(path)
        os.link(path, hard)
        for target in (path, tmp_path / 'b' / '..' / 'a.jpg', link, hard):
            (tmp_path / 'b').mkdir(exist_ok=True)
            with pytest.raises(ValueError, match='would be written over the input'):
                check_outputs([target], inputs=[path], overwrite=True)

    def test_not_even_one_that_was_written_here(self, tmp_path):
        path = write_ours(tmp_path / 'a.json')
        with pytest.raises(ValueError, match='would be written over the input'):
            check_outputs([path], inputs=[path])

    def test_folder_of_inputs(self, tmp_path):
        images = tmp_path / 'train'
        images.mkdir()
        (tmp_path / 'link').symlink_to(images)
        for folder in (images, tmp_path / 'link', tmp_path / 'x' / '..' / 'train'):
            with pytest.raises(ValueError, match='masks would be written into this folder'):
                check_apart(folder, [images], 'masks')
        check_apart(images / 'masks', [images], 'masks')

    def test_outside(self, tmp_path):
        (tmp_path / 'out').mkdir()
        (tmp_path / 'out' / 'sub').symlink_to(tmp_path)
        check_outputs([tmp_path / 'out' / 'new' / 'a.png'], folder=tmp_path / 'out')
        for name in ('sub/a.png', '../a.png'):
            with pytest.raises(ValueError, match='leads out of .*nothing was written'):
                check_outputs([tmp_path / 'out' / name], folder=tmp_path / 'out')

    def test_folder(self, tmp_path):
        with pytest.raises(ValueError, match='this is a folder; give the name of a file'):
            check_outputs([tmp_path])


class TestPictures:
    @pytest.mark.parametrize(
        ('out', 'path'),
        [
            ('x.png', 'x.png'), ('x.JPG', 'x.JPG'), ('x', 'x.png'), ('x.txt', 'x.txt.png'),
            ('v1.2', 'v1.2.png'), ('sub/', 'sub/photo.png'), ('.', 'photo.png'),
        ],
    )  # fmt: skip
    def test_path(self, out, path, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert picture_path(out, 'images/photo.jpeg').as_posix() == path

    def test_written(self, tmp_path):
        path = tmp_path / 'deep' / 'a.jpg'
        with output_picture(path) as temporary:
            assert temporary.suffix == '.jpg'
            temporary.write_bytes(b'picture')
        assert path.read_bytes() == b'picture'
        assert written_here(path)

    def test_nothing_drawn(self, tmp_path):
        with pytest.raises(FileNotFoundError), output_picture(tmp_path / 'a.jpg'):
            pass
        assert list(tmp_path.iterdir()) == []


@pytest.fixture
def rng_image():
    return np.arange(48, dtype=np.uint8).reshape(6, 8)
