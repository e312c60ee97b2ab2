"""Average precision of instance masks over the classes seen so far."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ..datasets.coco_masks import decode_mask, encode_mask
from ..registry import METRICS
from ..scenario import Scenario
from .seen_class_metric import PerClass, SeenClassMetric, check_sizes, number

_AREA_ALL = 0
_MAX_DETECTIONS = 100


@METRICS.register_module()
class IncrementalInstanceMetric(SeenClassMetric):
    """AP, AP50 and AP75 of masks, in percent, over base, new and all seen classes.

    The values per class are pycocotools': precision over recalls, over the thresholds of IoU 0.50
    to 0.95 for AP, objects of any area, at most 100 instances of an image and class. Crowds are
    ignored as there. An instance of the ground truth whose mask has no pixel is left out, as in
    training: no prediction could hit it, so that it is no miss.

    Arguments and attributes are those of :class:`.SeenClassMetric`. AP is computed class by class,
    so that ground truth of classes that no step has taught yet plays no part in it:
    ``ignore_unseen`` has nothing to ignore.

    Raises:
        ValueError: If ``ignore_unseen`` is set.
    """

    measures = ('AP', 'AP50', 'AP75')

    def __init__(self, ignore_unseen: bool = False, **kwargs: Any) -> None:
        if ignore_unseen:
            raise ValueError(
                'IncrementalInstanceMetric.ignore_unseen: AP is computed class by class, so that '
                'unseen classes play no part in it; leave it out'
            )
        super().__init__(**kwargs)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Encode the predictions and the ground truth of one batch.

        Args:
            data_batch: Not read.
            data_samples: Per image, a ``DetDataSample`` as a dict: ``pred_instances`` with
                ``scores``, ``labels`` and ``masks`` (N, H, W) bool at the size of the image file;
                the metadata ``segments``, a list of dicts with ``label``, ``iscrowd`` and
                ``segmentation``, ``ori_shape``, and ``img_id`` if there is one.

        Raises:
            RuntimeError: If a sample has no prediction, or no ground truth of this form.
            ValueError: If prediction and ground truth do not fit each other.
        """
        self.require_scenario()
        for sample in data_samples:
            try:
                image = (self._ground_truth(sample), self._prediction(sample))
            except (TypeError, ValueError) as error:
                raise ValueError(f'{self._name(sample)}: {error}') from error
            self.results.append((sample.get('img_id'), image))

    def _ground_truth(self, sample: Mapping[str, Any]) -> list[dict[str, Any]]:
        segments = sample.get('segments')
        if segments is None:
            raise RuntimeError(
                f'{self._name(sample)}: the sample has no segments; pack them: '
                f"PackDetInputs(meta_keys=('segments', ...)) in the evaluated dataset"
            )
        size = tuple(sample['ori_shape'][:2])
        masks = [decode_mask(segment['segmentation'], size) for segment in segments]
        return [
            {
                'category_id': segment['label'],
                'iscrowd': int(segment['iscrowd']),
                'segmentation': encode_mask(mask),
                'area': int(mask.sum()),
            }
            for segment, mask in zip(segments, masks, strict=True)
            if mask.any()
        ]

    def _prediction(self, sample: Mapping[str, Any]) -> list[dict[str, Any]]:
        found = sample.get('pred_instances')
        if found is None or 'masks' not in found:
            raise RuntimeError(
                f'{self._name(sample)}: the model returned no pred_instances with masks; set '
                f'model.test_cfg.instance_on=True'
            )
        masks = _array(found['masks']).astype(bool)
        check_sizes(tuple(sample['ori_shape'][:2]), masks.shape[-2:])
        scores, labels = _array(found['scores']), _array(found['labels'])
        return [
            {
                'category_id': int(label),
                'score': float(score),
                'segmentation': encode_mask(mask),
                'area': int(mask.sum()),
            }
            for mask, score, label in zip(masks, scores, labels, strict=True)
        ]

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Match the instances of all images; return ``AP``, ``AP_base``, ``AP_new``, ``AP50``, ...

        A class without ground truth has no value.
        """
        scenario = self.require_scenario()
        return self._report(average_precision(_by_id(results), scenario))


def _by_id(results: list[tuple[Any, Any]]) -> list[Any]:
    """Return the images by their ids: pycocotools breaks ties of scores in this order."""
    kinds = {type(id_) for id_, _ in results}
    if kinds <= {int} or kinds <= {str}:
        results = sorted(results, key=lambda result: result[0])
    return [image for _, image in results]


def average_precision(
    images: Sequence[tuple[list[dict[str, Any]], list[dict[str, Any]]]], scenario: Scenario
) -> PerClass:
    """Return AP, AP50 and AP75 of each seen class, in percent or None, in learning order.

    Args:
        images: Ground truth and predictions of each image, as COCO's annotations without ids:
            ``category_id`` (dataset label), ``segmentation`` (RLE), ``area``, and ``iscrowd`` or
            ``score``.
        scenario: The scenario at the step that is evaluated.
    """
    labels = list(scenario.seen_learning_to_label)
    precision = _precision(images, sorted(labels))
    columns = {label: column for column, label in enumerate(sorted(labels))}
    return {
        name: {
            'AP': _mean(precision[:, :, columns[label]]),
            'AP50': _mean(precision[0, :, columns[label]]),
            'AP75': _mean(precision[5, :, columns[label]]),
        }
        for name, label in zip(scenario.seen_classes, labels, strict=True)
    }


def _precision(images: Sequence[Any], labels: list[int]) -> np.ndarray:
    """Return pycocotools' precision (10 thresholds, 101 recalls, classes); -1 without a value."""
    truth, found = COCO(), COCO()
    categories = [{'id': label} for label in labels]
    listed = [
        {'id': number, 'height': height, 'width': width}
        for number, (height, width) in enumerate(map(_size, images))
    ]
    for target, part in ((truth, 0), (found, 1)):
        annotations: list[dict[str, Any]] = []
        for image_id, image in enumerate(images):
            for entry in image[part]:
                # ids count from 1: pycocotools takes 0 for "not matched"
                extra = {'id': len(annotations) + 1, 'image_id': image_id}
                annotations.append({'iscrowd': 0, **entry, **extra})
        target.dataset = {'images': listed, 'categories': categories, 'annotations': annotations}
        with contextlib.redirect_stdout(io.StringIO()):
            target.createIndex()
    evaluation = COCOeval(truth, found, 'segm')
    evaluation.params.catIds = labels
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.evaluate()
        evaluation.accumulate()
    last = evaluation.params.maxDets.index(_MAX_DETECTIONS)
    return evaluation.eval['precision'][:, :, :, _AREA_ALL, last]


def _size(image: Sequence[Sequence[dict[str, Any]]]) -> tuple[int, int]:
    """Return height and width of an image that has an annotation; any if it has none."""
    entry = next((entry for part in image for entry in part), None)
    return tuple(entry['segmentation']['size']) if entry else (1, 1)


def _mean(precision: np.ndarray) -> float | None:
    known = precision[precision > -1]
    return number(100 * known.mean()) if known.size else None


def _array(values: Any) -> np.ndarray:
    return np.asarray(values.cpu() if hasattr(values, 'cpu') else values)
