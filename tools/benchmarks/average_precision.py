"""Compare pycocotools with faster-coco-eval, which has to be installed, in one process.

Random results of instances are matched with random ground truth by both: masks of ellipses that are
found, missed, shifted and found twice, with scores that tie. Both are given the same dicts, and the
precisions over thresholds, recalls and classes are compared bit by bit.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from measuring import (
    BenchmarkError,
    clock_of,
    one_line_errors,
    positive,
    ratios,
    report,
    time_in_turn,
)

SIDE = 160
KEY = ('precision', 'recall', 'scores')


class Library(NamedTuple):
    """The classes of a library that hold annotations and evaluate them."""

    coco: Any
    evaluation: Any


class Generated(NamedTuple):
    """Ground truth and results, as COCO's files have them."""

    truth: dict[str, list[dict[str, Any]]]
    results: list[dict[str, Any]]


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('--images', type=positive, default=200, help='images')
    parser.add_argument('--instances', type=positive, default=7, help='true instances of an image')
    parser.add_argument('--classes', type=positive, default=100, help='classes')
    parser.add_argument('--found', type=positive, default=100, help='results of an image')
    parser.add_argument('--runs', type=positive, default=3, help='how often both are measured')
    parser.add_argument('--json', metavar='FILE', help='write the figures into this file')
    return parser.parse_args()


def libraries() -> dict[str, Library]:
    """Return both libraries.

    Raises:
        BenchmarkError: If one is not installed.
    """
    names = {
        'pycocotools': ('pycocotools.coco', 'COCO', 'pycocotools.cocoeval', 'COCOeval'),
        'faster-coco-eval': ('faster_coco_eval', 'COCO', 'faster_coco_eval', 'COCOeval_faster'),
    }
    found = {}
    for name, (module, coco, other, evaluation) in names.items():
        try:
            found[name] = Library(
                getattr(importlib.import_module(module), coco),
                getattr(importlib.import_module(other), evaluation),
            )
        except ImportError as error:
            raise BenchmarkError(f'{name} is not installed; pip install {name}') from error
    return found


def generate(args: argparse.Namespace) -> Generated:
    """Draw ground truth and results."""
    from mmcomformer.datasets.coco_masks import encode_mask

    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:SIDE, :SIDE]

    def ellipse(place: np.ndarray) -> np.ndarray:
        y, x, height, width = place
        return ((rows - y) / height) ** 2 + ((columns - x) / width) ** 2 <= 1

    truth: dict[str, list[dict[str, Any]]] = {'images': [], 'annotations': [], 'categories': []}
    truth['categories'] = [{'id': label, 'name': str(label)} for label in range(args.classes)]
    results: list[dict[str, Any]] = []
    for image in range(args.images):
        truth['images'].append({'id': image, 'height': SIDE, 'width': SIDE})
        labels = rng.integers(args.classes, size=args.instances)
        places = rng.uniform((20, 20, 8, 8), (140, 140, 40, 40), (args.instances, 4))
        for label, place in zip(labels, places, strict=True):
            mask = ellipse(place)
            entry: dict[str, Any] = {'id': len(truth['annotations']) + 1, 'image_id': image}
            entry |= {'category_id': int(label), 'iscrowd': int(rng.random() < 0.03)}
            entry |= {'area': int(mask.sum()), 'segmentation': encode_mask(mask)}
            truth['annotations'].append({**entry, 'bbox': [0, 0, 1, 1]})
        chosen = rng.integers(args.instances, size=args.found)
        moved = places[chosen] + rng.normal(0, 3, (args.found, 4))
        wrong = rng.random(args.found) < 0.5
        guesses = np.where(wrong, rng.integers(args.classes, size=args.found), labels[chosen])
        scores = np.round(rng.random(args.found), 2)
        for label, place, score in zip(guesses, moved, scores, strict=True):
            found = {'image_id': image, 'category_id': int(label), 'score': float(score)}
            results.append({**found, 'segmentation': encode_mask(ellipse(place.clip(2)))})
    return Generated(truth, results)


def evaluate(library: Library, generated: Generated) -> Mapping[str, np.ndarray]:
    """Return precision, recall and scores over thresholds and classes."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = library.coco()
        truth.dataset = generated.truth
        truth.createIndex()
        # what they read is changed in place
        found = truth.loadRes([dict(result) for result in generated.results])
        evaluation = library.evaluation(truth, found, 'segm')
        evaluation.evaluate()
        evaluation.accumulate()
    return {key: np.asarray(evaluation.eval[key]) for key in KEY}


def differences(ours: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> Sequence[str]:
    """Return what is not equal bit by bit, and the largest difference."""
    return [
        f'{key} (by up to {np.abs(ours[key] - other[key]).max():.3g} in '
        f'{int((ours[key] != other[key]).sum())} of {ours[key].size} values)'
        for key in KEY
        if not np.array_equal(ours[key], other[key])
    ]


def run(args: argparse.Namespace) -> None:
    """Compare both, measure both, and report."""
    both, generated = libraries(), generate(args)
    results = [evaluate(library, generated) for library in both.values()]
    different = differences(*results)
    print(f'not equal: {", ".join(different)}' if different else 'both give the same bits')
    functions = {
        name: lambda _, library=library: evaluate(library, generated)
        for name, library in both.items()
    }
    times = time_in_turn(functions, runs=args.runs, items=1, clock=clock_of('cpu'))
    first, second = times
    series = {
        **{f'{name}, s': values for name, values in times.items()},
        f'{first} / {second}': ratios(times[first], times[second]),
    }
    report(
        'average_precision',
        series,
        arguments=args,
        checks={'same bits': not different},
        out=args.json,
    )


def main() -> None:
    """Run the command."""
    with one_line_errors():
        run(parse_args())


if __name__ == '__main__':
    main()
