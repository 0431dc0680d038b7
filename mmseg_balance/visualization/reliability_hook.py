"""The reliability diagram in TensorBoard (or any other MMEngine back end) during training."""

import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmseg_balance.visualization.reliability import reliability_diagram


@HOOKS.register_module()
class ReliabilityDiagramHook(Hook):
    """Draws the reliability diagram of every validation to the run's visualizer.

    It needs a ``CalibrationMetric`` in ``val_evaluator`` and a back end that keeps pictures::

        custom_hooks = [dict(type='ReliabilityDiagramHook')]
        vis_backends = [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
        visualizer = dict(vis_backends=vis_backends)

    Args:
        name: The picture's name in the back end.
    """

    priority = 'LOW'

    def __init__(self, name: str = 'reliability') -> None:
        self.name = name

    def before_train(self, runner: Runner) -> None:
        """Say at once, not at the first validation, that there will be no picture."""
        if runner.val_loop is not None and not _with_bins(runner):
            raise ValueError(
                'ReliabilityDiagramHook found no CalibrationMetric in val_evaluator; add '
                "dict(type='CalibrationMetric') there, or remove the hook."
            )

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Draw what the metric has just counted; only the main rank has it."""
        for metric in _with_bins(runner):
            if metric.bins is None or not np.any(metric.bins['count']):
                continue
            figure = reliability_diagram({metric.prefix or f'step {runner.iter}': metric.bins})
            figure.canvas.draw()
            image = np.asarray(figure.canvas.buffer_rgba())[..., :3]
            name = '/'.join(filter(None, (metric.prefix, self.name)))
            runner.visualizer.add_image(name, np.ascontiguousarray(image), step=runner.iter)


def _with_bins(runner: Runner) -> list:
    evaluator = getattr(runner.val_loop, 'evaluator', None)
    return [metric for metric in getattr(evaluator, 'metrics', ()) if hasattr(metric, 'bins')]
