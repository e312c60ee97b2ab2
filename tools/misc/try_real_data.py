"""Run every tool on small real data: convert, check, train two short steps, test, report.

FOLDER holds a folder per set, in the layout of Cityscapes (gtFine, leftImg8bit), of COCO's panoptic
annotations (annotations, train2017, val2017), or of section 2 of docs/custom_dataset.md
(panoptic_train.json and panoptic_val.json, images/ and panoptic/ with train and val). The segments
that the tools count are compared with those that numpy counts in the PNGs, and the panoptic quality
of the last step with what recompute_pq.py makes of the predictions. Exit code 1 if a command fails
or something differs. The models learn nothing in the few iterations of the default.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from recompute_pq import quality

REPO = Path(__file__).resolve().parents[2]
CONFIG = """\
_base_ = [
    '{repo}/configs/_base_/models/comformer_tiny.py',
    '{repo}/configs/_base_/datasets/custom_panoptic.py',
    '{repo}/configs/_base_/schedules/shapes.py',
    '{repo}/configs/_base_/methods/comformer.py',
    '{repo}/configs/_base_/default_runtime.py',
]
step = {{{{'$STEP:0'}}}}
work_dir = f'{work_dir}/step{{step}}'
names = dict(thing_classes={things!r}, stuff_classes={stuff!r})
scenario = dict(names, increments={increments!r}, class_order={order!r}, step=step)
model = dict(panoptic_head=dict(scenario=scenario))
metainfo = dict(classes={things!r} + {stuff!r}, **names)
size = (96, 96)
load = [dict(type='LoadImageFromFile'), dict(type='LoadPanopticIdMap')]
pad = dict(type='Pad', size=size, pad_val=dict(img=128, seg=0))
resize = dict(type='Resize', scale=size, keep_ratio=True)
train_pipeline = [*load, resize, pad, dict(type='PackContinualInputs')]
test_pipeline = [load[0], resize, load[1], dict(type='PackContinualInputs', evaluation=True)]
train = dict(data_root='', ann_file='{train.json}', metainfo=metainfo,
             data_prefix=dict(img='{train.images}', seg='{train.pngs}'))
val = dict(train, ann_file='{val.json}', data_prefix=dict(img='{val.images}', seg='{val.pngs}'))
common = dict(num_workers=0, persistent_workers=False)
train_dataloader = dict(common, batch_size=2, dataset=dict(
    dataset=train, scenario=scenario, pipeline=train_pipeline))
val_dataloader = dict(common, dataset=dict(
    dataset=val, scenario=scenario, pipeline=test_pipeline, indices={images}))
test_dataloader = val_dataloader
train_cfg = dict(max_iters={iters}, val_interval={iters})
visualizer = dict(vis_backends=[])
"""


class Split(NamedTuple):
    """Annotation file, folder of images and folder of PNGs of a split."""

    json: Path
    images: Path
    pngs: Path


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('folder', metavar='FOLDER', type=Path, help='a folder of sets')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/real_data'))
    parser.add_argument('--iters', type=int, default=2, help='iterations of a step')
    parser.add_argument('--images', type=int, default=4, help='images to evaluate')
    return parser.parse_args()


def tool(name: str, *arguments: object, log: Path) -> None:
    """Run a tool; its output goes into a file, its last lines are printed if it fails."""
    command = [sys.executable, str(REPO / 'tools' / name), *map(str, arguments)]
    path = os.pathsep.join([str(REPO), os.environ.get('PYTHONPATH', '')])
    done = subprocess.run(
        command, env={**os.environ, 'PYTHONPATH': path}, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, encoding='utf-8', errors='replace', check=False,
    )  # fmt: skip
    with open(log, 'a', encoding='utf-8') as file:
        file.write(f'$ {" ".join(command)}\n{done.stdout}\n')
    if done.returncode:
        tail = '\n'.join(done.stdout.splitlines()[-8:])
        raise SystemExit(f'{name} failed with exit code {done.returncode}, see {log}\n{tail}')


def prepare(root: Path, work_dir: Path, log: Path) -> tuple[Split, Split] | None:
    """Convert a set if need be, and return its splits; None if the layout is none of those."""
    if (root / 'gtFine').is_dir():
        out = work_dir / 'gtFine'
        tool('dataset_converters/cityscapes_panoptic.py', root, '--out', out, log=log)
        names = ('train', 'val')
        jsons = [out / f'cityscapes_panoptic_{name}.json' for name in names]
        images = [root / 'leftImg8bit' / name for name in names]
        pngs = [path.with_suffix('') for path in jsons]
    elif (root / 'annotations').is_dir():
        tool('dataset_converters/coco_panoptic.py', root, '--check', log=log)
        jsons = [root / 'annotations' / f'panoptic_{name}2017.json' for name in ('train', 'val')]
        images = [root / f'{name}2017' for name in ('train', 'val')]
        pngs = [path.with_suffix('') for path in jsons]
    elif (root / 'panoptic_train.json').is_file():
        jsons = [root / f'panoptic_{name}.json' for name in ('train', 'val')]
        images = [root / 'images' / name for name in ('train', 'val')]
        pngs = [root / 'panoptic' / name for name in ('train', 'val')]
    else:
        return None
    paths = [[path.resolve() for path in kind] for kind in (jsons, images, pngs)]
    train, val = (Split(*parts) for parts in zip(*paths, strict=True))
    return train, val


def count_png(path: Path) -> int:
    """Return how many segments a PNG has, by other means than the package's."""
    rgb = np.asarray(Image.open(path)).astype(np.int64)
    ids = np.unique(rgb[..., 0] + 256 * rgb[..., 1] + 65536 * rgb[..., 2])
    return int((ids > 0).sum())


def write_config(path: Path, splits: tuple[Split, Split], args: argparse.Namespace) -> None:
    """Write a config of two steps over the classes that the training images show."""
    content: dict[str, Any] = json.loads(splits[0].json.read_text(encoding='utf-8'))
    names = {entry['id']: entry['name'] for entry in content['categories']}
    shown = Counter(
        names[segment['category_id']]
        for annotation in content['annotations']
        for segment in annotation['segments_info']
        if not segment.get('iscrowd')
    )
    order = [name for name, _ in shown.most_common()]
    later = max(1, len(order) // 3)
    path.write_text(
        CONFIG.format(
            repo=REPO,
            work_dir=path.parent.resolve() / 'run',
            things=[entry['name'] for entry in content['categories'] if entry['isthing']],
            stuff=[entry['name'] for entry in content['categories'] if not entry['isthing']],
            order=order,
            increments=[len(order) - later, later],
            train=splits[0],
            val=splits[1],
            images=args.images,
            iters=args.iters,
        ),
        encoding='utf-8',
    )


def run_set(root: Path, args: argparse.Namespace) -> bool:
    """Run all tools on one set, print its counts, and return whether they agree."""
    folder = args.work_dir / root.name
    folder.mkdir(parents=True, exist_ok=True)
    log, config, report = folder / 'log.txt', folder / f'{root.name}.py', folder / 'check.json'
    splits = prepare(root, folder, log)
    if splits is None:
        print(f'{root.name}: no layout that is known; left out')
        return True
    write_config(config, splits, args)
    tool('misc/check_dataset.py', config, '--json', report, log=log)
    tool('train.py', config, '--work-dir', folder / 'run', log=log)
    checkpoint = folder / 'run' / 'step1' / f'iter_{args.iters}.pth'
    pictures = ('--show-dir', folder / 'pictures', '--out', folder / 'predictions', '--overwrite')
    tool('test.py', config, checkpoint, '--work-dir', folder / 'test', *pictures, log=log)
    tool('report.py', folder / 'run', '--per-class', log=log)
    found = json.loads(report.read_text(encoding='utf-8'))['datasets']['train']
    pngs = sorted(splits[0].pngs.rglob('*.png'))
    counted = sum(map(count_png, pngs))
    ours = found['segments'] + found['crowds']
    print(f'{root.name}: {found["images"]} images, {ours} segments; numpy counts {counted}')
    same = same_quality(splits[1], folder)
    return bool(ours == counted and found['images'] == len(pngs)) and same


def same_quality(split: Split, folder: Path) -> bool:
    """Compare the quality of each class with that of the files, and print the mean of both."""
    summary = json.loads((folder / 'run' / 'summary.json').read_text(encoding='utf-8'))
    ours = summary['steps'][-1]['per_class']
    out = folder / 'predictions'
    found = quality(split.json, split.pngs, out / 'panoptic.json', out / 'panoptic')
    nothing = {'PQ': None, 'SQ': None, 'RQ': None}
    pairs = [(values, found[name] or nothing) for name, values in ours.items()]
    gaps = [
        abs(a[key] - b[key]) if None not in (a[key], b[key]) else float(a[key] is not b[key])
        for a, b in pairs
        for key in nothing
    ]
    known = [b['PQ'] for _, b in pairs if b['PQ'] is not None]
    mean = sum(known) / max(len(known), 1)
    all_of = summary['steps'][-1]['metrics']['PQ']['all']
    print(f'  PQ {all_of:.4f}, from the files {mean:.4f}; largest difference {max(gaps):.1e}')
    return max(gaps) < 1e-6


def main() -> int:
    """Run the command."""
    args = parse_args()
    if not args.folder.is_dir():
        raise SystemExit(f'error: {args.folder} is no folder')
    sets = sorted(path for path in args.folder.iterdir() if path.is_dir())
    agreed = [run_set(root, args) for root in sets]
    print('all agree' if agreed and all(agreed) else 'counts differ, or there is no set')
    return int(not agreed or not all(agreed))


if __name__ == '__main__':
    sys.exit(main())
