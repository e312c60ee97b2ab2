"""Miniatures of datasets as they are downloaded, and how to look at what becomes of them."""

import json

import cv2
import numpy as np
from PIL import Image
from scipy.io import savemat

HEIGHT, WIDTH = 12, 16
PALETTE = [value for index in range(256) for value in (index, 255 - index, index // 2)]


def save(path, array, palette=False):
    """Write an image; with a palette, as VOC stores its labels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    if palette:
        image = Image.fromarray(array, mode='P')
        image.putpalette(PALETTE)
    image.save(path)


def photo(path, height=HEIGHT, width=WIDTH):
    save(path, np.full((height, width, 3), 90, np.uint8))


def read_ids(path):
    """Read a panoptic PNG with another library than the one that wrote it."""
    rgb = np.asarray(Image.open(path)).astype(np.int64)
    assert rgb.shape[2] == 3
    return rgb[..., 0] + 256 * rgb[..., 1] + 65536 * rgb[..., 2]


def as_categories(path, segments_info):
    """Return the map of (category, position among the segments of that category, crowd)."""
    ids = read_ids(path)
    found = np.full(ids.shape, None, dtype=object)
    for segment in segments_info:
        mask = ids == segment['id']
        rows, columns = np.nonzero(mask)
        x, y, width, height = segment['bbox']
        assert segment['area'] == mask.sum() > 0
        assert (x, x + width - 1) == (columns.min(), columns.max())
        assert (y, y + height - 1) == (rows.min(), rows.max())
        same = [s['id'] for s in segments_info if s['category_id'] == segment['category_id']]
        name = (segment['category_id'], same.index(segment['id']), segment['iscrowd'])
        for row, column in zip(rows, columns, strict=True):
            found[row, column] = name
    assert {s['id'] for s in segments_info} == set(np.unique(ids).tolist()) - {0}
    return found


def annotation_of(content, image_id):
    return next(entry for entry in content['annotations'] if entry['image_id'] == image_id)


def write_ade_image(root, folder, name):
    """Write sky and wall, two cars and a bed on them, and a car without an instance."""
    photo(root / 'images' / folder / f'{name}.jpg')
    semantic = np.zeros((HEIGHT, WIDTH), np.uint8)
    semantic[1:6] = 3
    semantic[6:11] = 1
    # grass, which the bed covers wholly
    semantic[8:10, 8:12] = 10
    semantic[10, 2:6] = 21
    instances = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    instances[4:8, 0:3] = 9, 1, 9
    instances[4:8, 3:6] = 9, 2, 9
    instances[7:11, 8:13] = 1, 7, 1
    save(root / 'annotations' / folder / f'{name}.png', semantic)
    save(root / 'annotations_instance' / folder / f'{name}.png', instances)


class Instances:
    """Instance annotations in COCO's style with a map of stuff; change and write again."""

    def __init__(self, root):
        self.root = root
        self.content = {
            'images': [
                {'id': 7, 'file_name': 'a.jpg', 'height': HEIGHT, 'width': WIDTH},
                {'id': 3, 'file_name': 'deep/b.jpg', 'height': HEIGHT, 'width': WIDTH},
            ],
            'annotations': [],
            'categories': [{'id': 1, 'name': 'cat'}, {'id': 5, 'name': 'dog'}],
        }
        self.stuff_categories = [{'id': 40, 'name': 'sky'}, {'id': 41, 'name': 'sea'}]
        self.stuff = np.zeros((HEIGHT, WIDTH), np.uint8)
        self.stuff[:6], self.stuff[6:10], self.stuff[10] = 40, 41, 255

    def add(self, image_id, category_id, segmentation, iscrowd=0):
        self.content['annotations'].append(
            {
                'id': 100 + len(self.content['annotations']),
                'image_id': image_id,
                'category_id': category_id,
                'segmentation': segmentation,
                'iscrowd': iscrowd,
            }
        )

    def write(self):
        for image in self.content['images']:
            photo(self.root / 'images' / image['file_name'])
            stem = image['file_name'].removesuffix('.jpg')
            save(self.root / 'stuff' / f'{stem}.png', self.stuff)
        self.json.write_text(json.dumps(self.content))
        (self.root / 'stuff.json').write_text(json.dumps(self.stuff_categories))
        return self

    @property
    def json(self):
        return self.root / 'instances.json'


def box(x, y, width, height):
    """Polygon of a box."""
    return [[x, y, x + width, y, x + width, y + height, x, y + height]]


def runs(mask):
    """Uncompressed run lengths of a mask, column by column."""
    values = mask.ravel(order='F').astype(int)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], values])))
    return np.diff(np.concatenate([[0], edges, [len(values)]])).tolist()


def write_ade(folder):
    """Write ADE20K as downloaded: three training images and one validation image."""
    root = folder / 'ADEChallengeData2016'
    for folder, count in (('training', 3), ('validation', 1)):
        for index in range(count):
            write_ade_image(root, folder, f'ADE_{folder}_{index}')
    return root


def write_cityscapes(folder):
    """Write Cityscapes as downloaded: two cities to train on and one to validate on."""
    root = folder / 'cityscapes'
    for split, city, number in (('train', 'aachen', 0), ('train', 'ulm', 1), ('val', 'lindau', 0)):
        name = f'{city}_000000_{number:06d}'
        photo(root / 'leftImg8bit' / split / city / f'{name}_leftImg8bit.png')
        ids = np.full((HEIGHT, WIDTH), 3, np.uint16)
        ids[0:4] = 23
        ids[4:8] = 7
        # two cars, a group of cars, a caravan (not evaluated), a rider
        ids[4:6, 0:2], ids[4:6, 2:4], ids[4:6, 5:8] = 26000, 26001, 26
        ids[4:6, 9:11], ids[6:8, 9:11] = 29000, 25000
        stem = root / 'gtFine' / split / city / f'{name}_gtFine'
        save(stem.with_name(f'{stem.name}_instanceIds.png'), ids)
        labels = np.where(ids < 1000, ids, ids // 1000).astype(np.uint8)
        save(stem.with_name(f'{stem.name}_labelIds.png'), labels)
    return root


def write_voc(folder):
    """Write VOC2012 and SBD: a, b for training, c for validation; SBD has b, c and e, f."""
    root, sbd = folder / 'VOC2012', folder / 'benchmark_RELEASE' / 'dataset'
    lists = root / 'ImageSets' / 'Segmentation'
    lists.mkdir(parents=True)
    (lists / 'train.txt').write_text('a\nb\n')
    (lists / 'val.txt').write_text('c\n')
    for number, name in enumerate('abcdef'):
        photo(root / 'JPEGImages' / f'{name}.jpg')
        labels = np.full((HEIGHT, WIDTH), number, np.uint8)
        labels[2:5, 3:9], labels[5, 3:9] = 20, 255
        if name in 'abc':
            save(root / 'SegmentationClass' / f'{name}.png', labels, palette=True)
        if name in 'bcef':
            labels[labels == 255] = 15
            struct = {'Segmentation': labels, 'CategoriesPresent': np.array([number, 20])}
            (sbd / 'cls').mkdir(parents=True, exist_ok=True)
            savemat(sbd / 'cls' / f'{name}.mat', {'GTcls': struct})
    (sbd / 'train.txt').write_text('c\nf\n')
    (sbd / 'val.txt').write_text('b\ne\n')
    return root


def write_coco(folder):
    """Write COCO's panoptic layout of 2017 with two images per split."""
    from mmdet.datasets import CocoPanopticDataset

    meta = CocoPanopticDataset.METAINFO
    root = folder / 'coco'
    categories = [
        {'id': 1 + label, 'name': name, 'isthing': int(name in meta['thing_classes'])}
        for label, name in enumerate(meta['classes'])
    ]
    for split in ('train2017', 'val2017'):
        content = {'images': [], 'annotations': [], 'categories': categories}
        for number in (4, 9):
            name = f'{number:012d}'
            photo(root / split / f'{name}.jpg')
            ids = np.zeros((HEIGHT, WIDTH), np.int64)
            ids[:4], ids[4:8] = 70000, 5
            png = root / 'annotations' / f'panoptic_{split}' / f'{name}.png'
            png.parent.mkdir(parents=True, exist_ok=True)
            bgr = np.stack([ids // 65536, ids // 256 % 256, ids % 256], axis=-1)
            cv2.imwrite(str(png), bgr.astype(np.uint8))
            size = {'height': HEIGHT, 'width': WIDTH}
            content['images'].append({'id': number, 'file_name': f'{name}.jpg', **size})
            segments = [
                {
                    'id': id_,
                    'category_id': category,
                    'area': 64,
                    'iscrowd': 0,
                    'bbox': [0, y, 16, 4],
                }
                for id_, category, y in ((70000, 100, 0), (5, 1, 4))
            ]
            content['annotations'].append(
                {'image_id': number, 'file_name': f'{name}.png', 'segments_info': segments}
            )
        (root / 'annotations' / f'panoptic_{split}.json').write_text(json.dumps(content))
    return root
