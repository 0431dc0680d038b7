# mmseg-balance train configs/deeplabv3_ce_rare_class_paste_camvid_small.py
_base_ = [
    './_base_/models/deeplabv3_r18_small.py',
    './_base_/datasets/camvid_small.py',
    './_base_/losses/ce.py',
    './_base_/schedules/schedule_600.py',
    './_base_/samplers/rare_class_paste.py',
    './_base_/default_runtime_cpu.py',
]
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(num_classes=_base_.num_classes, loss_decode=_base_.loss_decode),
)
# The inner data set loads image and labels, what follows the paste is the pipeline as it was.
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='MultiImageMixDataset',
        dataset=dict(_base_.train_dataloader.dataset, pipeline=_base_.train_pipeline[:2]),
        pipeline=[_base_.paste, *_base_.train_pipeline[2:]],
    )
)
