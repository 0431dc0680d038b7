# bash tools/dist_train.sh configs/fcn-r18_ce_synthia.py 4
_base_ = [
    './_base_/models/fcn_r18-d8.py',
    './_base_/datasets/synthia.py',
    './_base_/losses/ce.py',
    './_base_/schedules/schedule_40k.py',
    './_base_/default_runtime.py',
]
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(num_classes=_base_.num_classes, loss_decode=_base_.loss_decode),
    auxiliary_head=dict(num_classes=_base_.num_classes),
)
