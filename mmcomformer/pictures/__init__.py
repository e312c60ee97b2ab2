"""Pictures: of labelled segments, of predictions, and of what training sees."""

from .panoptic_visualizer import PanopticVisualizer

__all__ = ['PanopticVisualizer']
