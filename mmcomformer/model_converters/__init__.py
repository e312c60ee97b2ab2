"""Checkpoints of detectron2 programs (CoMFormer, Mask2Former and their kin), both ways."""

from .from_detectron2 import convert_from_detectron2
from .to_detectron2 import convert_to_detectron2

__all__ = ['convert_from_detectron2', 'convert_to_detectron2']
