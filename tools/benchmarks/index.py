"""Measure how long a training set of a given size takes to open, and the memory that it needs.

A panoptic JSON file is generated; each run opens it as step 0 of a scenario does, in a process of
its own. Then worker processes of a DataLoader read the data of every image, and their own memory is
compared with that of workers of a small set. At last the class index is built from semantic label
maps, and read again from its cache.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from measuring import (
    MEGABYTE,
    BenchmarkError,
    in_child,
    one_line_errors,
    peak_megabytes,
    positive,
    private_megabytes,
    proportional_megabytes,
    quiet,
    report,
    require,
    seconds_of,
)

HEIGHT, WIDTH = 512, 683
SMALL_SET = 100


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('--images', type=positive, default=20210, help='images of the set')
    parser.add_argument('--segments', type=positive, default=20, help='segments of an image')
    parser.add_argument(
        '--classes', type=positive, default=150, help='classes, a third of them stuff'
    )
    parser.add_argument('--workers', type=positive, default=8, help='processes that read the data')
    parser.add_argument('--runs', type=positive, default=5, help='how often the set is opened')
    parser.add_argument(
        '--label-maps', type=int, default=500, help='different label maps to generate; 0 for none'
    )
    parser.add_argument('--json', metavar='FILE', help='write the figures into this file')
    args = parser.parse_args()
    if not 3 <= args.classes <= 255:
        parser.error(f'--classes: expected 3 to 255, got {args.classes}')
    return args


def generate(path: Path, args: argparse.Namespace) -> None:
    """Write the annotation file."""
    rng = np.random.default_rng(0)
    num_things = args.classes - args.classes // 3
    content: dict[str, list[Any]] = {'images': [], 'annotations': [], 'categories': []}
    for label in range(args.classes):
        isthing = int(label < num_things)
        content['categories'].append({'id': label, 'name': f'class {label}', 'isthing': isthing})
    for index in range(args.images):
        name = f'ADE_train_{index:08d}'
        size = {'height': HEIGHT, 'width': WIDTH}
        content['images'].append({'id': index, 'file_name': f'{name}.jpg', **size})
        labels = rng.integers(args.classes, size=args.segments).tolist()
        segments = [
            {
                'id': int(1 + label + 257 * k),
                'category_id': label,
                'iscrowd': 0,
                'area': 17000,
                'bbox': [0, 0, 100, 170],
            }
            for k, label in enumerate(labels)
        ]
        content['annotations'].append(
            {'image_id': index, 'file_name': f'{name}.png', 'segments_info': segments}
        )
    path.write_text(json.dumps(content), encoding='utf-8')


def open_dataset(path: Path, classes: int, **options: Any) -> Any:
    """Open the set as step 0 of a scenario does."""
    from mmcomformer.datasets import IncrementalDataset

    names = [f'class {label}' for label in range(classes)]
    kinds = {
        'thing_classes': names[: classes - classes // 3],
        'stuff_classes': names[classes - classes // 3 :],
    }
    base = 2 * classes // 3
    return IncrementalDataset(
        dataset={
            'type': 'mmdet.CocoPanopticDataset',
            'ann_file': str(path),
            'data_prefix': {'img': 'images/', 'seg': 'png/'},
            'metainfo': {'classes': names, **kinds},
        },
        scenario={'increments': [base, classes - base], **kinds},
        **options,
    )


def measure_opening(path: Path, classes: int) -> dict[str, float]:
    """Return the seconds of opening the set and the largest memory of the process, in MB."""
    start = time.perf_counter()
    dataset = open_dataset(path, classes)
    seconds = time.perf_counter() - start
    size = dataset.data_bytes.nbytes / MEGABYTE
    return {'seconds': seconds, 'peak MB': peak_megabytes(), 'data MB': size}


def measure_workers(path: Path, classes: int, workers: int, **options: Any) -> dict[str, float]:
    """Return the memory of a DataLoader's processes after all data were read once, in MB."""
    from torch.utils.data import DataLoader

    # more workers than cores are what is measured here
    warnings.filterwarnings('ignore', message='This DataLoader will create')
    dataset = open_dataset(path, classes, **options)
    loader = DataLoader(
        dataset,
        batch_size=64,
        num_workers=workers,
        collate_fn=len,
        persistent_workers=workers > 0,
    )
    if len(dataset) != sum(loader):
        raise BenchmarkError('the workers did not read every image once')
    processes = [child.pid or 0 for child in multiprocessing.active_children()]
    private = [private_megabytes(process) for process in processes]
    total = proportional_megabytes() + sum(map(proportional_megabytes, processes))
    return {'all processes': total, 'a worker alone': sum(private) / max(1, len(private))}


def memory_series(path: Path, args: argparse.Namespace) -> dict[str, list[float]]:
    """Return memory with and without workers, of the set, a small one, and without serialising."""
    measure = partial(measure_workers, path, args.classes)
    small = {'indices': min(SMALL_SET, args.images // 2 or 1)}
    none = in_child(partial(measure, 0))
    full = in_child(partial(measure, args.workers))
    of_small = in_child(partial(measure, args.workers, **small))
    unserialised = in_child(partial(measure, args.workers, serialize_data=False))
    own, least = full['a worker alone'], of_small['a worker alone']
    return {
        'all processes, 0 workers, PSS MB': [none['all processes']],
        f'all processes, {args.workers} workers, PSS MB': [full['all processes']],
        'own memory of a worker, USS MB': [own],
        f'the same, set of {small["indices"]} images, USS MB': [least],
        'growth of a worker with the set, MB': [own - least],
        'the same, without serialising, MB': [unserialised['a worker alone'] - least],
    }


def draw_label_map(rng: np.random.Generator, segments: int, classes: int) -> np.ndarray:
    """Return a map of smooth segments, uint8, shape (HEIGHT, WIDTH)."""
    seeds: np.ndarray = np.ones((HEIGHT, WIDTH), dtype=np.uint8)
    seeds[rng.integers(HEIGHT, size=segments), rng.integers(WIDTH, size=segments)] = 0
    _, cells = cv2.distanceTransformWithLabels(
        seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    return rng.integers(classes, size=segments + 1, dtype=np.uint8)[cells]


def write_label_maps(folder: Path, args: argparse.Namespace) -> list[str]:
    """Write the different maps, and link them until there is one for each image."""
    rng = np.random.default_rng(0)
    paths = [str(folder / f'{index:08d}.png') for index in range(args.images)]
    for index, path in enumerate(paths):
        if index < args.label_maps:
            cv2.imwrite(path, draw_label_map(rng, args.segments, args.classes))
        else:
            os.link(paths[index % args.label_maps], path)
    return paths


def label_map_series(folder: Path, args: argparse.Namespace) -> dict[str, list[float]]:
    """Return images per second of a core, and the seconds of a first and of a warm start."""
    from mmcomformer.datasets import ClassIndex
    from mmcomformer.datasets.parallel import default_workers

    paths, cache = write_label_maps(folder, args), folder / 'index.npz'
    build = partial(ClassIndex.from_label_maps, num_classes=args.classes)
    some = paths[: args.label_maps]
    rates = [len(some) / seconds_of(partial(build, some, workers=1)) for _ in range(args.runs)]
    first = seconds_of(partial(build, paths, cache=cache))
    warm = [seconds_of(partial(build, paths, cache=cache)) for _ in range(args.runs)]
    return {
        'label maps, images/s of a core': rates,
        f'label maps, first start on {default_workers()} cores, seconds': [first],
        'label maps, warm start, seconds': warm,
    }


def check_label_maps(folder: Path, args: argparse.Namespace) -> bool:
    """Tell whether the cached index equals one that is computed by brute force."""
    from mmcomformer.datasets import ClassIndex

    paths = [str(folder / f'{index:08d}.png') for index in range(args.images)]
    index = ClassIndex.from_label_maps(paths, num_classes=args.classes, cache=folder / 'index.npz')
    some = range(min(args.images, args.label_maps, 50))
    expected = [sorted(set(np.asarray(cv2.imread(paths[i], -1)).ravel().tolist())) for i in some]
    return [index[i].tolist() for i in some] == expected


def run(args: argparse.Namespace, folder: Path) -> None:
    """Measure and report."""
    # a list of dicts takes about 500 bytes per segment, and each worker copies it in the end
    records = 500 * args.images * (args.segments + 2) / MEGABYTE
    maps = 2 * HEIGHT * WIDTH * args.label_maps / 10 / MEGABYTE
    require(folder, memory=1000 + records * (2 + args.workers), disk=records + maps)
    path = folder / 'panoptic.json'
    # in a process of its own, so that its memory does not count
    in_child(partial(generate, path, args))
    size = path.stat().st_size / MEGABYTE
    opened = [in_child(partial(measure_opening, path, args.classes)) for _ in range(args.runs)]
    series = {name: [one[name] for one in opened] for name in opened[0]}
    series.update(memory_series(path, args))
    checks = {}
    if args.label_maps > 0:
        series.update(label_map_series(folder, args))
        checks['index of label maps'] = check_label_maps(folder, args)
    report('index', series, arguments=args, checks=checks, out=args.json)
    print(f'{args.images} images, {args.segments} segments each, JSON of {size:.0f} MB')
    if not all(checks.values()):
        raise BenchmarkError('the index of the label maps is not what the maps hold')


def main() -> None:
    """Run the benchmark and print its table."""
    args = parse_args()
    cv2.setNumThreads(0)
    import mmcomformer.components  # noqa: F401  (imported once, before the forks)

    with one_line_errors(), quiet(), tempfile.TemporaryDirectory() as folder:
        run(args, Path(folder))


if __name__ == '__main__':
    main()
