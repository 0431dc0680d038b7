# bash tools/dist_train.sh configs/deeplabv3-r18_recall_cityscapes_tian.py 2
# Tian et al., section IV-A: images resized to 769x769, 90k iterations, Adam.
_base_ = [
    './_base_/models/deeplabv3_r18-d8.py',
    './_base_/datasets/cityscapes_769.py',
    './_base_/losses/recall.py',
    './_base_/schedules/tian_90k.py',
    './_base_/default_runtime.py',
]
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(num_classes=_base_.num_classes, loss_decode=_base_.loss_decode),
    auxiliary_head=dict(num_classes=_base_.num_classes),
)
