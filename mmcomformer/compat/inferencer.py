"""mmdet's ``DetInferencer`` without panopticapi."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any


def enable_panoptic_inferencer(ids_to_rgb: Callable[[Any], Any]) -> None:
    """Let mmdet's ``DetInferencer`` return panoptic maps without panopticapi.

    It needs two names of that package: the id of VOID and the function that packs an id into a
    colour.

    Args:
        ids_to_rgb: That function.
    """
    module: Any = importlib.import_module('mmdet.apis.det_inferencer')
    if module.VOID is None:
        module.VOID = 0
        module.id2rgb = ids_to_rgb
