"""Write miniatures of Pascal VOC 2012 and of ADE20K for semantic segmentation.

The layouts are those of the downloads; the label maps are blocks of random classes, with a border
of pixels without a class.
"""

from pathlib import Path

import numpy as np
from downloads import PALETTE
from PIL import Image

HEIGHT, WIDTH = 24, 32
BLOCK = 8
BORDER = 4
"""Width of the columns on the right that have no class."""


def write_voc_miniature(root, *, num_train=16, num_val=4, seed=0):
    """Write VOC2012 with palette PNGs of 0 to 20 and 255; half of the blocks are background."""
    rng = np.random.default_rng(seed)
    root = Path(root)
    lists = root / 'ImageSets' / 'Segmentation'
    lists.mkdir(parents=True)
    for split, count in (('train', num_train), ('val', num_val)):
        names = [f'{split}_{index:02d}' for index in range(count)]
        (lists / f'{split}.txt').write_text('\n'.join(names) + '\n')
        for name in names:
            classes = np.concatenate([[0, 0, 0], 1 + rng.choice(20, 3, replace=False)])
            labels = _blocks(rng, classes, void=255)
            image = Image.fromarray(labels)
            image.putpalette(PALETTE)
            _save(image, root / 'SegmentationClass' / f'{name}.png')
            _save(_photo(rng), root / 'JPEGImages' / f'{name}.jpg')
    return root


def write_ade_semantic_miniature(root, *, num_train=16, num_val=4, seed=0):
    """Write ADEChallengeData2016 with PNGs of 1 to 150, and 0 where there is no class."""
    rng = np.random.default_rng(seed)
    root = Path(root)
    for folder, count in (('training', num_train), ('validation', num_val)):
        for index in range(count):
            name = f'ADE_{folder}_{index:08d}'
            # the first images have base classes only, the last ones new ones only
            low, high = (1, 100) if index < 4 else (101, 150) if index >= count - 4 else (1, 150)
            labels = _blocks(rng, rng.integers(low, high + 1, 6), void=0)
            _save(Image.fromarray(labels), root / 'annotations' / folder / f'{name}.png')
            _save(_photo(rng), root / 'images' / folder / f'{name}.jpg')
    return root


def _blocks(rng, classes, *, void):
    blocks = rng.choice(classes, (HEIGHT // BLOCK, WIDTH // BLOCK))
    labels = blocks.repeat(BLOCK, axis=0).repeat(BLOCK, axis=1).astype(np.uint8)
    labels[:, -BORDER:] = void
    return labels


def _photo(rng):
    return Image.fromarray(rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))


def _save(image, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
