# bash tools/dist_train.sh configs/deeplabv3-r101_lmp_voc12aug_rota_bulo.py 1
# Rota Bulo et al., section 5.3: 200k iterations of four 321x321 crops, half of them around a
# class drawn by 1 - IoU; p = 1.3 on 25 % of the pixels. The paper's network is DeepLabV2, which
# MMSegmentation lacks, and reaches 76.29 mIoU (75.42 with cross entropy).
_base_ = [
    './_base_/models/deeplabv3_r101-d8.py',
    './_base_/datasets/voc12aug.py',
    './_base_/losses/lmp.py',
    './_base_/samplers/performance.py',
    './_base_/schedules/rota_bulo.py',
    './_base_/default_runtime.py',
]
crop_size = (321, 321)
model = dict(
    data_preprocessor=dict(size=crop_size),
    decode_head=dict(num_classes=_base_.num_classes, loss_decode=_base_.loss_decode),
    auxiliary_head=dict(num_classes=_base_.num_classes),
)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=(2048, 512), ratio_range=(0.5, 1.5), keep_ratio=True),
    dict(type='ClassCenteredCrop', crop_size=crop_size, prob=1.0, only_drawn=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    batch_size=4,
    sampler=dict(_delete_=True, type='ClassPerformanceSampler', uniform_ratio=0.5),
    dataset=dict(
        datasets=[
            dict(
                type='PascalVOCDataset',
                data_root='data/VOCdevkit/VOC2012',
                data_prefix=dict(img_path='JPEGImages', seg_map_path=folder),
                ann_file=f'ImageSets/Segmentation/{split}.txt',
                pipeline=train_pipeline,
            )
            for folder, split in (('SegmentationClass', 'train'), ('SegmentationClassAug', 'aug'))
        ]
    ),
)
param_scheduler = [dict(type='PolyLR', eta_min=0.0, power=0.9, begin=0, end=200000, by_epoch=False)]
train_cfg = dict(max_iters=200000)
