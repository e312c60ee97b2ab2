"""Conversions that are stopped, and targets that cannot be written."""

import errno
import json
import multiprocessing
import os
import shutil
import signal
import time
from functools import partial

import numpy as np
import pytest

from mmcomformer.dataset_converters import jobs as jobs_module
from mmcomformer.dataset_converters import storage
from mmcomformer.dataset_converters.jobs import Job
from mmcomformer.dataset_converters.panoptic_set import (
    PanopticSplit,
    convert_split,
    panoptic_rendered,
)
from mmcomformer.dataset_converters.segments import Segment, make_panoptic_map
from mmcomformer.datasets import png
from mmcomformer.outputs import remember

COUNT = 120


def render(number, seconds=0.0):
    time.sleep(seconds)
    layers = np.ones((4, 5), dtype=np.int32)
    layers[number % 4] = 2
    panoptic, _ = make_panoptic_map(layers, [Segment(0), Segment(1)])
    return panoptic_rendered(
        panoptic, img_id=number, file_name=f'{number}.jpg', png_name=f'{number}.png'
    )


def make_split(root, *, seconds=0.0, count=COUNT, num_bytes=100):
    (root / 'sources').mkdir(exist_ok=True)
    jobs = []
    for number in range(count):
        source = root / 'sources' / f'{number}.txt'
        if not source.exists():
            source.write_text('source')
        jobs.append(
            Job(
                name=f'{number}.jpg',
                target=root / 'out' / 'pan' / f'{number}.png',
                sources=(source,),
                render=partial(render, number, seconds),
                rule='test',
                num_bytes=num_bytes,
            )
        )
    categories = [{'id': id_, 'name': str(id_), 'isthing': id_} for id_ in (0, 1)]
    return PanopticSplit(
        title='split',
        json_path=root / 'out' / 'pan.json',
        png_folder=root / 'out' / 'pan',
        image_folder=root / 'sources',
        categories=categories,
        jobs=jobs,
    )


def states(root):
    return {
        path.name: (path.stat().st_mtime_ns, path.read_bytes())
        for path in (root / 'out' / 'pan').glob('[!.]*')
    }


def group_is_gone(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


def convert_in_own_group(split, workers):
    os.setpgid(0, 0)
    convert_split(split, workers=workers)


@pytest.mark.parametrize('workers', [1, 2])
def test_killed_and_started_again(tmp_path, workers):
    undisturbed = tmp_path / 'undisturbed'
    undisturbed.mkdir()
    convert_split(make_split(undisturbed), workers=1)

    split = make_split(tmp_path, seconds=0.01)
    context = multiprocessing.get_context('fork')
    process = context.Process(target=convert_in_own_group, args=(split, workers))
    process.start()
    folder = tmp_path / 'out' / 'pan'
    deadline = time.monotonic() + 20
    while len(list(folder.glob('[!.]*'))) < 20:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    # the workers end too, soon
    while not group_is_gone(process.pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    before = states(tmp_path)
    assert 20 <= len(before) < COUNT
    assert not (tmp_path / 'out' / 'pan.json').exists()
    (folder / f'.7.png.{process.pid}.tmp').write_bytes(b'half')

    report = convert_split(make_split(tmp_path), workers=workers)
    assert (report.num_reused, report.num_written) == (len(before), COUNT - len(before))
    after = states(tmp_path)
    assert {name: after[name] for name in before} == before
    assert {name: content for name, (_, content) in after.items()}.keys() == {
        f'{number}.png' for number in range(COUNT)
    }
    assert not list(folder.glob('.*'))
    pan = json.loads((tmp_path / 'out' / 'pan.json').read_text())
    assert pan == json.loads((undisturbed / 'out' / 'pan.json').read_text())
    assert [entry['file_name'] for entry in pan['annotations']] == [
        f'{number}.png' for number in range(COUNT)
    ]


def test_changed_source_and_damaged_output_are_done_again(tmp_path):
    split = make_split(tmp_path, count=5)
    convert_split(split, workers=1)
    before = states(tmp_path)
    (tmp_path / 'sources' / '1.txt').write_text('changed source')
    path = tmp_path / 'out' / 'pan' / '3.png'
    path.write_bytes(path.read_bytes()[:-20])
    report = convert_split(split, workers=1)
    assert (report.num_reused, report.num_written) == (3, 2)
    after = states(tmp_path)
    assert after['3.png'][1] == before['3.png'][1]
    assert after['0.png'] == before['0.png']


def test_another_running_process_keeps_its_temporary_file(tmp_path):
    split = make_split(tmp_path, count=2)
    folder = tmp_path / 'out' / 'pan'
    folder.mkdir(parents=True)
    (folder / f'.1.png.{os.getppid()}.tmp').touch()
    convert_split(split, workers=1)
    assert len(list(folder.glob('.*'))) == 1


def test_strays_are_noted(tmp_path):
    split = make_split(tmp_path, count=2)
    (tmp_path / 'out' / 'pan').mkdir(parents=True)
    (tmp_path / 'out' / 'pan' / 'old.png').touch()
    assert 'has 1 PNGs of other images, such as old.png' in convert_split(split).outputs[0]


class TestDisk:
    def test_too_little_room_is_known_before(self, tmp_path, monkeypatch):
        usage = shutil.disk_usage(tmp_path)._replace(free=2_000_000)
        monkeypatch.setattr(storage.shutil, 'disk_usage', lambda path: usage)
        split = make_split(tmp_path, count=4, num_bytes=1_000_000)
        with pytest.raises(RuntimeError, match='out: about 4.0 MB are needed and 2.0 MB are free'):
            convert_split(split, workers=1)
        assert states(tmp_path) == {}

    def test_only_what_is_missing_needs_room(self, tmp_path, monkeypatch):
        split = make_split(tmp_path, count=4, num_bytes=1_000_000)
        convert_split(split, workers=1)
        (tmp_path / 'out' / 'pan' / '2.png').unlink()
        usage = shutil.disk_usage(tmp_path)._replace(free=1_100_000)
        monkeypatch.setattr(storage.shutil, 'disk_usage', lambda path: usage)
        assert convert_split(split, workers=1).num_written == 1

    @pytest.mark.parametrize('workers', [1, 2])
    def test_full_on_the_way(self, tmp_path, monkeypatch, workers):
        split = make_split(tmp_path, count=9, num_bytes=1_000_000)
        real = png.replaced_file

        def failing(path, **kwargs):
            if path.name == '5.png':
                raise OSError(errno.ENOSPC, 'No space left on device')
            return real(path, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(png, 'replaced_file', failing)
            with pytest.raises(RuntimeError) as caught:
                convert_split(split, workers=workers)
        text = str(caught.value)
        assert f'{tmp_path}/out/pan/5.png: the disk is full: about' in text
        assert 'goes on where it stopped' in text
        if workers == 1:
            # 5 of 9 files are there
            assert 'about 4.0 MB more are needed' in text
        assert not (tmp_path / 'out' / 'pan.json').exists()
        assert convert_split(split, workers=1).usable
        assert len(states(tmp_path)) == 9

    def test_full_at_the_annotation_file(self, tmp_path, monkeypatch):
        split = make_split(tmp_path, count=3)
        split.json_path.parent.mkdir()
        split.json_path.write_text('old')
        remember(split.json_path)
        real = storage.output_file

        def failing(path, **kwargs):
            raise OSError(errno.ENOSPC, 'No space left on device')

        monkeypatch.setattr(storage, 'output_file', failing)
        with pytest.raises(RuntimeError, match='pan.json: the disk is full: about 4 KB more'):
            convert_split(split, workers=1)
        assert split.json_path.read_text() == 'old'
        monkeypatch.setattr(storage, 'output_file', real)
        report = convert_split(split, workers=1)
        assert report.num_reused == 3

    @pytest.mark.parametrize('number', [errno.EROFS, errno.EACCES])
    def test_read_only(self, tmp_path, monkeypatch, number):
        split = make_split(tmp_path, count=2)

        def failing(path, *args, **kwargs):
            raise OSError(number, os.strerror(number), str(path))

        monkeypatch.setattr(storage.Path, 'mkdir', failing)
        with pytest.raises(PermissionError, match='out cannot be written .*; about 12 KB are'):
            convert_split(split, workers=1)

    def test_folder_is_a_file(self, tmp_path):
        split = make_split(tmp_path, count=2)
        (tmp_path / 'out').touch()
        with pytest.raises(RuntimeError, match='out could not be written: File exists'):
            convert_split(split, workers=1)

    def test_other_errors_of_writing(self, tmp_path, monkeypatch):
        split = make_split(tmp_path, count=2)
        monkeypatch.setattr(
            jobs_module,
            'write_png',
            lambda path, *args: (_ for _ in ()).throw(OSError(5, 'x', 'y')),
        )
        with pytest.raises(RuntimeError, match='y could not be written: x'):
            convert_split(split, workers=1)


def test_size_in_words():
    assert storage.in_words(10) == '1 KB'
    assert storage.in_words(5.2e7) == '52.0 MB'
    assert storage.size_on_disk(4097) == 8192
