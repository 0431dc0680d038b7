# 1000 iterations for a pretrained backbone on a CPU, which learns ten times as slowly as the head.
_base_ = './schedule_20k.py'
optimizer = dict(_delete_=True, type='AdamW', lr=2e-3, weight_decay=1e-2)
optim_wrapper = dict(
    optimizer=optimizer, paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1)))
)
param_scheduler = [dict(type='PolyLR', eta_min=1e-6, power=0.9, begin=0, end=1000, by_epoch=False)]
train_cfg = dict(type='FastResumeTrainLoop', max_iters=1000, val_interval=200)
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=200))
