# mmseg-balance train configs/deeplabv3plus_lite0_recall_street_scenes.py
_base_ = [
    './_base_/models/deeplabv3plus_lite0.py',
    './_base_/datasets/street_scenes_dev.py',
    './_base_/losses/recall.py',
    './_base_/schedules/finetune_1000.py',
    './_base_/default_runtime_cpu.py',
]
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(num_classes=_base_.num_classes, loss_decode=_base_.loss_decode),
)
