"""What a packed training sample shows, as the masks that its map stands for."""

import numpy as np


def masks_of(sample):
    """Return the mask of each segment, bool, shape (n, h, w), in the order of the labels."""
    number = sample.gt_panoptic_seg.sem_seg[0].numpy()
    positions = np.arange(1, len(sample.gt_instances) + 1)
    assert number.max(initial=0) <= len(positions)
    return number == positions[:, None, None]
