import json
import shutil

import cv2
import numpy as np
import pytest
from mmengine.registry import DATASETS

from mmcomformer.datasets.check_report import format_report
from mmcomformer.datasets.checking import check_scenario
from mmcomformer.datasets.file_checks import ImageFiles, check_files, count_pixels

pytestmark = [pytest.mark.families, pytest.mark.usefixtures('mmdet_scope')]

PIPELINE = [
    {'type': 'LoadImageFromFile'},
    {'type': 'LoadPanopticIdMap'},
    {'type': 'PackContinualInputs'},
]


def configs(data, scenario, **changes):
    """Return the configs of the training set at each step, and that of the validation set."""
    common = {'type': 'IncrementalDataset', 'dataset': data.inner(), 'pipeline': PIPELINE}
    common.update(changes)
    count = len(scenario['increments'])
    steps = [dict(common, scenario={**scenario, 'step': step}) for step in range(count)]
    return steps, {'val': dict(common, scenario=dict(scenario), test_mode=True)}


def check(data, scenario, **changes):
    return check_scenario(*configs(data, scenario, **changes), workers=1)


def train(data, scenario):
    """Read every image of every step and of validation, as a training would."""
    steps, evaluation = configs(data, scenario)
    for config in [*steps, evaluation['val']]:
        dataset = DATASETS.build(config)
        for index in range(len(dataset)):
            dataset[index]


def kinds(findings):
    return {finding.kind for finding in findings}


class TestSoundData:
    def test_counts(self, hand_made, scenario):
        report = check(hand_made, scenario)
        assert report.faults == []
        assert [step['images'] for step in report.steps] == [3, 4, 1]
        first = report.steps[0]['classes']
        # sky in a and b, with the column of VOID at the right; dog in a and twice in d
        assert list(first) == ['sky', 'dog']
        assert first['sky'] == {'images': 2, 'segments': 2, 'pixels': 36, 'crowds': 0}
        assert first['dog'] == {'images': 2, 'segments': 3, 'pixels': 2 + 2 * 18, 'crowds': 0}
        fox = report.datasets['val']['classes']['fox']
        assert fox == {'images': 1, 'segments': 1, 'pixels': 18, 'crowds': 1}
        assert report.datasets['val']['images_without_segments'] == 1
        assert report.datasets['val']['smallest_size'] == (8, 10)

    def test_processes_give_the_same(self, hand_made, scenario):
        alone = check(hand_made, scenario).to_dict()
        shared = check_scenario(*configs(hand_made, scenario), workers=2).to_dict()
        assert json.dumps(shared) == json.dumps(alone)

    def test_sequential_counts_old_classes(self, hand_made, scenario):
        report = check(hand_made, {**scenario, 'setting': 'sequential'})
        assert list(report.steps[1]['classes']) == ['sky', 'dog', 'cat', 'sea']

    def test_text(self, hand_made, scenario):
        text = format_report(check(hand_made, scenario))
        assert 'step 0 (overlap): 3 images, 5 segments, 8x10 pixels' in text
        assert '| dog   |      2 |        3 |     38 |      0 |' in text
        assert text.endswith('training can start')

    def test_count_pixels(self):
        ids = np.random.default_rng(0).integers(0, 4, (9, 7)).astype(np.int32)
        assert count_pixels(ids) == {i: int((ids == i).sum()) for i in (1, 2, 3)}


class TestMemory:
    def check(self, data, scenario, size=2):
        steps, evaluation = configs(data, scenario)
        memory = {'type': 'ClassProportionalMemory', 'size': size}
        return check_scenario([{**c, 'memory': memory} for c in steps], evaluation, workers=1)

    def test_counts(self, hand_made, scenario):
        plain = check(hand_made, scenario)
        report = self.check(hand_made, scenario)
        assert report.faults == []
        assert report.datasets == plain.datasets
        assert [{**step, 'memory': None} for step in report.steps] == plain.steps
        memories = [step['memory'] for step in report.steps]
        assert [memory['images'] for memory in memories] == [0, 2, 2]
        # step 0 shows sky twice and dog three times: images a (sky, dog), then d (dog, dog)
        assert memories[1]['classes'] == {
            'sky': {'images': 1, 'segments': 1, 'pixels': 18, 'crowds': 0},
            'dog': {'images': 2, 'segments': 3, 'pixels': 2 + 2 * 18, 'crowds': 0},
        }
        assert list(memories[2]['classes']) == ['sky', 'dog', 'cat', 'sea']

    def test_text(self, hand_made, scenario):
        text = format_report(self.check(hand_made, scenario))
        assert 'step 1, from memory: 2 images, 4 segments, 8x10 pixels' in text
        assert 'step 0, from memory: 0 images, 0 segments' in text
        assert 'from memory' not in format_report(check(hand_made, scenario))

    def test_too_large(self, hand_made, scenario):
        report = self.check(hand_made, scenario, size=4)
        messages = [fault.message for fault in report.faults]
        # once, not at each step
        assert len(messages) == 1
        assert 'memory.size: expected at most 3' in messages[0]

    def test_partitioned(self, hand_made, scenario):
        """Each image with a class is in one step."""
        report = check(hand_made, {**scenario, 'setting': 'partitioned', 'partition_seed': 2})
        assert sum(step['images'] for step in report.steps) == 4


def remove_png(data):
    data.png_path('a').unlink()


def truncate_png(data):
    path = data.png_path('a')
    path.write_bytes(path.read_bytes()[:60])


def remove_image(data):
    data.image_path('a').unlink()


def spoil_image(data):
    data.image_path('a').write_bytes(b'no image')


def empty_image(data):
    data.image_path('a').write_bytes(b'')


def change_size(data):
    data.write_png('a', data.maps['a.jpg'][:6])


def add_to_png(data):
    data.write_png('a', np.where(data.maps['a.jpg'] == 0, 4711, data.maps['a.jpg']))


def remove_from_png(data):
    data.write_png('a', np.where(data.maps['a.jpg'] == 70000, 5, data.maps['a.jpg']))


def repeat_id(data):
    segments = data.annotation('a')['segments_info']
    segments.append(dict(segments[0]))
    data.ann_file.write_text(json.dumps(data.content))


def unknown_category(data):
    data.annotation('a')['segments_info'][0]['category_id'] = 4
    data.ann_file.write_text(json.dumps(data.content))


def no_json(data):
    data.ann_file.write_text('{"images": [')


def not_annotated(data):
    data.content['annotations'].pop()
    data.ann_file.write_text(json.dumps(data.content))


def no_fox(data):
    for annotation in data.content['annotations']:
        for segment in annotation['segments_info']:
            if segment['category_id'] == 77:
                segment['category_id'] = 3
    data.ann_file.write_text(json.dumps(data.content))


FAULTS = {
    remove_png: ('missing file', 'a_panoptic.png', None),
    truncate_png: ('unreadable file', 'a_panoptic.png', None),
    remove_image: ('missing file', 'a.jpg', None),
    spoil_image: ('unreadable file', 'a.jpg', None),
    empty_image: ('unreadable file', 'a.jpg', None),
    change_size: ('sizes differ', 'a_panoptic.png', None),
    add_to_png: ('segment in the PNG only', 'a_panoptic.png', 4711),
    remove_from_png: ('segment in the JSON only', 'a_panoptic.png', 70000),
    repeat_id: ('annotation file', 'panoptic.json', 5),
    unknown_category: ('annotation file', 'panoptic.json', 5),
    no_json: ('annotation file', 'panoptic.json', None),
    not_annotated: ('images to evaluate on', 'e.jpg', None),
    no_fox: ('images of a step', 'fox', None),
}


@pytest.mark.parametrize('spoil', FAULTS, ids=lambda spoil: spoil.__name__)
def test_faults_are_found_and_stop_training_too(hand_made, scenario, spoil):
    kind, file, segment = FAULTS[spoil]
    spoil(hand_made)
    report = check(hand_made, scenario)
    assert kind in kinds(report.faults)
    found = next(finding for finding in report.faults if finding.kind == kind)
    assert file in f'{found.file} {found.message}'
    assert segment is None or segment == found.segment or f'{segment}' in found.message
    assert format_report(report).endswith('training cannot start')
    assert not report.to_dict()['can_train']
    # the same file and segment when nobody has checked
    with pytest.raises((ValueError, RuntimeError, FileNotFoundError)) as stopped:
        train(hand_made, scenario)
    assert file in str(stopped.value)
    assert segment is None or str(segment) in str(stopped.value)


class TestWarnings:
    def test_areas_that_disagree(self, hand_made, scenario):
        hand_made.annotation('b')['segments_info'][0]['area'] = 17
        hand_made.ann_file.write_text(json.dumps(hand_made.content))
        report = check(hand_made, scenario)
        assert report.faults == []
        found = [finding for finding in report.warnings if finding.kind == 'areas differ']
        # the tiny dog of the set, and this one, each in training and in validation
        assert {finding.segment for finding in found} == {9, 300}
        assert any('17' in finding.message and '18' in finding.message for finding in found)
        train(hand_made, scenario)

    def test_size_in_the_annotation(self, hand_made, scenario):
        hand_made.content['images'][0]['width'] = 99
        hand_made.ann_file.write_text(json.dumps(hand_made.content))
        report = check(hand_made, scenario)
        assert report.faults == []
        assert 'size in the annotation' in kinds(report.warnings)
        train(hand_made, scenario)

    def test_same_picture_in_training_and_validation(self, hand_made, scenario):
        # here the sets are the same; then validation gets pictures of its own
        report = check(hand_made, scenario)
        assert 'picture in training and in val' in kinds(report.warnings)
        steps, evaluation = configs(hand_made, scenario)
        other = hand_made.root / 'other'
        shutil.copytree(hand_made.root / 'img', other)
        for path in other.iterdir():
            cv2.imwrite(str(path), 255 - cv2.imread(str(path)))
        inner = evaluation['val']['dataset']
        evaluation['val']['dataset'] = {**inner, 'data_prefix': {'img': 'other', 'seg': 'png'}}
        report = check_scenario(steps, evaluation, workers=1)
        assert 'picture in training and in val' not in kinds(report.warnings)
        assert report.same_names == 4

    def test_class_without_images(self, hand_made, scenario):
        no_fox(hand_made)
        merged = {**scenario, 'increments': [2, 3]}
        steps, evaluation = configs(hand_made, merged)
        report = check_scenario(steps, evaluation, workers=1)
        messages = [f.message for f in report.warnings if f.kind == 'class without images']
        assert any('step 1 teaches fox' in message for message in messages)
        assert report.steps[1]['classes_without_images'] == ['fox']

    def test_segments_that_may_be_empty(self, hand_made, scenario):
        remove_from_png(hand_made)
        pipeline = [dict(step) for step in PIPELINE]
        pipeline[1]['allow_empty_segments'] = True
        report = check(hand_made, scenario, pipeline=pipeline)
        assert report.faults == []
        assert 'segment in the JSON only' in kinds(report.warnings)

    def test_truncated_jpeg(self, hand_made):
        path = hand_made.image_path('a')
        path.write_bytes(path.read_bytes()[:-2] + b'\0' * 80)
        files = ImageFiles(
            str(path), str(hand_made.png_path('a')), (8, 10), (5, 70000, 9), (None,) * 3
        )
        report = check_files(files)
        assert [finding.kind for finding in report.findings] == ['truncated image']
        assert not report.findings[0].is_fault
