# 12000 iterations: schedule_3000.py, four times as long.
_base_ = './schedule_3000.py'
param_scheduler = [dict(type='PolyLR', eta_min=1e-5, power=0.9, begin=0, end=12000, by_epoch=False)]
train_cfg = dict(max_iters=12000, val_interval=1200)
