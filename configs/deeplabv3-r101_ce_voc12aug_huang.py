# mmseg-balance train configs/deeplabv3-r101_ce_voc12aug_huang.py
# Huang et al., section III: batches of at most 9 images that hold at least 12 classes.
_base_ = [
    './_base_/models/deeplabv3_r101-d8.py',
    './_base_/datasets/voc12aug.py',
    './_base_/losses/ce.py',
    './_base_/schedules/huang.py',
    './_base_/default_runtime.py',
]
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(num_classes=_base_.num_classes, loss_decode=_base_.loss_decode),
    auxiliary_head=dict(num_classes=_base_.num_classes),
)
train_dataloader = dict(
    batch_size=9,
    batch_sampler=dict(type='BalanceBatchSampler', min_classes=12, fill=False, statistics='auto'),
)
