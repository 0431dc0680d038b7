# Clothing Co-Parsing at half size (275 wide), 31 classes over four orders of magnitude,
# 255 = any other class (github.com/bearpaw/clothing-co-parsing).
_base_ = './camvid.py'
num_classes = 31
img_scale = (275, 412)
crop_size = (384, 256)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=img_scale, ratio_range=(0.75, 1.5), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=img_scale, keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
ccp = dict(type='ClothingCoParsingDataset', data_root='data/ccp')
train_dataloader = dict(dataset=dict(pipeline=train_pipeline, **ccp))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline, **ccp))
test_dataloader = val_dataloader
