"""The dataset class of the embedded benchmark for semantic segmentation."""

from __future__ import annotations

from mmseg.datasets import BaseSegDataset

from ..registry import DATASETS
from .shapes import palette, stuff_classes, thing_classes


@DATASETS.register_module()
class ShapesSemanticDataset(BaseSegDataset):
    """Shapes with one label per pixel, with the default 12 classes.

    For a set with another number of classes, use mmseg's ``BaseSegDataset`` with a ``metainfo``
    that holds the lists of :func:`~mmcomformer.datasets.shapes.thing_classes` and its neighbours.
    """

    METAINFO = {'classes': (*thing_classes(), *stuff_classes()), 'palette': palette()}
