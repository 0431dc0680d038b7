# 400 iterations for small models on a CPU, trained from scratch.
_base_ = './schedule_20k.py'
optimizer = dict(_delete_=True, type='AdamW', lr=8e-3, weight_decay=1e-4)
optim_wrapper = dict(optimizer=optimizer)
param_scheduler = [dict(type='PolyLR', eta_min=1e-5, power=0.9, begin=0, end=400, by_epoch=False)]
train_cfg = dict(max_iters=400, val_interval=400)
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=200))
