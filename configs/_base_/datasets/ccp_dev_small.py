# Clothing Co-Parsing at 176x256 with a dev split to choose by: 360 training, 89 dev and 150 test
# images. Dev is every fifth training image.
_base_ = './ccp_small.py'
ccp = dict(_delete_=True, type='ClothingCoParsingDataset', data_root='data/ccp')
train_dataloader = dict(dataset=dict(split='train', pipeline=_base_.train_pipeline, **ccp))
val_dataloader = dict(dataset=dict(split='dev', pipeline=_base_.test_pipeline, **ccp))
test_dataloader = dict(dataset=dict(split='test', pipeline=_base_.test_pipeline, **ccp))
