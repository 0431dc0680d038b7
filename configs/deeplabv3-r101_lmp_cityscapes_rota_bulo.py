# bash tools/dist_train.sh configs/deeplabv3-r101_lmp_cityscapes_rota_bulo.py 1
# Rota Bulo et al., section 5.2: 165k iterations of two 550x550 crops, half of them around a
# class drawn by 1 - IoU; p = 1.3 on 25 % of the pixels. The paper's network is DeepLabV2, which
# MMSegmentation lacks, and reaches 75.06 mIoU (73.63 with cross entropy).
_base_ = [
    './_base_/models/deeplabv3_r101-d8.py',
    './_base_/datasets/cityscapes.py',
    './_base_/losses/lmp.py',
    './_base_/samplers/performance.py',
    './_base_/schedules/rota_bulo.py',
    './_base_/default_runtime.py',
]
crop_size = (550, 550)
model = dict(
    data_preprocessor=dict(size=crop_size),
    decode_head=dict(num_classes=_base_.num_classes, loss_decode=_base_.loss_decode),
    auxiliary_head=dict(num_classes=_base_.num_classes),
)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=(2048, 1024), ratio_range=(0.5, 1.5), keep_ratio=True),
    dict(type='ClassCenteredCrop', crop_size=crop_size, prob=1.0, only_drawn=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    batch_size=2,
    sampler=dict(_delete_=True, type='ClassPerformanceSampler', uniform_ratio=0.5),
    dataset=dict(pipeline=train_pipeline),
)
