# Tian et al., section IV-A, Cityscapes: 90k iterations, Adam 1e-4 without annealing.
_base_ = './schedule_80k.py'
optimizer = dict(_delete_=True, type='Adam', lr=1e-4)
optim_wrapper = dict(optimizer=optimizer)
param_scheduler = []
train_cfg = dict(max_iters=90000, val_interval=9000)
default_hooks = dict(checkpoint=dict(interval=9000))
