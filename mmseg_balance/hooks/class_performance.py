"""From the model's performance on each class to the images it is shown next."""

from pathlib import Path

import numpy as np
import torch
from mmengine.dist import all_reduce
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop
from mmseg.registry import HOOKS, TASK_UTILS
from torch import Tensor, nn

from mmseg_balance.functional.arguments import below_one
from mmseg_balance.functional.confusion import confusion_scores
from mmseg_balance.functional.labels import ignored_label
from mmseg_balance.functional.sampling import add_to_confusion
from mmseg_balance.hooks.checkpoint_due import checkpoint_due
from mmseg_balance.runtime.models import final_head, head_classes

STATE = 'class_performance'


@HOOKS.register_module()
class ClassPerformanceHook(Hook):
    r"""Report each class's IoU to the run's ``ClassPerformanceSampler``.

    ``source='train'``: the decode head's pixel sampler is wrapped by ``ConfusionPixelSampler``;
    every ``interval`` iterations the counts of all ranks are added and older ones forgotten,

    .. math:: M \leftarrow momentum \cdot M + M_{interval},

    and the IoU of M goes to the sampler. ``source='val'``: the IoU of each validation does.

    Convention: a report after iteration t holds from the first batch that the loader's workers
    have not been given yet, ``t + 1 + num_workers * prefetch_factor``. M, the counts since the
    last report and the sampler's probabilities are saved in every checkpoint; other ranks' counts
    since the last report are in it, too, when ``CheckpointHook`` saves by iteration (as in
    MMSegmentation's schedules) or by epoch. A checkpoint that was saved just before a validation is
    saved again with its report.

    Each report is logged: ``iou/<class>``, ``draw_probability/<class>`` and ``draw_share/<class>``
    (share of the class among the draws made for a class since the last report) to the
    visualizer's backends (``vis_data/scalars.json``, TensorBoard), the three classes drawn most
    to the text log.

    Args:
        momentum: in [0, 1), share of the older counts that is kept at each report.
        source: ``'train'`` or ``'val'``.
        interval: iterations between reports (``source='train'``).
        stride: count one training pixel in ``stride x stride``.
    """

    priority = 'NORMAL'

    def __init__(
        self, momentum: float = 0.9, source: str = 'train', interval: int = 50, stride: int = 4
    ) -> None:
        if source not in ('train', 'val'):
            raise ValueError(f"source must be 'train' or 'val', got {source!r}")
        if interval < 1:
            raise ValueError(f'interval must be at least 1, got {interval}')
        self.momentum = below_one('momentum', momentum)
        self.source = source
        self.interval = interval
        self.stride = stride
        self.pixel_sampler = None
        self.confusion: Tensor | None = None  # M
        self.recent: Tensor | None = None  # counts of all ranks since the last report
        self._restored: dict | None = None

    def before_train(self, runner) -> None:
        """Find the sampler, watch the head, and take up where the checkpoint left off."""
        sampler = _sampler_of(runner)
        if isinstance(runner.train_loop, (EpochBasedTrainLoop, IterBasedTrainLoop)):
            sampler.endless = isinstance(runner.train_loop, IterBasedTrainLoop)
        size = sampler.statistics.num_classes
        self.confusion = torch.zeros(size, size, dtype=torch.float64)
        self.recent = torch.zeros(size, size, dtype=torch.int64)
        head = final_head(runner.model)
        if head_classes(head) != size:
            raise ValueError(
                f'the decode head has num_classes={head.num_classes}, but the training set {size} '
                'classes; make them equal'
            )
        if self.source == 'train':
            self._watch(head)
        if self._restored and runner.iter > 0:
            self.confusion = self._restored['confusion'].cpu()
            self.recent = self._restored['recent'].cpu()
            sampler.load_state_dict(self._restored['sampler'])
            if self.pixel_sampler is not None:
                self.pixel_sampler.calls = self._restored.get('pixel_calls', 0)
        self._restored = None

    def _watch(self, head: nn.Module) -> None:
        if not hasattr(head, 'sampler'):
            raise ValueError(
                f'{type(head).__name__} has no pixel sampler to count at: use '
                "ClassPerformanceHook(source='val')"
            )
        if not hasattr(head.sampler, 'take'):
            head.sampler = TASK_UTILS.build(
                dict(
                    type='mmseg.ConfusionPixelSampler',
                    context=head,
                    sampler=head.sampler,
                    stride=self.stride,
                )
            )
        self.pixel_sampler = head.sampler

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Report every ``interval`` iterations; gather the ranks' counts before a checkpoint."""
        if self.source != 'train':
            return
        due = self.every_n_train_iters(runner, self.interval)
        if due or checkpoint_due(runner):
            self._gather(runner)
        if due:
            if not self.recent.any() and not self.confusion.any():
                raise RuntimeError(
                    'no training pixel reached the pixel sampler of '
                    f'{type(self.pixel_sampler.context).__name__}: this head does not call it; '
                    "use ClassPerformanceHook(source='val')"
                )
            self.confusion = self.momentum * self.confusion + self.recent
            self.recent.zero_()
            self._report(runner, consumed=runner.iter + 1)

    def after_train_epoch(self, runner, metrics: dict | None = None) -> None:
        """Gather the ranks' counts before the checkpoint of an epoch."""
        if self.source == 'train':
            self._gather(runner)

    def _gather(self, runner) -> None:
        counted = self.pixel_sampler.take()
        if counted is None:
            device = next(runner.model.parameters()).device
            counted = torch.zeros_like(self.recent, device=device)
        all_reduce(counted)
        self.recent += counted.cpu()

    def before_val(self, runner) -> None:
        """Reset the counts before each validation."""
        if self.source == 'val' and self.recent is not None:
            self.recent.zero_()

    def after_val_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Count the predictions of a validation batch."""
        if self.source != 'val' or self.recent is None:
            return
        ignore_index = ignored_label(final_head(runner.model).ignore_index)
        for sample in outputs:
            labels = sample.gt_sem_seg.data.cpu().long()
            labels = torch.where(labels == ignore_index, -1, labels)
            add_to_confusion(self.recent, sample.pred_sem_seg.data.cpu(), labels)

    def after_val_epoch(self, runner, metrics: dict | None = None) -> None:
        """Report the IoU of the validation."""
        if self.source == 'val' and self.recent is not None:
            device = next(runner.model.parameters()).device
            counted = self.recent.to(device)
            all_reduce(counted)
            self.confusion = counted.cpu().double()
            self._report(runner, consumed=runner.iter)

    def after_val(self, runner) -> None:
        """Save again the checkpoint of this moment: a resumed run does not validate once more."""
        # Only now has every hook (EMAHook) put back the weights that are trained.
        if self.source == 'val' and self.recent is not None:
            for hook in runner.hooks:
                if isinstance(hook, CheckpointHook):
                    _save_again(hook, runner)

    def _report(self, runner, consumed: int) -> None:
        """Give the sampler the IoU of M, from the first batch that is still to be drawn."""
        sampler, loader = _sampler_of(runner), runner.train_dataloader
        ahead = loader.num_workers * (loader.prefetch_factor or 0)
        iou = confusion_scores(self.confusion)['IoU']
        probabilities = sampler.report(
            iou,
            start=_draws_after(consumed + ahead, loader),
            consumed=_draws_after(consumed, loader),
        )
        shares = sampler.class_draws / max(sampler.class_draws.sum(), 1)
        sampler.class_draws[:] = 0
        names = sampler.statistics.class_names
        kinds = dict(iou=iou, draw_probability=probabilities, draw_share=shares)
        scalars = {
            f'{kind}/{name}': float(value)
            for kind, values in kinds.items()
            for name, value in zip(names, values, strict=True)
            if not np.isnan(value)
        }
        runner.visualizer.add_scalars(scalars, step=consumed)
        most = np.argsort(-probabilities)[:3]
        runner.logger.info(
            'drawn most from here on: '
            + ', '.join(f'{names[c]} {probabilities[c]:.1%} (IoU {iou[c]:.2f})' for c in most)
        )

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Save the counts and the sampler's probabilities."""
        if self.confusion is not None:
            checkpoint[STATE] = {
                'confusion': self.confusion,
                'recent': self.recent,
                'sampler': _sampler_of(runner).state_dict(),
                'pixel_calls': getattr(self.pixel_sampler, 'calls', 0),
            }

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Keep what was saved until training starts (only a resumed run takes it up)."""
        self._restored = checkpoint.get(STATE)


def _sampler_of(runner):
    sampler = runner.train_dataloader.sampler
    if not hasattr(sampler, 'report'):
        raise ValueError(
            'ClassPerformanceHook needs train_dataloader.sampler=dict('
            f"type='ClassPerformanceSampler'), got {type(sampler).__name__}"
        )
    return sampler


def _save_again(hook: CheckpointHook, runner) -> None:
    step = runner.epoch if hook.by_epoch else runner.iter
    if hook.last_ckpt and Path(hook.last_ckpt).name == hook.filename_tmpl.format(step):
        # As CheckpointHook itself does after a new best score.
        hook._save_checkpoint_with_step(runner, step, dict(epoch=runner.epoch, iter=runner.iter))


def _draws_after(iterations: int, loader) -> int:
    """Draws that a rank has used up after this many iterations."""
    if loader.sampler.endless is not False:
        return iterations * loader.batch_size
    # The last batch of an epoch may be short, or left out.
    epochs, rest = divmod(iterations, len(loader))
    return epochs * len(loader.sampler) + min(rest * loader.batch_size, len(loader.sampler))
