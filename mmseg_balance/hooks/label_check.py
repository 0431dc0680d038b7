"""Bad labels, files and settings stop the run before they cost anything."""

from itertools import chain

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmseg_balance.hooks.class_performance import ClassPerformanceHook
from mmseg_balance.runtime.input_checks import check_batch, check_files, check_settings
from mmseg_balance.runtime.mask_classification import mask_heads, set_mask_class_weights
from mmseg_balance.runtime.models import decode_heads, head_classes, unwrapped


@HOOKS.register_module()
class LabelCheckHook(Hook):
    """Checks settings and some files before training, and the labels of every batch.

    The batches are looked at while they are still on the CPU, with no host–device synchronisation;
    there a label out of range is a sentence with the file's name instead of a device-side assert.
    Class statistics that losses ask for (``statistics='auto'``) are read or counted here, not in
    mid-training. Heads that classify masks get C + 1 class weights, as by
    :class:`MaskClassWeightHook`.

    Args:
        num_images: how many training images, evenly spread, to read before the first iteration;
            None reads all, 0 none; more where those have no label to train on. That the files are
            there is looked up for all.
        batches: whether to look at the labels of every batch.

    Example:
        >>> LabelCheckHook(num_images=None).num_images is None
        True
    """

    priority = 'VERY_HIGH'

    def __init__(self, num_images: int | None = 64, batches: bool = True) -> None:
        if num_images is not None and num_images < 0:
            raise ValueError(f'num_images={num_images} must not be negative; None reads all.')
        self.num_images = num_images
        self.batches = batches

    def before_train(self, runner: Runner) -> None:
        model = unwrapped(runner.model)
        dataset = runner.train_dataloader.dataset
        evaluator = getattr(runner.val_loop, 'evaluator', None)
        check_files(dataset, self.num_images)
        # A loss that a schedule calls late would count the labels late; and only the runner knows
        # for sure which training set is this run's.
        for module in model.modules():
            if hasattr(module, 'read_statistics'):
                module.read_statistics(dataset)
        set_mask_class_weights(model, dataset)
        check_settings(model, dataset, evaluator)
        _warn_sampler_without_reports(runner)
        heads = chain(
            ((head_classes(head), head.ignore_index) for _, head in decode_heads(model)),
            ((head.num_classes, head.ignore_index) for _, head in mask_heads(model)),
        )
        self._head = next(heads, None)  # the labels are those of all heads

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        if self.batches and self._head and data_batch:
            check_batch(data_batch['data_samples'], *self._head)


def _warn_sampler_without_reports(runner: Runner) -> None:
    sampler = runner.train_dataloader.sampler
    if hasattr(sampler, 'report') and not any(
        isinstance(hook, ClassPerformanceHook) for hook in runner.hooks
    ):
        runner.logger.warning(
            f'{type(sampler).__name__} draws all classes alike, for nothing reports their IoU to '
            "it: add dict(type='ClassPerformanceHook') to custom_hooks"
        )
