# CHASE_DB1 retinal vessels, background and vessel, 999x960, 20 training and 8 validation images.
_base_ = './camvid.py'
num_classes = 2
img_scale = (999, 960)
crop_size = (256, 256)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=img_scale, ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size),
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
chase_db1 = dict(type='ChaseDB1Dataset', data_root='data/chase_db1', img_suffix='.jpg')
train_dataloader = dict(
    dataset=dict(
        pipeline=train_pipeline,
        data_prefix=dict(img_path='images/training', seg_map_path='annotations/training'),
        **chase_db1,
    )
)
val_dataloader = dict(
    dataset=dict(
        pipeline=test_pipeline,
        data_prefix=dict(img_path='images/validation', seg_map_path='annotations/validation'),
        **chase_db1,
    )
)
test_dataloader = val_dataloader
