# bash tools/dist_train.sh configs/deeplabv3-r101_dlnce_voc12aug_taubert.py 1
# Taubert et al., section 5: 30 epochs of batch 12 that train the head alone.
_base_ = [
    './_base_/models/deeplabv3_r101-d8.py',
    './_base_/datasets/voc12aug.py',
    './_base_/losses/dlnce.py',
    './_base_/schedules/taubert_30e.py',
    './_base_/default_runtime.py',
]
model = dict(
    backbone=dict(frozen_stages=4, norm_eval=True),
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(num_classes=_base_.num_classes, loss_decode=_base_.loss_decode),
    auxiliary_head=None,
)
train_dataloader = dict(
    batch_size=12, drop_last=True, sampler=dict(_delete_=True, type='DefaultSampler', shuffle=True)
)
log_processor = dict(by_epoch=True)
