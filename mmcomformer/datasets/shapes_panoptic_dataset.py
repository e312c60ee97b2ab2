"""The dataset class of the embedded benchmark."""

from __future__ import annotations

from mmdet.datasets import CocoPanopticDataset

from ..registry import DATASETS
from .shapes import palette, stuff_classes, thing_classes


@DATASETS.register_module()
class ShapesPanopticDataset(CocoPanopticDataset):
    """Shapes: coloured shapes (things) on textures (stuff), with the default 12 classes.

    For a set with another number of classes, give ``metainfo`` the lists that
    :func:`~mmcomformer.datasets.shapes.thing_classes` and its neighbours return.
    """

    METAINFO = {
        'classes': (*thing_classes(), *stuff_classes()),
        'thing_classes': thing_classes(),
        'stuff_classes': stuff_classes(),
        'palette': palette(),
    }
