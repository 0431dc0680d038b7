"""Renders labelled street scenes with numpy and OpenCV."""

from mmseg_balance.datasets.street_renderer.canvas import CLASSES
from mmseg_balance.datasets.street_renderer.scene import CYCLIST_EVERY, render_street_scene

__all__ = ['CLASSES', 'CYCLIST_EVERY', 'render_street_scene']
