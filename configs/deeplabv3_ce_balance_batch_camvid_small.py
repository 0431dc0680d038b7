# mmseg-balance train configs/deeplabv3_ce_balance_batch_camvid_small.py
_base_ = [
    './_base_/models/deeplabv3_r18_small.py',
    './_base_/datasets/camvid_small.py',
    './_base_/losses/ce.py',
    './_base_/schedules/schedule_600.py',
    './_base_/default_runtime_cpu.py',
]
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(num_classes=_base_.num_classes, loss_decode=_base_.loss_decode),
)
train_cfg = dict(type='FastResumeTrainLoop')
# Classes in every batch all: a batch of four drawn at random lacks one in some iterations.
train_dataloader = dict(batch_sampler=dict(type='BalanceBatchSampler', min_classes=11))
