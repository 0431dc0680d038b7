"""Class weights by a rule for heads that classify masks."""

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmseg_balance.runtime.mask_classification import mask_heads, set_mask_class_weights


@HOOKS.register_module()
class MaskClassWeightHook(Hook):
    """Before training, turns a rule in ``loss_cls.class_weight`` into C + 1 numbers.

    For MaskFormer and Mask2Former, whose own loss takes a list alone::

        loss_cls=dict(type='mmdet.CrossEntropyLoss', …, class_weight=dict(
            type='inverse_frequency', statistics='auto', unit='images', no_object=0.1))

    :class:`LabelCheckHook` does the same; this one is for a training without it.

    Raises:
        ValueError: no head of the model classifies masks, or a list of another length than C + 1.

    Example:
        >>> MaskClassWeightHook().priority
        'VERY_HIGH'
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        """Set the numbers, once the run and its training set are there."""
        if not any(mask_heads(runner.model)):
            raise ValueError(
                'MaskClassWeightHook: no head of this model classifies masks; for other heads give '
                'class_weight to a loss of loss_decode.'
            )
        set_mask_class_weights(runner.model, runner.train_dataloader.dataset)
