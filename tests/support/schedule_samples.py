"""A model of a few hundred parameters, a data set and the part of a runner that hooks see."""

import mmseg_balance  # noqa: F401, I001  first: it makes mmseg importable
from types import SimpleNamespace

import torch
from mmengine.logging import MessageHub
from mmengine.model import BaseModule
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn
from torch.utils.data import Dataset

NUM_CLASSES = 3
CE = dict(type='CrossEntropyLoss', avg_non_ignore=True)
DICE = dict(type='DiceLoss', use_sigmoid=False)
DICE_TO_CE = dict(
    loss_ce=dict(type='naive', start=0.3, end=0.7), loss_dice=dict(complement_of='loss_ce')
)


@MODELS.register_module(force=True)
class OneConvolution(BaseModule):
    """The smallest backbone that a head accepts."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, inputs):
        return (self.conv(inputs),)


class Squares(Dataset):
    """Eight random images with random labels and some ignored pixels, the same each time."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        labels = torch.randint(0, NUM_CLASSES, (1, 8, 8), generator=generator)
        labels[0, 0, index] = 255
        sample = SegDataSample(gt_sem_seg=PixelData(data=labels))
        sample.set_metainfo(dict(img_shape=(8, 8), ori_shape=(8, 8)))
        return dict(inputs=torch.randn(3, 8, 8, generator=generator), data_samples=sample)


def head_config(*losses, **kwargs):
    losses = list(losses)
    return (
        dict(
            type='FCNHead',
            in_channels=4,
            channels=4,
            num_convs=1,
            concat_input=False,
            num_classes=NUM_CLASSES,
            dropout_ratio=0,
            in_index=0,
            loss_decode=losses if len(losses) != 1 else losses[0],
        )
        | kwargs
    )


AUXILIARIES = [head_config(CE | dict(loss_weight=0.4)), head_config(CE | dict(loss_weight=0.2))]


def model_config(*losses, auxiliary=None, **kwargs):
    return (
        dict(
            type='EncoderDecoder',
            backbone=dict(type='OneConvolution'),
            data_preprocessor=dict(type='SegDataPreProcessor', size=(8, 8)),
            decode_head=head_config(*losses),
            auxiliary_head=auxiliary,
        )
        | kwargs
    )


def build_model(*losses, **kwargs):
    init_default_scope('mmseg')
    torch.manual_seed(0)
    return MODELS.build(model_config(*losses, **kwargs))


def losses_named(model, name):
    return [module for module in model.modules() if getattr(module, 'loss_name', None) == name]


def losses_of_a_batch(model):
    model.train()
    return model(**model.data_preprocessor(batch(), True), mode='loss')


def batch():
    items = [Squares()[0], Squares()[1]]
    return dict(
        inputs=[item['inputs'] for item in items],
        data_samples=[item['data_samples'] for item in items],
    )


class Stage:
    """The part of a runner that the hook sees, at an iteration of our choice."""

    def __init__(self, model, *hooks, max_iters=10):
        self.hooks = list(hooks)
        self.runner = SimpleNamespace(
            model=model,
            max_iters=max_iters,
            iter=0,
            hooks=self.hooks,
            message_hub=MessageHub(f'stage {id(self)}'),
        )
        for hook in self.hooks:
            hook.before_train(self.runner)

    def at(self, step):
        self.runner.iter = step
        for hook in self.hooks:
            hook.before_train_iter(self.runner, step)

    def end(self):
        for hook in self.hooks:
            hook.after_train(self.runner)

    @property
    def logged(self):
        buffers = self.runner.message_hub.log_scalars
        return {key: buffer.current() for key, buffer in buffers.items()}


def expected_ce(step, num_steps=10):
    return max(0, min(1, (step - 0.3 * num_steps) / (0.4 * num_steps)))
