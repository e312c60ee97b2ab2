"""The colour augmentation of the Mask2Former family's recipes."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from ...registry import TRANSFORMS


@TRANSFORMS.register_module()
class SSDColorJitter(BaseTransform):
    """Jitter brightness, contrast, saturation and hue, each with a probability of one half.

    Contrast comes either before or after saturation and hue (reference: Liu et al., "SSD", 2016,
    in the variant of detectron2's ``ColorAugSSDTransform``, which CoMFormer trains with).

    Note:
        mmdet's ``PhotoMetricDistortion`` also swaps colour channels in half of the images, and
        returns float images that may leave [0, 255]; this keeps uint8.

    Args:
        brightness_delta: Largest value that is added or subtracted.
        contrast_range: Range of the factor of all values.
        saturation_range: Range of the factor of the saturation.
        hue_delta: Largest shift of the hue, in units of 2 degrees.
    """

    def __init__(
        self,
        *,
        brightness_delta: float = 32,
        contrast_range: tuple[float, float] = (0.5, 1.5),
        saturation_range: tuple[float, float] = (0.5, 1.5),
        hue_delta: int = 18,
    ) -> None:
        self.brightness_delta = brightness_delta
        self.contrast_range = contrast_range
        self.saturation_range = saturation_range
        self.hue_delta = hue_delta

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Replace the image (uint8 BGR, shape (H, W, 3)) by the jittered one.

        Raises:
            TypeError: If the image is not uint8.
        """
        image = results['img']
        if image.dtype != np.uint8:
            raise TypeError(f'SSDColorJitter: expected a uint8 image, got {image.dtype}')
        levels: np.ndarray = np.arange(256, dtype=np.float32)
        jitter, contrast_first, saturate, shift_hue, change_contrast = np.random.randint(2, size=5)
        if jitter:
            delta = np.random.uniform(-self.brightness_delta, self.brightness_delta)
            image = cv2.LUT(image, _clip(levels + delta))
        factor = np.random.uniform(*self.contrast_range) if change_contrast else 1.0
        if change_contrast and contrast_first:
            image = cv2.LUT(image, _clip(levels * factor))
        if saturate or shift_hue:
            image = self._jitter_hsv(image, levels, saturate=saturate, shift_hue=shift_hue)
        if change_contrast and not contrast_first:
            image = cv2.LUT(image, _clip(levels * factor))
        results['img'] = image
        return results

    def _jitter_hsv(
        self, image: np.ndarray, levels: np.ndarray, *, saturate: bool, shift_hue: bool
    ) -> np.ndarray:
        table = np.repeat(levels[None, :, None], 3, axis=2)
        if shift_hue:
            # OpenCV's hue of a uint8 image counts 180 units
            shift = np.random.randint(-self.hue_delta, self.hue_delta + 1)
            table[..., 0] = (table[..., 0] + shift) % 180
        if saturate:
            table[..., 1] *= np.random.uniform(*self.saturation_range)
        hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
        return cv2.cvtColor(cv2.LUT(hsv, _clip(table)), cv2.COLOR_HSV2BGR)

    def __repr__(self) -> str:
        """Return the arguments."""
        return (
            f'{type(self).__name__}(brightness_delta={self.brightness_delta}, '
            f'contrast_range={self.contrast_range}, saturation_range={self.saturation_range}, '
            f'hue_delta={self.hue_delta})'
        )


def _clip(table: np.ndarray) -> np.ndarray:
    return table.clip(0, 255).astype(np.uint8)
