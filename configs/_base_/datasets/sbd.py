# Semantic Boundaries Dataset, the classes of Pascal VOC on 8498 training images.
_base_ = './voc12aug.py'
sbd = dict(
    type='SBDDataset', data_root='data/sbd', data_prefix=dict(img_path='img', seg_map_path='labels')
)
train_dataloader = dict(
    dataset=dict(_delete_=True, ann_file='train.txt', pipeline=_base_.train_pipeline, **sbd)
)
val_dataloader = dict(dataset=dict(ann_file='val.txt', **sbd))
test_dataloader = val_dataloader
