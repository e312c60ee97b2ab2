"""Write a miniature of ADE20K with panoptic annotations, in the layout that mmdet expects.

All 150 classes, under mmdet's names, in a few small images made of coloured cells. From the command
line: ``python tests/ade_miniature.py data/ADEChallengeData2016``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
from mmdet.datasets import ADE20KPanopticDataset

META = ADE20KPanopticDataset.METAINFO
ROWS, COLUMNS = 3, 5


def write_ade_miniature(
    root: str | Path, *, num_train: int = 30, num_val: int = 10, seed: int = 0
) -> Path:
    """Write the set and return its folder.

    Ten images show each class once; an image has 15 segments.
    """
    root = Path(root)
    for split, folder, count in (('train', 'training', num_train), ('val', 'validation', num_val)):
        rng = np.random.default_rng([seed, count])
        _write_split(root, split, folder, count, rng)
    return root


def _write_split(root: Path, split: str, folder: str, count: int, rng: np.random.Generator) -> None:
    image_folder, png_folder = root / 'images' / folder, root / f'ade20k_panoptic_{split}'
    image_folder.mkdir(parents=True, exist_ok=True)
    png_folder.mkdir(parents=True, exist_ok=True)
    num_classes, cells = len(META['classes']), ROWS * COLUMNS
    covers = -(-count * cells // num_classes)
    labels = np.concatenate([rng.permutation(num_classes) for _ in range(covers)])
    images, annotations = [], []
    for index in range(count):
        name = f'ADE_{split}_{index:08d}'
        # sizes differ, as they do in ADE20K
        height, width = (64, 96) if index % 2 else (80, 64)
        ids, image, segments = _draw(labels[index * cells :][:cells], height, width, rng)
        cv2.imwrite(str(image_folder / f'{name}.jpg'), image[..., ::-1])
        rgb = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8)
        cv2.imwrite(str(png_folder / f'{name}.png'), rgb[..., ::-1])
        images.append({'id': name, 'file_name': f'{name}.jpg', 'height': height, 'width': width})
        annotations.append(
            {'image_id': name, 'file_name': f'{name}.png', 'segments_info': segments}
        )
    categories = [
        {'id': label, 'name': name, 'isthing': int(name in META['thing_classes'])}
        for label, name in enumerate(META['classes'])
    ]
    content = {'images': images, 'annotations': annotations, 'categories': categories}
    (root / f'ade20k_panoptic_{split}.json').write_text(json.dumps(content), encoding='utf-8')


def _draw(
    labels: np.ndarray, height: int, width: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, list[dict]]:
    ids = np.zeros((height, width), dtype=np.int64)
    image = rng.normal(128, 10, (height, width, 3))
    segments = []
    cell_height, cell_width = height // ROWS, width // COLUMNS
    for cell, label in enumerate(labels.tolist()):
        y, x = cell // COLUMNS * cell_height, cell % COLUMNS * cell_width
        # a margin of one pixel stays VOID
        box = slice(y + 1, y + cell_height), slice(x + 1, x + cell_width)
        segment_id = 1 + label + 257 * cell
        ids[box] = segment_id
        image[box] = np.array(META['palette'][label]) + rng.normal(0, 10, image[box].shape)
        segments.append(
            {
                'id': segment_id,
                'category_id': label,
                'iscrowd': 0,
                'bbox': [x + 1, y + 1, cell_width - 1, cell_height - 1],
                'area': (cell_height - 1) * (cell_width - 1),
            }
        )
    return ids, image.clip(0, 255).astype(np.uint8), segments


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('root', help='folder to write to')
    parser.add_argument('--train', type=int, default=30, help='training images')
    parser.add_argument('--val', type=int, default=10, help='validation images')
    args = parser.parse_args()
    write_ade_miniature(args.root, num_train=args.train, num_val=args.val)
