# CamVid at 240x180 with a dev split to choose by: 294 training, 73 dev and 233 test images.
# Dev is the last fifth of each training video: the official validation images are too alike.
_base_ = './camvid_small.py'
camvid = dict(_delete_=True, type='CamVidDataset', data_root='data/camvid')
train_dataloader = dict(dataset=dict(split='train', pipeline=_base_.train_pipeline, **camvid))
val_dataloader = dict(dataset=dict(split='dev', pipeline=_base_.test_pipeline, **camvid))
test_dataloader = dict(dataset=dict(split='test', pipeline=_base_.test_pipeline, **camvid))
