# mmseg-balance train configs/deeplabv3_ce_repeat_factor_ccp_small.py
_base_ = [
    './_base_/models/deeplabv3_r18_small.py',
    './_base_/datasets/ccp_small.py',
    './_base_/losses/ce.py',
    './_base_/schedules/schedule_600.py',
    './_base_/samplers/repeat_factor.py',
    './_base_/default_runtime_cpu.py',
]
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(num_classes=_base_.num_classes, loss_decode=_base_.loss_decode),
)
train_cfg = dict(type='FastResumeTrainLoop')
train_dataloader = dict(sampler=dict(_delete_=True, **_base_.sampler))
