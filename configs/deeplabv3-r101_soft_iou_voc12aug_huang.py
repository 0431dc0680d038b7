# mmseg-balance train configs/deeplabv3-r101_soft_iou_voc12aug_huang.py
# Huang et al., section III: batches of at most 4 images that hold at least 4 classes. One image may
# have 4 by itself, and the batch norm after DeepLabV3's image pooling needs two: min_images.
_base_ = [
    './_base_/models/deeplabv3_r101-d8.py',
    './_base_/datasets/voc12aug.py',
    './_base_/losses/soft_iou.py',
    './_base_/schedules/huang.py',
    './_base_/default_runtime.py',
]
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(num_classes=_base_.num_classes, loss_decode=_base_.loss_decode),
    auxiliary_head=dict(num_classes=_base_.num_classes),
)
train_dataloader = dict(
    batch_size=4,
    batch_sampler=dict(
        type='BalanceBatchSampler', min_classes=4, fill=False, min_images=2, statistics='auto'
    ),
)
