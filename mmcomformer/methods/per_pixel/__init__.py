"""The per-pixel baseline of CoMFormer, and MiB and PLOP on pixels, as they were proposed."""

from .heads import PerPixelHead
from .pixel_losses import PixelClassLoss, PixelDistillLoss
from .pixel_pseudo_labels import PixelPseudoLabels
from .pixel_scores import PixelOutput, PixelScoreFusion, pixel_scores
from .pixel_targets import PixelTargets

__all__ = [
    'PerPixelHead',
    'PixelClassLoss',
    'PixelDistillLoss',
    'PixelOutput',
    'PixelPseudoLabels',
    'PixelScoreFusion',
    'PixelTargets',
    'pixel_scores',
]
