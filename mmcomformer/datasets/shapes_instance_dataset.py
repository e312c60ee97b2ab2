"""The embedded benchmark as an instance dataset."""

from __future__ import annotations

from mmdet.datasets import CocoDataset

from ..registry import DATASETS
from .shapes import palette, thing_classes


@DATASETS.register_module()
class ShapesInstanceDataset(CocoDataset):
    """Shapes: the coloured shapes, without the textures behind them, with the default 8 things.

    For a set with another number of classes, give ``metainfo`` the lists that
    :func:`~mmcomformer.datasets.shapes.thing_classes` and its neighbours return.
    """

    METAINFO = {
        'classes': thing_classes(),
        'thing_classes': thing_classes(),
        'stuff_classes': (),
        'palette': palette()[: len(thing_classes())],
    }
