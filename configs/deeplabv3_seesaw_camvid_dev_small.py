# mmseg-balance train configs/deeplabv3_seesaw_camvid_dev_small.py
_base_ = [
    './_base_/models/deeplabv3_r18_small.py',
    './_base_/datasets/camvid_dev_small.py',
    './_base_/losses/seesaw.py',
    './_base_/schedules/schedule_3000.py',
    './_base_/default_runtime_cpu.py',
]
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(num_classes=_base_.num_classes, loss_decode=_base_.loss_decode),
)
