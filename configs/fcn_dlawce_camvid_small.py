# mmseg-balance train configs/fcn_dlawce_camvid_small.py
_base_ = [
    './_base_/models/fcn_r18_small.py',
    './_base_/datasets/camvid_small.py',
    './_base_/losses/dlawce.py',
    './_base_/schedules/schedule_600.py',
    './_base_/default_runtime_cpu.py',
]
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(num_classes=_base_.num_classes, loss_decode=_base_.loss_decode),
)
