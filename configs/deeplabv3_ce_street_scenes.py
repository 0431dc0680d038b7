# mmseg-balance train configs/deeplabv3_ce_street_scenes.py
# 400 iterations, seed 0: mIoU 47.2, and no sign, pedestrian or cyclist is found.
_base_ = [
    './_base_/models/deeplabv3_r18_small.py',
    './_base_/datasets/street_scenes.py',
    './_base_/losses/ce.py',
    './_base_/schedules/schedule_400.py',
    './_base_/default_runtime_cpu.py',
]
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(num_classes=_base_.num_classes, loss_decode=_base_.loss_decode),
)
