# mmseg-balance train configs/deeplabv3_ce_performance_camvid_small.py
_base_ = [
    './_base_/models/deeplabv3_r18_small.py',
    './_base_/datasets/camvid_small.py',
    './_base_/losses/ce.py',
    './_base_/schedules/schedule_600.py',
    './_base_/samplers/performance.py',
    './_base_/default_runtime_cpu.py',
]
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(num_classes=_base_.num_classes, loss_decode=_base_.loss_decode),
)
train_cfg = dict(type='FastResumeTrainLoop')
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=_base_.img_scale, ratio_range=(1.0, 2.0)),
    dict(type='ClassCenteredCrop', crop_size=_base_.crop_size, prob=0.5),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(sampler=_base_.sampler, dataset=dict(pipeline=train_pipeline))
