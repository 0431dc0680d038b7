# 3000 iterations for small models on a CPU, trained from scratch: schedule_600.py, five times as
# long, scored ten times on the way. Cut short and resumed, it goes on where it was.
_base_ = './schedule_600.py'
param_scheduler = [dict(type='PolyLR', eta_min=1e-5, power=0.9, begin=0, end=3000, by_epoch=False)]
train_cfg = dict(type='FastResumeTrainLoop', max_iters=3000, val_interval=300)
