import copy
import json

import pytest

from mmcomformer.datasets.panoptic_annotations import read_panoptic_annotations

CLASSES = ('cat', 'dog', 'fox', 'sky', 'sea')
THINGS = ('cat', 'dog', 'fox')


def read(hand_made, **kwargs):
    hand_made.ann_file.write_text(json.dumps(hand_made.content))
    return read_panoptic_annotations(
        str(hand_made.ann_file), classes=CLASSES, thing_classes=THINGS, **kwargs
    )


def test_reads_everything(hand_made):
    images = {image.file_name: image for image in read(hand_made)}
    assert list(images) == ['a.jpg', 'b.jpg', 'c.jpg', 'd.jpg', 'e.jpg']
    a = images['a.jpg']
    assert (a.img_id, a.height, a.width) == ('id-a', 8, 10)
    assert a.png_name == 'maps/a_panoptic.png'
    # labels by name, and the tiny dog is kept
    assert [(s['id'], s['label']) for s in a.segments] == [(5, 0), (70000, 3), (9, 1)]
    assert [s['iscrowd'] for s in images['c.jpg'].segments] == [True, False, False]
    assert images['e.jpg'].segments == []


def test_image_without_annotation(hand_made):
    del hand_made.content['annotations'][1]
    assert read(hand_made)[1].png_name is None


def test_aliases(hand_made):
    hand_made.content['categories'][0]['name'] = 'ocean'
    images = read(hand_made, category_aliases={'ocean': 'sea'})
    assert images[1].segments[0]['label'] == 4


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'annotation file .*no.json does not exist; check'):
        read_panoptic_annotations(str(tmp_path / 'no.json'), classes=CLASSES, thing_classes=THINGS)


@pytest.mark.parametrize('content', [b'', b'{"images": [', b'PNG'])
def test_not_json(tmp_path, content):
    path = tmp_path / 'x.json'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r'annotation file .*x\.json is not JSON'):
        read_panoptic_annotations(str(path), classes=CLASSES, thing_classes=THINGS)


@pytest.mark.parametrize('section', ['categories', 'images', 'annotations'])
@pytest.mark.parametrize('change', ['missing', 'no list'])
def test_missing_section(hand_made, section, change):
    if change == 'missing':
        del hand_made.content[section]
    else:
        hand_made.content[section] = {'a': 1}
    with pytest.raises(ValueError, match=rf'panoptic\.json has no list {section!r}'):
        read(hand_made)


def test_json_of_another_kind(tmp_path):
    path = tmp_path / 'x.json'
    path.write_text('[1, 2]')
    with pytest.raises(ValueError, match=r'an object with the lists .*, got \[1, 2\] \(a list\)'):
        read_panoptic_annotations(str(path), classes=CLASSES, thing_classes=THINGS)


def change_category(key, value):
    def change(content):
        content['categories'][1][key] = value

    return change


def change_segment(key, value):
    def change(content):
        content['annotations'][0]['segments_info'][0][key] = value

    return change


def drop(section, key):
    def change(content):
        del content[section][0][key]

    return change


FAULTS = {
    'no category': (lambda c: c['categories'].clear(), 'the list of categories is empty'),
    'unknown category': (
        change_category('name', 'wolf'),
        r"panoptic\.json, categories: 'wolf' \(id 77\) is not a class of the dataset",
    ),
    'repeated category': (change_category('name', 'cat'), r"'cat' .* is listed twice"),
    'repeated category id': (change_category('id', 3), r"'fox' \(id 3\) is listed twice"),
    'thing as stuff': (
        change_category('isthing', 0),
        "'fox' is stuff in the file .* and a thing in the dataset",
    ),
    'no isthing': (drop('categories', 'isthing'), r"categories\[0\]: 'isthing' is missing"),
    'repeated image': (
        lambda c: c['images'].append(c['images'][0]),
        "images: the image id 'id-a' is listed twice",
    ),
    'no file name': (
        drop('images', 'file_name'),
        r"images\[0\] \(id 'id-a'\): 'file_name' is missing",
    ),
    'no height': (drop('images', 'height'), r"images\[0\] .*: 'height' is missing"),
    'unknown image': (
        lambda c: c['annotations'][0].update(image_id='no'),
        r"annotations\[0\] .*: the image id 'no' \(a string\) is not listed in images$",
    ),
    'annotated twice': (
        lambda c: c['annotations'].append(copy.deepcopy(c['annotations'][0])),
        r"of image a\.jpg \(id 'id-a'\): the image is annotated twice",
    ),
    'no png name': (drop('annotations', 'file_name'), r"\(image 'id-a'\): 'file_name' is missing"),
    'no segments': (drop('annotations', 'segments_info'), "'segments_info' is missing"),
    'repeated segment': (
        change_segment('id', 9),
        r"of image 'id-a': the segment id 9 is listed twice",
    ),
    'segment id 0': (change_segment('id', 0), 'expected segment ids from 1 to 16777215, got 0'),
    'segment id text': (change_segment('id', '7'), "from 1 to 16777215, got '7'"),
    'unknown category id': (
        change_segment('category_id', 99),
        'segment 5 has the category id 99 .* is not listed',
    ),
}


@pytest.mark.parametrize('section', ['images', 'annotations'])
@pytest.mark.parametrize(
    'name', ['../a.png', '/etc/a.png', 'x/../../a', 'C:/a.png', 'a\\b', 'a\nb']
)
def test_names_that_leave_the_folder(hand_made, section, name):
    hand_made.content[section][1]['file_name'] = name
    expected = rf'panoptic\.json, {section}\[1\] \(.*\): file_name: expected the name of a file'
    with pytest.raises(ValueError, match=expected):
        read(hand_made)


def test_names_with_dots_and_folders(hand_made):
    hand_made.content['images'][1]['file_name'] = 'cam.1/a..b/.c..jpg'
    assert read(hand_made)[1].file_name == 'cam.1/a..b/.c..jpg'


@pytest.mark.parametrize('fault', FAULTS)
def test_faults(hand_made, fault):
    change, message = FAULTS[fault]
    change(hand_made.content)
    with pytest.raises(ValueError, match=message):
        read(hand_made)
