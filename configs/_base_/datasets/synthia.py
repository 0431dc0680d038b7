# SYNTHIA video sequences, summer; 13 classes, resized to 768x384 as Tian et al. did.
_base_ = './camvid.py'
num_classes = 13
img_scale = (768, 384)
crop_size = (384, 768)
metainfo = dict(
    classes=(
        'sky',
        'building',
        'road',
        'sidewalk',
        'fence',
        'vegetation',
        'pole',
        'car',
        'traffic sign',
        'pedestrian',
        'bicycle',
        'lane marking',
        'traffic light',
    )
)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='Resize', scale=img_scale),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=img_scale),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
synthia = dict(
    type='SynthiaDataset',
    data_root='data/synthia',
    data_prefix=dict(img_path='', seg_map_path=''),
    metainfo=metainfo,
)
train_dataloader = dict(
    num_workers=4, dataset=dict(ann_file='train.txt', pipeline=train_pipeline, **synthia)
)
val_dataloader = dict(
    num_workers=4, dataset=dict(ann_file='val.txt', pipeline=test_pipeline, **synthia)
)
test_dataloader = dict(
    num_workers=4, dataset=dict(ann_file='test.txt', pipeline=test_pipeline, **synthia)
)
