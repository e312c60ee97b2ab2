"""A hand-made panoptic set whose every pixel is known."""

import json

import cv2
import numpy as np
import pytest
from mmengine.registry import DefaultScope

THINGS = ('cat', 'dog', 'fox')
STUFF = ('sky', 'sea')
CLASSES = (*THINGS, *STUFF)
CAT, DOG, FOX, SKY, SEA = range(5)
# step 0: sky, dog; step 1: cat, sea; step 2: fox
SCENARIO = {
    'increments': [2, 2, 1],
    'thing_classes': list(THINGS),
    'stuff_classes': list(STUFF),
    'class_order': ['sky', 'dog', 'cat', 'sea', 'fox'],
}
CATEGORY_ID = {'sea': 3, 'fox': 77, 'sky': 1, 'cat': 40, 'dog': 2}
"""Neither the order nor the ids of the categories are those of the labels."""


class HandMadeSet:
    """Five images of 8x10 with their id maps, and the JSON that describes them."""

    height, width = 8, 10

    def __init__(self, root):
        self.root = root
        self.maps = {}
        self.content = {
            'images': [],
            'annotations': [],
            'categories': [
                {'id': id_, 'name': name, 'isthing': int(name in THINGS)}
                for name, id_ in CATEGORY_ID.items()
            ],
        }
        # a tiny dog whose area and box would make mmdet drop it
        self.add('a', {5: ('cat', 0), 70000: ('sky', 0), 9: ('dog', 0)}, area={9: 0})
        self.add('b', {300: ('sea', 0), 301: ('sky', 0)})
        self.add('c', {8: ('fox', 1), 2: ('cat', 0), 65536: ('sea', 0)})
        self.add('d', {11: ('dog', 0), 12: ('dog', 0), 13: ('fox', 0), 14: ('sea', 0)})
        self.add('e', {})

    def add(self, name, segments, area=None):
        """Add an image; its segments are horizontal strips, and the last column is VOID."""
        ids = np.zeros((self.height, self.width), dtype=np.int32)
        for row, segment_id in enumerate(segments):
            ids[2 * row : 2 * row + 2, :-1] = segment_id
            if area and segment_id in area:
                ids[2 * row : 2 * row + 2, 1:] = 0
        self.maps[f'{name}.jpg'] = ids
        size = {'height': self.height, 'width': self.width}
        self.content['images'].append({'id': f'id-{name}', 'file_name': f'{name}.jpg', **size})
        self.content['annotations'].append(
            {
                'image_id': f'id-{name}',
                # neither the folder nor the stem is that of the image
                'file_name': f'maps/{name}_panoptic.png',
                'segments_info': [
                    {
                        'id': id_,
                        'category_id': CATEGORY_ID[category],
                        'iscrowd': crowd,
                        'area': (area or {}).get(id_, 18),
                        'bbox': [0, 0, 0 if id_ in (area or {}) else 9, 2],
                    }
                    for id_, (category, crowd) in segments.items()
                ],
            }
        )

    def annotation(self, name):
        return next(a for a in self.content['annotations'] if a['image_id'] == f'id-{name}')

    @property
    def ann_file(self):
        return self.root / 'panoptic.json'

    def png_path(self, name):
        return self.root / 'png' / 'maps' / f'{name}_panoptic.png'

    def image_path(self, name):
        return self.root / 'img' / f'{name}.jpg'

    def write(self):
        (self.root / 'img').mkdir(exist_ok=True)
        (self.root / 'png' / 'maps').mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(0)
        for file_name, ids in self.maps.items():
            image = rng.integers(0, 256, (*ids.shape, 3), dtype=np.uint8)
            cv2.imwrite(str(self.root / 'img' / file_name), image)
            self.write_png(file_name.removesuffix('.jpg'), ids)
        self.ann_file.write_text(json.dumps(self.content))
        return self

    def write_png(self, name, ids):
        bgr = np.stack([ids // 65536, ids // 256 % 256, ids % 256], axis=-1).astype(np.uint8)
        cv2.imwrite(str(self.png_path(name)), bgr)

    def inner(self, **kwargs):
        """Config of the inner dataset."""
        return {
            'type': 'mmdet.CocoPanopticDataset',
            'data_root': str(self.root),
            'ann_file': 'panoptic.json',
            'data_prefix': {'img': 'img', 'seg': 'png'},
            'metainfo': {
                'classes': CLASSES,
                'thing_classes': THINGS,
                'stuff_classes': STUFF,
                'palette': [(10 * i, 0, 0) for i in range(5)],
            },
            **kwargs,
        }


@pytest.fixture
def hand_made(tmp_path):
    """A written hand-made set; change its content and write it again for a fault."""
    return HandMadeSet(tmp_path).write()


@pytest.fixture
def scenario():
    """Config of a three-step scenario on the hand-made set, things and stuff mixed."""
    return dict(SCENARIO)


@pytest.fixture
def mmseg_scope():
    """Resolve type names as a config with ``default_scope = 'mmseg'`` does."""
    with DefaultScope.overwrite_default_scope('mmseg'):
        yield
