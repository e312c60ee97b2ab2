"""Splitting a segment that is several objects into its connected parts."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from .targets import to_device


def split_parts(owner: Tensor, splittable: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Give the large parts of a segment slots of their own; pixels touch at sides and corners.

    The host waits for the map.

    Args:
        owner: Slot of each pixel or -1, shape (H, W), int64.
        splittable: Whether a slot may be split, shape (Q,), bool.
        share: A part is split off when it has at least this share of the pixels of its segment, in
            [0, 1]. Smaller ones stay with the largest, which keeps the slot; of equal ones the one
            that comes first, row by row, does.

    Returns:
        The new map, (H, W), int64; and the slots that the new slots Q, Q + 1, ... were split from,
        (E,), int64.
    """
    slots, may = owner.cpu().numpy(), splittable.cpu().numpy()
    split = slots.copy()
    parents: list[int] = []
    for slot in np.unique(slots[slots >= 0]):
        if not may[slot]:
            continue
        # of its algorithms the one that numbers parts by their first pixels
        _, parts, stats, _ = cv2.connectedComponentsWithStatsWithAlgorithm(
            (slots == slot).astype(np.uint8), 8, cv2.CV_32S, cv2.CCL_SAUF
        )
        # the first one is all else
        areas = stats[1:, cv2.CC_STAT_AREA]
        large = np.flatnonzero(areas >= share * areas.sum())
        for part in large[large != areas.argmax()]:
            split[parts == part + 1] = len(may) + len(parents)
            parents.append(int(slot))
    found = torch.tensor(parents, dtype=torch.int64)
    return to_device(split, owner.device), to_device(found, owner.device)
