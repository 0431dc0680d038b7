# Street scenes that the package renders itself, 256x128, at the first use.
_base_ = './camvid.py'
num_classes = 10
crop_size = (128, 256)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
street_scenes = dict(type='StreetScenesDataset', data_root='data/street_scenes')
train_dataloader = dict(dataset=dict(pipeline=train_pipeline, **street_scenes))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline, **street_scenes))
test_dataloader = val_dataloader
