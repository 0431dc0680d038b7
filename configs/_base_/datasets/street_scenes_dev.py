# Street scenes with test scenes of their own: 128 training, 32 dev (the folder val) and 200 test.
_base_ = './street_scenes.py'
street_scenes = dict(_delete_=True, type='StreetScenesDataset', data_root='data/street_scenes')
train_dataloader = dict(
    dataset=dict(split='train', pipeline=_base_.train_pipeline, **street_scenes)
)
val_dataloader = dict(dataset=dict(split='dev', pipeline=_base_.test_pipeline, **street_scenes))
test_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='StreetScenesDataset',
        data_root='data/street_scenes_test',
        split='test',
        pipeline=_base_.test_pipeline,
    )
)
