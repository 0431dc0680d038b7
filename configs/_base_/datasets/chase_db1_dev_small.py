# CHASE_DB1 at half size with a dev split to choose by: 16 training, 4 dev and 8 test images.
# Dev is both eyes of two training subjects.
_base_ = './chase_db1_small.py'
chase_db1 = dict(_delete_=True, type='ChaseDB1SplitsDataset', data_root='data/chase_db1')
train_dataloader = dict(dataset=dict(split='train', pipeline=_base_.train_pipeline, **chase_db1))
val_dataloader = dict(dataset=dict(split='dev', pipeline=_base_.test_pipeline, **chase_db1))
test_dataloader = dict(dataset=dict(split='test', pipeline=_base_.test_pipeline, **chase_db1))
