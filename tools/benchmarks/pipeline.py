"""Compare our id-map pipeline with stock mmdet's panoptic pipeline, in one process.

Both do the same transforms on the same generated samples, and their masks are compared first. The
annotation part is what a pipeline takes beyond the same transforms on the image alone. Times are
given up to the packed sample, and up to the tensors that the loss starts from: a map of segments
in ours, and a mask for each in stock mmdet, which makes the masks of stuff only there. Then both
feed a DataLoader with worker processes, and the time in which a training process gets a sample is
measured.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import types
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from measuring import (
    MEGABYTE,
    BenchmarkError,
    one_line_errors,
    positive,
    ratios,
    report,
    require,
    time_in_turn,
)

NUM_THINGS, NUM_CLASSES = 100, 150
# samples that a worker sends at once
BATCH = 2


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('--samples', type=positive, default=20, help='generated images')
    parser.add_argument('--height', type=positive, default=512, help='of an image, pixels')
    parser.add_argument('--width', type=positive, default=683, help='of an image, pixels')
    parser.add_argument('--segments', type=positive, default=20, help='segments of an image')
    parser.add_argument('--crop', type=positive, default=640, help='side of the crop, pixels')
    parser.add_argument('--workers', type=positive, default=2, help='processes of a DataLoader')
    parser.add_argument('--runs', type=positive, default=5, help='passes over the samples')
    parser.add_argument('--json', metavar='FILE', help='write the figures into this file')
    return parser.parse_args()


def generate(folder: Path, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Write images and PNGs with smooth segments, and return what a dataset says of them."""
    from mmcomformer.datasets.panoptic_png import ids_to_rgb

    rng = np.random.default_rng(0)
    rows, columns = np.indices((args.height, args.width))
    samples = []
    for index in range(args.samples):
        centres = rng.random((args.segments, 2)) * (args.height, args.width)
        distance = [np.hypot(rows - y, 0.8 * (columns - x)) for y, x in centres]
        ids = 1 + np.argmin(distance, axis=0)
        labels = rng.integers(NUM_CLASSES, size=args.segments)
        image = rng.integers(0, 255, (args.segments + 1, 3))[ids]
        img_path, png_path = folder / f'{index}.jpg', folder / f'{index}.png'
        cv2.imwrite(str(img_path), cv2.GaussianBlur(image.astype(np.uint8), (0, 0), 3))
        cv2.imwrite(str(png_path), ids_to_rgb(ids)[..., ::-1])
        present = np.unique(ids).tolist()
        samples.append(describe(img_path, png_path, ids, {i: int(labels[i - 1]) for i in present}))
    return samples


def describe(img: Path, png: Path, ids: np.ndarray, labels: dict[int, int]) -> dict[str, Any]:
    """Return the data of an image with the keys that either pipeline reads."""
    instances, infos, segments = [], [], []
    for segment_id, label in labels.items():
        is_thing = label < NUM_THINGS
        y, x = np.nonzero(ids == segment_id)
        if is_thing:
            box = [int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1]
            instances.append({'bbox': box, 'bbox_label': label, 'ignore_flag': 0})
        infos.append({'id': segment_id, 'category': label, 'is_thing': is_thing})
        segments.append({'id': segment_id, 'label': label, 'iscrowd': False, 'visible': True})
    return {
        'img_path': str(img),
        'seg_map_path': str(png),
        'height': ids.shape[0],
        'width': ids.shape[1],
        'instances': instances,
        'segments_info': infos,
        'segments': segments,
    }


def supply_panopticapi() -> None:
    """Stand in for the one function of panopticapi that mmdet's loader uses."""

    def rgb2id(color: np.ndarray) -> np.ndarray:
        color = color.astype(np.int32)
        return color[..., 0] + 256 * color[..., 1] + 256 * 256 * color[..., 2]

    package: Any = types.ModuleType('panopticapi')
    package.utils = types.ModuleType('panopticapi.utils')
    package.utils.rgb2id = rgb2id
    sys.modules.update({'panopticapi': package, 'panopticapi.utils': package.utils})


def build_pipelines(crop: int) -> dict[str, Any]:
    """Return the pipelines by name: ours, stock, and the image alone."""
    from mmcv.transforms import Compose
    from mmengine.registry import DefaultScope

    import mmcomformer.components  # noqa: F401  (registers)

    geometry = [
        {
            'type': 'RandomChoiceResize',
            'scales': [int(crop * 0.1 * k) for k in range(5, 21)],
            'resize_type': 'ResizeShortestEdge',
            'max_size': 4 * crop,
        },
        {'type': 'RandomCrop', 'crop_size': (crop, crop), 'allow_negative_crop': True},
        {'type': 'RandomFlip', 'prob': 0.5},
    ]
    image = {'type': 'LoadImageFromFile'}
    pad = {'type': 'Pad', 'size': (crop, crop)}
    ours = {**pad, 'pad_val': {'img': 128, 'seg': 0}}
    stock = {**pad, 'pad_val': {'img': 128, 'seg': 255, 'masks': 0}}
    pack = {'type': 'PackContinualInputs'}
    load, stock_load = {'type': 'LoadPanopticIdMap'}, {'type': 'LoadPanopticAnnotations'}
    transforms = {
        'image alone': [image, *geometry, ours, pack],
        'ours': [image, load, *geometry, ours, pack],
        'stock': [image, stock_load, *geometry, stock, {'type': 'PackDetInputs'}],
    }
    with DefaultScope.overwrite_default_scope('mmdet'):
        return {name: Compose(of_pipeline) for name, of_pipeline in transforms.items()}


def apply(pipeline: Any, sample: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return a sample after a pipeline, with the random choices of a seed."""
    np.random.seed(seed)
    random.seed(seed)
    return pipeline({key: list(v) if isinstance(v, list) else v for key, v in sample.items()})


def targets_of(packed: dict[str, Any], *, stock: bool) -> tuple[Any, Any]:
    """Return labels (N,) and segments as the loss starts from them.

    The segments are masks (N, H, W) in stock mmdet, and in ours a map (H, W) of positions in the
    labels, -1 where none is.
    """
    from mmdet.models.utils import preprocess_panoptic_gt

    sample = packed['data_samples']
    truth = sample.gt_instances
    if not stock:
        # what our head does
        return truth.labels, sample.gt_panoptic_seg.sem_seg[0].long() - 1
    num_stuff = NUM_CLASSES - NUM_THINGS
    # what stock Mask2Former does
    return preprocess_panoptic_gt(
        truth.labels, truth.masks, sample.gt_sem_seg.sem_seg, NUM_THINGS, num_stuff
    )


def masks_of(packed: dict[str, Any], *, stock: bool) -> list[tuple[int, bytes]]:
    """Return label and mask of each segment with pixels; of stuff one mask for each class."""
    labels, targets = (part.numpy() for part in targets_of(packed, stock=stock))
    each = targets > 0 if stock else targets == np.arange(len(labels))[:, None, None]
    masks: dict[Any, np.ndarray] = {}
    for index, (label, mask) in enumerate(zip(labels.tolist(), each, strict=True)):
        key = (label, index if label < NUM_THINGS else -1)
        masks[key] = masks.get(key, False) | mask
    return sorted((key[0], mask.tobytes()) for key, mask in masks.items() if mask.any())


def check_results(pipelines: dict[str, Any], samples: Sequence[dict[str, Any]]) -> None:
    """Check that both pipelines end with the same image and the same masks.

    Raises:
        BenchmarkError: If they do not.
    """
    for seed, sample in enumerate(samples):
        ours = apply(pipelines['ours'], sample, seed)
        stock = apply(pipelines['stock'], sample, seed)
        if not ours['inputs'].equal(stock['inputs']):
            raise BenchmarkError(f'sample {seed}: the pipelines end with different images')
        if masks_of(ours, stock=False) != masks_of(stock, stock=True):
            raise BenchmarkError(f'sample {seed}: the pipelines end with different masks')


def measure(
    pipelines: dict[str, Any], samples: Sequence[dict[str, Any]], runs: int
) -> dict[str, list[float]]:
    """Return the milliseconds per sample of each pass, up to the packed sample and the targets."""
    packed: dict[str, Any] = {}

    def pack(name: str, call: int) -> None:
        packed[name] = apply(pipelines[name], samples[call % len(samples)], call)

    def make_targets(name: str, call: int) -> None:
        targets_of(packed[name], stock=name == 'stock')

    functions: dict[str, Any] = {}
    for name in pipelines:
        functions[name] = partial(pack, name)
        if name != 'image alone':
            functions[f'targets, {name}'] = partial(make_targets, name)
    times = time_in_turn(functions, runs=runs, items=len(samples))
    return {name: [1000 * seconds for seconds in values] for name, values in times.items()}


class Calls:
    """A dataset whose items are the calls of a pipeline, as :func:`measure` makes them."""

    def __init__(self, pipeline: Any, samples: Sequence[dict[str, Any]]) -> None:
        self.pipeline = pipeline
        self.samples = samples

    def __getitem__(self, call: int) -> dict[str, Any]:
        """Return the packed sample of a call."""
        return apply(self.pipeline, self.samples[call % len(self.samples)], call)


def measure_workers(
    pipelines: dict[str, Any], samples: Sequence[dict[str, Any]], args: argparse.Namespace
) -> dict[str, list[float]]:
    """Return the milliseconds per sample of each pass in a process that workers feed."""
    from torch.utils.data import DataLoader

    # the calls of the next pass
    order: list[int] = []
    datasets: dict[str, Any] = {
        f'workers, {name}': Calls(pipeline, samples) for name, pipeline in pipelines.items()
    }
    loaders = {
        name: DataLoader(
            dataset,
            sampler=order,
            batch_size=min(BATCH, len(samples)),
            num_workers=args.workers,
            collate_fn=list,
            persistent_workers=True,
            # a forked worker has the stand-in for panopticapi
            multiprocessing_context='fork',
        )
        for name, dataset in datasets.items()
    }

    def receive(name: str, run: int) -> None:
        order[:] = range(run * len(samples), (run + 1) * len(samples))
        for _batch in loaders[name]:
            pass

    functions = {name: partial(receive, name) for name in loaders}
    for name in loaders:
        # starts its workers
        receive(name, 0)
    times = time_in_turn(functions, runs=args.runs, items=1)
    return {name: [1000 * s / len(samples) for s in values] for name, values in times.items()}


def derive(times: dict[str, list[float]]) -> dict[str, list[float]]:
    """Return times of the whole and of the annotation parts, and their ratios, for each pass.

    "Packed" ends with the pipeline, "workers" with the packed sample in the process that workers
    feed, and the others with the tensors that the loss starts from.
    """
    series = {'image alone': times['image alone']}
    for name in ('ours', 'stock'):
        series[name] = list(map(sum, zip(times[name], times[f'targets, {name}'], strict=True)))
        series[f'packed, {name}'] = times[name]
    for name in ('ours', 'stock'):
        for prefix in ('', 'packed, '):
            pairs = zip(series[prefix + name], times['image alone'], strict=True)
            series[f'annotation, {prefix}{name}'] = [whole - image for whole, image in pairs]
    for part, prefix in (
        ('whole', ''),
        ('annotation', 'annotation, '),
        ('whole, packed', 'packed, '),
        ('annotation, packed', 'annotation, packed, '),
    ):
        series[f'stock / ours, {part}'] = ratios(series[f'{prefix}stock'], series[f'{prefix}ours'])
    received = {name: values for name, values in times.items() if name.startswith('workers, ')}
    series.update(received)
    series['stock / ours, workers'] = ratios(received['workers, stock'], received['workers, ours'])
    return series


def run(args: argparse.Namespace, folder: Path) -> None:
    """Measure and report."""
    pixels = args.height * args.width + 4 * args.crop**2
    megabytes = 40 * pixels * (args.segments + 1) / MEGABYTE
    require(folder, memory=1000 + megabytes, disk=3 * args.samples * pixels / MEGABYTE)
    pipelines = build_pipelines(args.crop)
    samples = generate(folder, args)
    check_results(pipelines, samples)
    times = measure(pipelines, samples, args.runs)
    series = derive({**times, **measure_workers(pipelines, samples, args)})
    checks = {'same images': True, 'same masks': True}
    report('pipeline', series, arguments=args, checks=checks, out=args.json)
    print(f'milliseconds per sample, and ratios; {args.samples} samples, {args.runs} runs')
    print('both pipelines end with the same masks')


def main() -> None:
    """Run the benchmark and print its table."""
    args = parse_args()
    cv2.setNumThreads(0)
    supply_panopticapi()
    with one_line_errors(), tempfile.TemporaryDirectory() as folder:
        run(args, Path(folder))


if __name__ == '__main__':
    main()
